"""The rate limit's buckets where several processes answer behind one port: a table that gunicorn's workers share."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
import threading
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLOT = struct.Struct("<16sd")  # a hash of the key's id, and when its bucket is full again (monotonic, of the machine)
_SLOTS = 16_384
#: Places that a key may have: the table is full for it when other keys' buckets are in all of them.
_PLACES = 8


class SharedDues:
    """Made by the master before it forks. A key that finds no place puts out the bucket that is the nearest to full.

    The lock is a record lock of the system's: a worker that is killed while it holds it lets it go.
    """

    def __init__(self) -> None:
        size = _SLOTS * _SLOT.size
        self._fd = _memory()
        os.ftruncate(self._fd, size)
        self._table = mmap.mmap(self._fd, size)
        self._threads = threading.Lock()

    def take(self, key_id: str, now: float, step: float, most: float) -> float:
        """Move a key's time on; see :class:`trainyard_predictor.edges.limits.Dues`."""
        digest = blake2b(key_id.encode(), digest_size=16).digest()
        with self._alone():
            at, due = self._find(digest)
            due = max(due, now) + step
            if due - now <= most:
                _SLOT.pack_into(self._table, at, digest, due)
        return due - now

    def close(self) -> None:
        """Let go of the table."""
        self._table.close()
        os.close(self._fd)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep this process's other threads out, and other processes."""
        with self._threads:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _find(self, digest: bytes) -> tuple[int, float]:
        """Return where the bucket is or may be put, and when it is full."""
        first = int.from_bytes(digest[:4], "little")
        places = [(first + step) % _SLOTS * _SLOT.size for step in range(_PLACES)]
        fullest = (float("inf"), 0)
        for at in places:
            owner, due = _SLOT.unpack_from(self._table, at)
            if owner == digest:
                return at, due
            fullest = min(fullest, (due, at))
        return fullest[1], float("-inf")


def _memory() -> int:
    """Return a file that has no name, in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trainyard-limits")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
