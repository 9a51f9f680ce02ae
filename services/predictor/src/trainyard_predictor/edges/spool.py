"""Prediction records on local disk, from the moment before the answer until the queue has them.

A process appends to a segment file of its own, one frame and one ``write`` for each answer, so an answer that was sent
is in the page cache of the machine and outlives the process. (It does not outlive the machine's power: that is what a
queue in another place is for, and records reach it within a second.) Segments are closed, shipped whole, kept for a
while as ``*.sent`` in case the queue is lost with what it holds, and deleted.

A frame is 4 bytes length, 4 bytes CRC-32 (both big-endian, of the payload), and the payload: a msgpack list of byte
strings, each one packed record. Every live process holds a file lock on its segments, so a segment whose lock can be
had has lost its owner and belongs to whoever got the lock.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack

from trainyard import logs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIX = ".spool"
SENT_SUFFIX = ".sent"
#: Most bytes that may wait on disk; beyond it new records are refused and answers say so.
MAX_BYTES = 1024 * 1024 * 1024
#: A segment is read into memory to be shipped: it is closed when it is this long.
SEGMENT_BYTES = 8 * 1024 * 1024
#: Segments that one call deletes at most: after an hour without a queue a gigabyte is sent, and later forgotten, at
#: once.
FORGOTTEN_AT_ONCE = 8
#: With less room than this on the disk the next record may find none.
_LEAST_FREE_BYTES = 1024 * 1024
_HEADER = struct.Struct(">II")
_log = logs.get(__name__)


class SpoolFullError(OSError):
    """The queue has been away for so long that the spool has reached its limit."""


@dataclass(frozen=True)
class Segment:
    """A closed segment that this process owns: nobody writes to it any more."""

    path: Path
    fd: int

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return os.fstat(self.fd).st_size

    def answers(self) -> Iterator[list[bytes]]:
        """Yield the packed records of one answer after the other.

        A frame that was cut off ends the segment: its answer was never sent. A frame that is whole but not what was
        written (a broken disk) ends it too, and a copy of the file is kept beside it as ``*.damaged``.
        """
        data = os.pread(self.fd, self.size_bytes, 0)
        at = 0
        while at < len(data):
            payload = _payload(data, at)
            if payload is None:
                _log.warning("spool.cut_off", segment=self.path.name, good_bytes=at, bytes=len(data) - at)
                return
            if zlib.crc32(payload) != _HEADER.unpack_from(data, at)[1]:
                kept = self.path.with_suffix(".damaged")
                kept.write_bytes(data)
                _log.error("spool.damaged", kept=kept.name, good_bytes=at, bytes=len(data) - at)
                return
            yield msgpack.unpackb(payload, raw=False, max_ext_len=0)
            at += _HEADER.size + len(payload)


class Spool:
    """The spool of one process in ``directory``, which it may share with others; safe for threads."""

    def __init__(self, directory: Path, *, max_bytes: int = MAX_BYTES, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._pack = msgpack.Packer(use_bin_type=True).pack
        self._open: Segment | None = None
        self._open_bytes = 0
        self._closed: list[Segment] = []
        self._sent: list[tuple[Segment, float]] = []
        self._waiting_bytes = 0

    def append(self, packed: Sequence[bytes]) -> None:
        """Write the records of one answer.

        Raises:
            OSError: they could not be written; nothing of them is left. SpoolFullError when there is no room.
        """
        with self._lock:
            payload = self._pack(packed)
            frame = _HEADER.pack(len(payload), zlib.crc32(payload)) + payload
            if self._waiting_bytes + len(frame) > self._max_bytes:
                raise SpoolFullError(f"the spool holds {self._waiting_bytes:,} bytes that the queue has not taken")
            segment = self._open or self._create()
            self._write(segment, frame)
            self._open_bytes += len(frame)
            self._waiting_bytes += len(frame)
            if self._open_bytes >= self._segment_bytes:
                self._close_open()

    def waiting(self) -> list[Segment]:
        """Close what was written so far and return all segments to ship, oldest first."""
        with self._lock:
            self._close_open()
            return list(self._closed)

    def shipped(self, segment: Segment, *, at: float) -> None:
        """Keep a segment aside: the queue has every record of it since the monotonic time ``at``."""
        # a disk that is busy takes its time for a name, and answers wait for the lock
        kept = Segment(segment.path.rename(segment.path.with_suffix(SENT_SUFFIX)), segment.fd)
        size_bytes = kept.size_bytes
        with self._lock:
            self._sent.append((kept, at))
            self._closed.remove(segment)
            self._waiting_bytes -= size_bytes

    def forget(self, *, before: float) -> None:
        """Delete the FORGOTTEN_AT_ONCE oldest of the segments that were sent before the monotonic time ``before``."""
        with self._lock:
            old = [segment for segment, at in self._sent[:FORGOTTEN_AT_ONCE] if at < before]
            del self._sent[: len(old)]
        for segment in old:
            segment.path.unlink(missing_ok=True)
            os.close(segment.fd)

    def send_again(self) -> int:
        """Let every segment that is kept aside wait once more; return how many."""
        with self._lock:
            again = [segment for segment, _ in self._sent]
            self._sent.clear()
            self._closed[:0] = again
            self._waiting_bytes += sum(segment.size_bytes for segment in again)
        return len(again)

    def adopt(self) -> int:
        """Take over the segments of processes that are gone, those they had sent of late too; return how many."""
        if not self._directory.is_dir():
            return 0
        paths = [path for suffix in (SENT_SUFFIX, SUFFIX) for path in sorted(self._directory.glob(f"*{suffix}"))]
        found = [segment for path in paths if (segment := _claim(path))]
        with self._lock:
            self._closed[:0] = found
            self._waiting_bytes += sum(segment.size_bytes for segment in found)
        if found:
            _log.warning("spool.adopted", segments=len(found))
        return len(found)

    @property
    def waiting_bytes(self) -> int:
        """Bytes on disk that the queue has not taken yet."""
        return self._waiting_bytes

    def directory_bytes(self) -> int:
        """Return what waits in the whole directory, other processes' segments included."""
        return sum(_size(path) for path in self._directory.glob(f"*{SUFFIX}"))

    @property
    def writable(self) -> bool:
        """Whether the next record can be expected to find room."""
        near = self._directory
        while not near.exists():
            near = near.parent
        if not os.access(near, os.W_OK) or self._waiting_bytes >= self._max_bytes:
            return False
        disk = os.statvfs(near)
        return disk.f_bavail * disk.f_frsize >= _LEAST_FREE_BYTES

    def close(self) -> None:
        """Let go of everything: what is still on disk is for the next process."""
        with self._lock:
            self._close_open()
            for segment in [*self._closed, *(segment for segment, _ in self._sent)]:
                os.close(segment.fd)
            self._closed.clear()
            self._sent.clear()

    def _create(self) -> Segment:
        """Make a segment that nobody can see before it is locked."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{os.getpid()}-{secrets.token_hex(8)}"
        hidden = self._directory / f".{name}.new"
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = hidden.rename(self._directory / f"{name}{SUFFIX}")
        except OSError:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        self._open, self._open_bytes = Segment(path, fd), 0
        return self._open

    def _write(self, segment: Segment, frame: bytes) -> None:
        written, reason = 0, None
        try:
            written = os.write(segment.fd, frame)
        except OSError as e:
            reason = e
        if written == len(frame):
            return
        try:
            os.ftruncate(segment.fd, self._open_bytes)
        except OSError:  # what was written of the frame stays, so nothing may be written behind it
            self._open = None
            self._closed.append(segment)
        raise reason or OSError(f"only {written} of {len(frame)} bytes could be written to {segment.path.name}")

    def _close_open(self) -> None:
        if self._open is not None and self._open_bytes:
            self._closed.append(self._open)
            self._open, self._open_bytes = None, 0


def _payload(data: bytes, at: int) -> bytes | None:
    """Return the payload of the frame at ``at``, or None when the file ends before the frame does."""
    begin = at + _HEADER.size
    if begin > len(data):
        return None
    length, _ = _HEADER.unpack_from(data, at)
    payload = data[begin : begin + length]
    return payload if len(payload) == length else None


def _claim(path: Path) -> Segment | None:
    """Lock a segment whose owner is gone; None when it has one, or was shipped meanwhile."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink:
            return Segment(path, fd)
    except OSError:  # locked: its owner lives
        pass
    os.close(fd)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # shipped meanwhile
        return 0
