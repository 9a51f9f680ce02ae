"""COPY's rows straight from the driver's connection, many at a time.

The driver hands over row by row: at each of them it gives the interpreter's lock away and wants it back, and so do the
threads beside it. So the COPY is sent, and its answer read, on the connection's own socket, while the driver's library
has nothing under way; it finds the connection as it was, in the same transaction. That library is the one that
encrypts: where it does, rows come by its calls (:func:`receive` chooses).

A message is a letter and a length of four bytes, which counts itself, before what it says. The server sends one message
``d`` for each row, and the row's text, with its line end, is all that it says.
"""

from __future__ import annotations

import ctypes
import io
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psycopg2
from psycopg2 import _psycopg, errors

if TYPE_CHECKING:
    from collections.abc import Callable

Bytes = npt.NDArray[np.uint8]
Longs = npt.NDArray[np.int64]

PIECE_BYTES = 1 << 20
_HEADER = 5
_SHORTEST = _HEADER + 1
_LINE_END = ord("\n")
_ROW = ord("d")
_DIGIT = ord("0")
#: The server is ready for another statement: that is how its answer ends.
_READY = b"Z\0\0\0\5"
#: How long the end of the answer may stay unseen when the server has sent something behind it.
_LOOK_SECONDS = 1.0
#: What the server may say beside rows: the COPY's beginning and end, notices, settings that have changed.
_OTHERS = frozenset(b"HcCNSA")


def receive(driver: Any, query: str, take: Callable[[memoryview], None]) -> None:
    """Hand ``take`` the text of the query's rows in pieces of whole rows, about a megabyte each, in order.

    The first cell has to be a whole number that is not negative: zeros may come to stand before it.

    Args:
        driver: psycopg2's connection, within a transaction. After an error it is of no use any more.

    Raises:
        psycopg2.Error: what the server has said, or that it is gone.
    """
    if _encrypted(driver):
        _by_driver(driver, query, take)
        return
    statement = f"COPY ({query}) TO STDOUT".encode() + b"\0"
    with socket.socket(fileno=os.dup(driver.fileno())) as line:
        line.settimeout(_LOOK_SECONDS)
        try:
            line.sendall(b"Q" + struct.pack(">i", 4 + len(statement)) + statement)
        except OSError as e:
            raise _failed(e) from e
        _Answer(line, take).read()


def _failed(why: OSError) -> psycopg2.Error:
    """Return what the driver would raise when the connection fails."""
    return psycopg2.OperationalError(f"the connection to the database has failed: {why}")


def _encrypted(driver: Any) -> bool:
    """Tell whether what comes over the socket is not what the server says; Kerberos encrypts as well as TLS."""
    libpq = ctypes.CDLL(_psycopg.__file__)  # it is among what the driver is linked with
    if driver.info.ssl_in_use or not hasattr(libpq, "PQgssEncInUse"):
        return True
    return bool(libpq.PQgssEncInUse(ctypes.c_void_p(driver.pgconn_ptr)))


def _by_driver(driver: Any, query: str, take: Callable[[memoryview], None]) -> None:
    """Receive row by row."""
    rest = b""

    def cut(data: bytes) -> None:
        nonlocal rest
        piece = rest + data
        whole = piece.rfind(b"\n") + 1
        rest = piece[whole:]  # a row that is longer than the buffer comes in parts
        if whole:
            take(memoryview(piece)[:whole])

    with driver.cursor() as cursor:
        sink = io.BufferedWriter(_Pieces(cut), PIECE_BYTES)
        cursor.copy_expert(f"COPY ({query}) TO STDOUT", sink)
        sink.flush()


class _Answer:
    """What the server says to one COPY."""

    def __init__(self, line: socket.socket, take: Callable[[memoryview], None]) -> None:
        self._line = line
        self._take = take
        self._buffer = np.empty(PIECE_BYTES, np.uint8)
        self._held = 0
        self._ready = False
        self._error: psycopg2.Error | None = None

    def read(self) -> None:
        """Read to the end."""
        while not self._ready:
            self._receive()
            self._split()
        if self._error is not None:
            raise self._error

    def _receive(self) -> None:
        """Fill the buffer, or as much of it as there is left to come."""
        room = self._buffer.data
        while self._held < len(room):
            try:
                got = self._line.recv_into(room[self._held :])
            except TimeoutError:
                return
            except OSError as e:
                raise _failed(e) from e
            if not got:
                self._split()  # its last words may say why
                raise self._error or psycopg2.OperationalError("the server has closed the connection")
            self._held += got
            if room[self._held - _SHORTEST : self._held - 1] == _READY:
                return

    def _split(self) -> None:
        """Hand on the rows, heed what else there is, and keep what is not whole."""
        data, at = self._buffer[: self._held], 0
        while at < len(data):
            if data[at] == _ROW:
                starts, end = _rows(data[at:])
                if not end:
                    break
                for place in range(_HEADER):
                    data[at + starts + place] = _DIGIT
                self._take(data[at : at + end].data)
                at += end
            else:
                message = bytes(data[at : at + _HEADER])
                end = at + 1 + int.from_bytes(message[1:], "big")
                if len(message) < _HEADER or end > len(data):
                    break
                self._heed(message[0], bytes(data[at + _HEADER : end]))
                at = end
        rest = data[at:]
        # A row that is longer than the buffer gets one of twice the size.
        self._buffer = np.empty(max(PIECE_BYTES, 2 * len(rest)), np.uint8)
        self._buffer[: len(rest)] = rest
        self._held = len(rest)

    def _heed(self, kind: int, said: bytes) -> None:
        """Take note of a message that is no row."""
        if kind == ord("E"):
            self._error = _error(said)
        elif kind == ord("Z"):
            self._ready = True
        elif kind not in _OTHERS:
            raise psycopg2.OperationalError(f"the server has said what nobody asked for: {chr(kind)!r}")


def _rows(data: Bytes) -> tuple[Longs, int]:
    """Return where the messages with the next rows begin, and where the last whole one of them ends.

    A message with a row is at least six bytes long, and a line end within its header, which may be there by chance, is
    less than that behind its beginning.
    """
    ends = np.flatnonzero(data == _LINE_END) + 1
    ends = ends[np.diff(ends, prepend=0) >= _SHORTEST]
    starts = np.concatenate([np.zeros(1, np.int64), ends])[: len(ends)]
    others = np.flatnonzero(data[starts] != _ROW)
    if len(others):
        starts, ends = starts[: others[0]], ends[: others[0]]
    lengths = np.zeros(len(starts), np.int64)
    for place in range(1, _HEADER):
        lengths = (lengths << 8) | data[starts + place]
    if not np.array_equal(starts + 1 + lengths, ends):
        raise psycopg2.OperationalError("the server's messages are not one for each row")
    return starts, int(ends[-1]) if len(ends) else 0


def _error(said: bytes) -> Any:
    """Return the exception that the driver would have raised."""
    fields = {part[:1]: part[1:].decode(errors="replace") for part in said.split(b"\0") if part}
    code = fields.get(b"C", "")
    try:
        kind = errors.lookup(code)
    except KeyError:
        kind = psycopg2.DatabaseError
    error: Any = kind(fields.get(b"M", ""))
    error.__setstate__({"pgcode": code, "pgerror": fields.get(b"M", "")})
    return error


class _Pieces(io.RawIOBase):
    """Takes what the buffer before it has gathered: the driver writes row by row, which costs less there than here."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        super().__init__()
        self._take = take

    def writable(self) -> bool:
        """Say that it is there to be written to."""
        return True

    def write(self, data: Any) -> int:
        """Take the next bytes."""
        self._take(bytes(data))
        return len(data)
