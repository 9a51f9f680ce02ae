"""What a job writes, put together from parts: nothing of it is to be seen before it is whole.

Where the parts are cut depends on the chunks alone, so whoever takes a job up again sends the same bytes as the same
parts, and so does a worker that has lost its job and does not know yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.part_store import UploadMissingError
from trainyard.crashpoints import step

if TYPE_CHECKING:
    from trainyard.contracts.part_store import PartStore


class Sink:
    """One object on its way. ``waiting`` is what is in no part yet, ``size`` counts everything.

    Args:
        upload_id, parts, size, waiting: where it stood at the last checkpoint.
    """

    def __init__(
        self,
        blobs: PartStore,
        key: str,
        *,
        part_bytes: int,
        upload_id: str | None,
        parts: int,
        size: int,
        waiting: bytes = b"",
    ) -> None:
        self._blobs = blobs
        self._key = key
        self._part_bytes = part_bytes
        self.upload_id = upload_id
        self.parts = parts
        self.size = size
        self.waiting = bytearray(waiting)

    def add(self, data: bytes) -> bool:
        """Take more; send a part if there is enough for one, and return whether that was so.

        Raises:
            UploadMissingError: the upload is gone.
        """
        self.waiting += data
        self.size += len(data)
        if len(self.waiting) < self._part_bytes:
            return False
        if self.upload_id is None:
            self.upload_id = self._blobs.begin_upload(self._key)
        self._send(self.upload_id)
        return True

    def finish(self) -> None:
        """Make the object; when it was made before, nothing happens.

        Raises:
            UploadMissingError: the upload is gone, and the object is not there.
        """
        if self.upload_id is None:
            with step("K51"):
                self._blobs.put(self._key, bytes(self.waiting))
            return
        try:
            if self.waiting:
                self._send(self.upload_id)
            with step("K51"):
                self._blobs.complete_upload(self._key, self.upload_id, self.parts)
        except UploadMissingError:
            if not any(i.key == self._key and i.size == self.size for i in self._blobs.list(self._key)):
                raise

    def _send(self, upload_id: str) -> None:
        with step("K49"):
            self._blobs.put_part(self._key, upload_id, self.parts + 1, bytes(self.waiting))
        self.parts += 1
        self.waiting.clear()
