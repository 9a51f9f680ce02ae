"""A body that is read once, block by block, and hashed on the way."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 20


class Readable(Protocol):
    """The part of a binary stream that is used here."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end."""
        ...


class Body(Protocol):
    """What the readers of formats take: a :class:`Source`, or what a packed one unpacks to."""

    @property
    def spool(self) -> Path | None:
        """Directory for bodies that have to be on disk to be read; None: the system's."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes that were not read yet."""
        ...


class Source:
    """Blocks of a stream, with the SHA-256 of all that was read.

    Args:
        stream: the body.
        most_bytes: reading more raises ``too_large``.
        spool: directory for bodies that have to be on disk to be read; None: the system's.
    """

    def __init__(self, stream: Readable, most_bytes: int, spool: Path | None = None) -> None:
        self.spool = spool
        self._stream = stream
        self._most_bytes = most_bytes
        self._hash = hashlib.sha256()
        self._read = 0

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes that were not read yet.

        Raises:
            ServiceError: ``too_large``.
        """
        while block := self._stream.read(BLOCK_BYTES):
            self._read += len(block)
            if self._read > self._most_bytes:
                raise ServiceError("too_large", f"the body is larger than {self._most_bytes:,} bytes")
            self._hash.update(block)
            yield block

    def drain(self) -> str:
        """Read to the end and return the SHA-256 of the whole body, in hex."""
        for _ in self.blocks():
            pass
        return self._hash.hexdigest()
