"""COPY's rows off the socket: whatever else the server says, and wherever its messages are cut."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import errors

from trainyard.adapters.postgres.snapshots import wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def message(kind: str, said: bytes) -> bytes:
    """Return a message of the server."""
    return kind.encode() + struct.pack(">i", 4 + len(said)) + said


BEGIN = message("H", b"\0\0\1\0\0")
READY = message("Z", b"T")
END = message("c", b"") + message("C", b"COPY 3\0") + READY
NOTICE = message("N", b"SNOTICE\0C00000\0Ma\nd\n\0\0") + message("S", b"work_mem\0d\n\0")
ERROR = message("E", b"SERROR\0C57014\0Mcanceling statement due to user request\0\0")
GONE = message("E", b"SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0")


@contextmanager
def server(parts: Sequence[bytes], *, closes: bool = False) -> Iterator[SimpleNamespace]:
    """Yield a connection whose server answers with these parts, one after the other."""
    ours, theirs = socket.socketpair()

    def answer() -> None:
        theirs.recv(1 << 16)
        for part in parts:
            theirs.sendall(part)
        if closes:
            theirs.close()

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield SimpleNamespace(fileno=ours.fileno, info=SimpleNamespace(ssl_in_use=False), pgconn_ptr=None)
    finally:
        ours.close()
        thread.join()
        theirs.close()


def received(parts: Sequence[bytes], *, closes: bool = False) -> bytes:
    """Return what was handed on; each piece has to be whole rows."""
    pieces: list[bytes] = []
    with server(parts, closes=closes) as driver:
        wire.receive(driver, "SELECT 1", lambda piece: pieces.append(bytes(piece)))
    assert all(piece.endswith(b"\n") for piece in pieces)
    return b"".join(pieces)


def text(rows: Sequence[bytes]) -> bytes:
    """Return rows as they are handed on: zeros stand where the messages' headers did."""
    return b"".join(b"00000" + row for row in rows)


ROWS = st.lists(
    st.one_of(st.integers(1, 30), st.sampled_from([6, 262, 518, 2556, 2570, 65_530])).map(
        lambda length: b"1" * (length - 1) + b"\n"  # lengths among them whose header holds a line end
    ),
    max_size=30,
)


@given(
    rows=ROWS, noticed=st.integers(0, 30), cuts=st.lists(st.integers(0, 4_000), max_size=5), piece=st.integers(6, 99)
)
def test_any_rows(rows: list[bytes], noticed: int, cuts: list[int], piece: int) -> None:
    """Rows of any length, with a notice between two of them, cut anywhere, come whole and in order."""
    messages = [message("d", row) for row in rows]
    said = BEGIN + b"".join([*messages[:noticed], NOTICE, *messages[noticed:]]) + END
    places = sorted({0, len(said), *(cut for cut in cuts if cut < len(said))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "PIECE_BYTES", piece)
        found = received([said[a:b] for a, b in itertools.pairwise(places)])
    assert found == text(rows)


def test_something_behind_the_end() -> None:
    """A setting that changes just behind the answer does not hide its end."""
    assert received([BEGIN + message("d", b"1\n") + END + NOTICE]) == text([b"1\n"])


@pytest.mark.parametrize("rows", [0, 2])
def test_an_error(rows: int) -> None:
    """What the server says instead of more rows is what the driver would raise, with its code."""
    with pytest.raises(errors.QueryCanceled, match="user request") as raised:
        received([BEGIN + message("d", b"1\n") * rows + ERROR + READY])
    assert raised.value.pgcode == "57014"


def test_a_server_that_is_shut_down() -> None:
    """Its last words are raised, which say that the same may succeed later."""
    with pytest.raises(errors.AdminShutdown):
        received([BEGIN + message("d", b"1\n"), GONE], closes=True)


@pytest.mark.parametrize("said", [b"", BEGIN, BEGIN + message("d", b"1\n"), BEGIN + message("d", b"1\n")[:-1]])
def test_a_connection_that_breaks(said: bytes) -> None:
    """An answer without its end is an error, wherever it breaks off."""
    with pytest.raises(psycopg2.OperationalError, match="closed"):
        received([said], closes=True)


@pytest.mark.parametrize("said", [message("d", b"1\n2\n"), message("d", b"1") * 2 + message("d", b"\n"), b"X\0\0\0\4"])
def test_messages_of_another_kind(said: bytes) -> None:
    """Messages that are not one for each row, or that nobody asked for, are refused."""
    with pytest.raises(psycopg2.OperationalError, match="server"):
        received([BEGIN + said + END])


def test_what_the_taker_raises() -> None:
    """An error of the taker is its own, also where it is one of the system's."""

    def stop(_: memoryview) -> None:
        raise InterruptedError("stop")

    with server([BEGIN + message("d", b"1\n") + END]) as driver, pytest.raises(InterruptedError, match="stop"):
        wire.receive(driver, "SELECT 1", stop)
