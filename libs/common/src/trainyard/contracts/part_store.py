"""A blob store in which objects are also changed by compare-and-set, read in pieces and put together from parts.

What a long piece of work needs that keeps its state in the store: the predictor's batch jobs.
"""

from __future__ import annotations

from trainyard.contracts.blobs import BlobStore
from trainyard.errors import TrainyardError
from trainyard.protocol import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.contracts.blobs import BlobInfo

#: Least bytes of every part of an object but the last, and most parts of one: S3's own limits.
MIN_PART_BYTES = 5 * 1024 * 1024
MAX_PARTS = 10_000


class BlobChangedError(TrainyardError):
    """The object is no longer the one with that etag, or is gone."""


class UploadMissingError(TrainyardError):
    """The upload was completed, was aborted, or never was."""


class PartStore(BlobStore, Protocol):
    """One bucket. Every method raises :class:`~trainyard.errors.TransientError` when the service does not answer.

    An object that is put together from parts appears when its upload is completed, as a whole; a part that is sent
    again takes the place of the one before. An upload that nobody completes goes after a day.
    """

    def replace(self, key: str, data: bytes, etag: str) -> str:
        """Store ``data`` in place of the object that has ``etag``; return the new etag.

        Raises:
            BlobChangedError: it has another one, or there is none; also when the answer to an earlier attempt was lost
                on the way, so compare the contents before calling it a conflict.
        """
        ...

    def read_range(self, key: str, start: int, length: int, *, etag: str) -> bytes:
        """Return ``length`` bytes (1 or more) of the object with that etag, fewer where it ends before.

        ``start`` lies before its end.

        Raises:
            BlobMissingError: there is none, or none with that etag.
        """
        ...

    def list_after(self, prefix: str, after: str) -> Iterator[BlobInfo]:
        """Yield the objects whose keys start with ``prefix`` and come behind ``after``, in key order."""
        ...

    def begin_upload(self, key: str) -> str:
        """Begin to put an object together; return the id of the upload."""
        ...

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> None:
        """Send part ``number`` (1 to MAX_PARTS); all but the last have MIN_PART_BYTES at least.

        Raises:
            UploadMissingError: the upload is not open.
        """
        ...

    def complete_upload(self, key: str, upload_id: str, parts: int) -> None:
        """Make the object of parts 1 to ``parts``.

        Raises:
            UploadMissingError: the upload is not open, or has other parts than these.
        """
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Throw the parts away; an upload that is gone is no error."""
        ...
