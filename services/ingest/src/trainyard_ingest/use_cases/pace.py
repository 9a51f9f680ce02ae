"""Checked chunks, made ahead of whoever stores them, so that a slow sender does not hold a dataset's lock.

A thread reads and checks while another thread sends what is checked to the database. Loading begins when everything is
there, or when the first 2 MiB came quickly. What comes slowly is written to a temporary file first, to its end.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.clock import Clock

#: So much is kept in memory ahead of the database.
AHEAD_BYTES = 6 << 20
#: A sender is quick when so many bytes came in so many seconds.
START_BYTES, SLOW_SECONDS = 2 << 20, 1.0
#: Longest pause of a sender who was quick at first: others wait for the dataset meanwhile.
STALL_SECONDS = 30.0
_LENGTH = struct.Struct(">Q")


class Ahead:
    """Chunks of bytes in their order, from a generator that a thread of its own runs; a context that ends the thread.

    Args:
        chunks: what is read in the thread; what it raises is raised by :meth:`settle` or by the iteration.
        clock: tells slow from quick.
        spool: directory of the temporary file.
    """

    def __init__(self, chunks: Iterator[bytes], clock: Clock, spool: Path | None = None) -> None:
        self._chunks = chunks
        self._clock = clock
        self._spool = spool
        self._state = threading.Condition()
        self._ready: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._closed = False
        self._failure: BaseException | None = None
        self._file: Any = None
        self._thread = threading.Thread(target=self._run, name="rows", daemon=True)

    def __enter__(self) -> Ahead:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let the thread end; it may be waiting for its sender, which ends with the connection."""
        with self._state:
            self._closed = True
            self._state.notify_all()
        self._thread.join(0.2)
        if self._file is not None:
            self._file.close()

    def settle(self) -> bool:
        """Wait until everything was read, or the sender has shown to be quick; tell whether everything was read.

        Raises:
            ServiceError: whatever reading raised.
        """
        began = self._clock.monotonic()
        with self._state:
            while not self._ended and self._size < START_BYTES:
                self._state.wait(0.1)
                if self._clock.monotonic() - began > SLOW_SECONDS:
                    break
            slow = not self._ended and self._size < START_BYTES
        if slow:
            self._to_file()
        with self._state:
            if self._failure is not None:
                raise self._failure
            return self._ended

    def _to_file(self) -> None:
        """Write everything that comes to a file, to the end."""
        self._file = TemporaryFile(dir=self._spool)  # noqa: SIM115 - closed by __exit__
        while (chunk := self._next(None)) is not None:
            self._file.write(_LENGTH.pack(len(chunk)) + chunk)
        self._file.seek(0)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the chunks.

        Raises:
            ServiceError: ``request_timeout``: the sender paused too long; else whatever reading raised.
        """
        if self._file is not None:
            while head := self._file.read(_LENGTH.size):
                yield self._file.read(_LENGTH.unpack(head)[0])
            return
        while (chunk := self._next(STALL_SECONDS)) is not None:
            yield chunk

    def _next(self, patience: float | None) -> bytes | None:
        with self._state:
            came = self._state.wait_for(lambda: self._ready or self._ended, patience)
            if not came:
                raise ServiceError(
                    "request_timeout",
                    f"nothing came for {STALL_SECONDS:.0f} s amid the body; nothing was stored, send it again",
                )
            if self._ready:
                chunk = self._ready.popleft()
                self._size -= len(chunk)
                self._state.notify_all()
                return chunk
            if self._failure is not None:
                raise self._failure
            return None

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                with self._state:
                    self._ready.append(chunk)
                    self._size += len(chunk)
                    self._state.notify_all()
                    self._state.wait_for(lambda: self._size < AHEAD_BYTES or self._closed)
                    if self._closed:
                        return
        except BaseException as e:  # noqa: BLE001 - raised again where the chunks are taken
            self._failure = e
        finally:
            with self._state:
                self._ended = True
                self._state.notify_all()
