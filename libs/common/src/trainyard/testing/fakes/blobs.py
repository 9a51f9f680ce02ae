"""A blob store in memory."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import TYPE_CHECKING, BinaryIO

from trainyard.clock import SystemClock
from trainyard.contracts.blobs import Blob, BlobExistsError, BlobInfo, BlobMissingError, BlobStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trainyard.clock import Clock


class MemoryBlobs(BlobStore):
    """Objects by key; the etag is the MD5 of the bytes, as on S3, the time of a write that of ``clock``.

    ``outage`` is raised by every call while it is set.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._objects: dict[str, bytes] = {}
        self._modified: dict[str, datetime] = {}
        self.outage: Exception | None = None

    def put(self, key: str, data: bytes | BinaryIO, *, only_if_absent: bool = False) -> str:
        """Store a copy of ``data``."""
        self._answer()
        if not isinstance(data, bytes | bytearray):
            data.seek(0)
            data = data.read()
        with self._lock:
            if only_if_absent and key in self._objects:
                raise BlobExistsError(f"{key} exists")
            self._objects[key] = bytes(data)
            self._modified[key] = self._clock.now()
        return _etag(data)

    def get(self, key: str) -> Blob:
        """Return the object."""
        self._answer()
        data = self._objects.get(key)
        if data is None:
            raise BlobMissingError(f"{key}: there is no such object")
        return Blob(data, _etag(data))

    def get_if_changed(self, key: str, etag: str | None) -> Blob | None:
        """Return the object, or None when its etag is still ``etag``."""
        blob = self.get(key)
        return None if blob.etag == etag else blob

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """Return a stream over the object as it is now."""
        blob = self.get(key)
        if etag is not None and etag != blob.etag:
            raise BlobMissingError(f"{key}: the object has changed")
        return io.BytesIO(blob.data)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        """Yield the objects under ``prefix``, by the UTF-8 bytes of their keys."""
        self._answer()
        with self._lock:
            found = [(key, data, self._modified[key]) for key, data in self._objects.items() if key.startswith(prefix)]
        for key, data, modified_at in sorted(found, key=lambda item: item[0].encode()):
            yield BlobInfo(key, len(data), _etag(data), modified_at)

    def delete(self, key: str) -> None:
        """Remove the object, if there is one."""
        self._answer()
        with self._lock:
            self._objects.pop(key, None)

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage


def _etag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
