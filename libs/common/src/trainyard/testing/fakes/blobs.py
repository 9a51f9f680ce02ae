"""A blob store in memory."""

from __future__ import annotations

import hashlib
import io
import threading
from typing import TYPE_CHECKING, BinaryIO

from trainyard.clock import SystemClock
from trainyard.contracts.blobs import Blob, BlobExistsError, BlobInfo, BlobMissingError
from trainyard.contracts.part_store import MIN_PART_BYTES, BlobChangedError, PartStore, UploadMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trainyard.clock import Clock


class MemoryBlobs(PartStore):
    """Objects by key; the etag is the MD5 of the bytes, as on S3, the time of a write that of ``clock``.

    ``outage`` is raised by every call while it is set. Parts may not be smaller than ``min_part_bytes``.
    """

    def __init__(self, clock: Clock | None = None, *, min_part_bytes: int = MIN_PART_BYTES) -> None:
        self._min_part_bytes = min_part_bytes
        self._uploads: dict[tuple[str, str], dict[int, bytes]] = {}
        self._begun = 0
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

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """Store ``data`` in place of the object that has ``etag``."""
        self._answer()
        with self._lock:
            if key not in self._objects or _etag(self._objects[key]) != etag:
                raise BlobChangedError(f"{key} is no longer what it was")
            self._objects[key] = data
            self._modified[key] = self._clock.now()
        return _etag(data)

    def read_range(self, key: str, start: int, length: int, *, etag: str) -> bytes:
        """Return a piece of the object with that etag."""
        with self.open(key, etag=etag) as stream:
            stream.seek(start)
            return stream.read(length)

    def list_after(self, prefix: str, after: str) -> Iterator[BlobInfo]:
        """Yield the objects under ``prefix`` whose keys come behind ``after``."""
        return (info for info in self.list(prefix) if info.key.encode() > after.encode())

    def begin_upload(self, key: str) -> str:
        """Begin an upload."""
        self._answer()
        with self._lock:
            self._begun += 1
            upload_id = f"upload-{self._begun}"
            self._uploads[key, upload_id] = {}
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> None:
        """Keep the part."""
        self._answer()
        with self._lock:
            self._upload(key, upload_id)[number] = data

    def complete_upload(self, key: str, upload_id: str, parts: int) -> None:
        """Make the object of its parts; ValueError as S3's EntityTooSmall."""
        self._answer()
        with self._lock:
            found = self._upload(key, upload_id)
            if sorted(found) != list(range(1, parts + 1)):
                raise UploadMissingError(f"the upload to {key} has {len(found)} parts of {parts}")
            if any(len(found[number]) < self._min_part_bytes for number in range(1, parts)):
                raise ValueError("EntityTooSmall")
            self._objects[key] = b"".join(found[number] for number in range(1, parts + 1))
            self._modified[key] = self._clock.now()
            del self._uploads[key, upload_id]

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the parts away."""
        self._answer()
        with self._lock:
            self._uploads.pop((key, upload_id), None)

    def _upload(self, key: str, upload_id: str) -> dict[int, bytes]:
        try:
            return self._uploads[key, upload_id]
        except KeyError:
            raise UploadMissingError(f"the upload to {key} is not open") from None

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
