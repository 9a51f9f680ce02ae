"""A store of immutable blobs and small mutable pointers: S3 in the cloud and on the emulators, a fake in unit tests."""

from __future__ import annotations

from trainyard.errors import TrainyardError
from trainyard.frozen import dataclass
from trainyard.protocol import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import BinaryIO


class BlobMissingError(TrainyardError):
    """No object under that key."""


class BlobExistsError(TrainyardError):
    """``put(..., only_if_absent=True)`` found an object under the key."""


@dataclass(frozen=True)
class Blob:
    """An object's bytes and the tag that changes whenever they change."""

    data: bytes
    etag: str


@dataclass(frozen=True)
class BlobInfo:
    """An object without its bytes. ``size`` in bytes; ``modified_at`` (UTC, aware) by the clock of the store."""

    key: str
    size: int
    etag: str
    modified_at: datetime


class BlobStore(Protocol):
    """One bucket. Every method raises :class:`~trainyard.errors.TransientError` when the service does not answer."""

    def put(self, key: str, data: bytes | BinaryIO, *, only_if_absent: bool = False) -> str:
        """Store ``data`` and return its etag; a file, at most 5 GB, is sent from its beginning piece by piece.

        Raises:
            BlobExistsError: ``only_if_absent`` and the key is taken.
        """
        ...

    def get(self, key: str) -> Blob:
        """Return the object.

        Raises:
            BlobMissingError: there is none.
        """
        ...

    def get_if_changed(self, key: str, etag: str | None) -> Blob | None:
        """Return the object, or None when its etag is still ``etag``.

        Raises:
            BlobMissingError: there is none.
        """
        ...

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """Return a stream over the object (close it); with ``etag``, only while the object still carries it.

        Raises:
            BlobMissingError: there is none, or none with that etag.
        """
        ...

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield every object whose key starts with ``prefix``, in key order."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error when there is none."""
        ...
