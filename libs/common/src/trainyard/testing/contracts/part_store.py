"""What every store does in which objects are put together from parts. The class needs the fixture ``blobs``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.blobs import BlobMissingError
from trainyard.contracts.part_store import MIN_PART_BYTES, BlobChangedError, UploadMissingError

if TYPE_CHECKING:
    from trainyard.contracts.part_store import PartStore

_KEY = "batch/out/late flights/ä+b.csv"


class PartStoreContract:
    """Compare-and-set, pieces of objects, listing from a place on, and parts."""

    def test_replace(self, blobs: PartStore) -> None:
        """What is replaced has the etag that was seen; whoever saw another one replaces nothing."""
        first = blobs.put(_KEY, b"one")
        second = blobs.replace(_KEY, b"two", first)
        assert blobs.get(_KEY).etag == second != first
        with pytest.raises(BlobChangedError):
            blobs.replace(_KEY, b"three", first)
        assert blobs.get(_KEY).data == b"two"

    def test_replace_nothing(self, blobs: PartStore) -> None:
        """An object that is gone is not made again."""
        etag = blobs.put(_KEY, b"one")
        blobs.delete(_KEY)
        with pytest.raises(BlobChangedError):
            blobs.replace(_KEY, b"two", etag)
        with pytest.raises(BlobMissingError):
            blobs.get(_KEY)

    def test_one_of_many_replaces(self, blobs: PartStore) -> None:
        """Of eight that saw the same object, one replaces it."""
        etag = blobs.put(_KEY, b"start")

        def replace(number: int) -> bool:
            try:
                blobs.replace(_KEY, str(number).encode(), etag)
            except BlobChangedError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(replace, range(8)))
        assert won.count(True) == 1
        assert blobs.get(_KEY).data == str(won.index(True)).encode()

    def test_ranges(self, blobs: PartStore) -> None:
        """A piece is cut short by the end of the object, and is of the version that was asked for."""
        etag = blobs.put(_KEY, bytes(range(100)))
        assert blobs.read_range(_KEY, 0, 10, etag=etag) == bytes(range(10))
        assert blobs.read_range(_KEY, 95, 10, etag=etag) == bytes(range(95, 100))
        assert blobs.read_range(_KEY, 0, 1000, etag=etag) == bytes(range(100))
        blobs.put(_KEY, b"other")
        with pytest.raises(BlobMissingError):
            blobs.read_range(_KEY, 0, 10, etag=etag)
        with pytest.raises(BlobMissingError):
            blobs.read_range("nothing", 0, 10, etag=etag)

    def test_list_after(self, blobs: PartStore) -> None:
        """A listing goes on behind a key, which need not be there."""
        for name in ("a", "c", "e"):
            blobs.put(f"jobs/{name}", b"x")
        assert [info.key for info in blobs.list_after("jobs/", "jobs/a")] == ["jobs/c", "jobs/e"]
        assert [info.key for info in blobs.list_after("jobs/", "jobs/b")] == ["jobs/c", "jobs/e"]
        assert list(blobs.list_after("jobs/", "jobs/e")) == []

    def test_parts_become_one_object(self, blobs: PartStore) -> None:
        """The object is there when the upload is completed and not before; a part that is sent again is there once."""
        first, last = b"a" * MIN_PART_BYTES, b"the end"
        upload_id = blobs.begin_upload(_KEY)
        blobs.put_part(_KEY, upload_id, 2, last)
        blobs.put_part(_KEY, upload_id, 1, b"b" * MIN_PART_BYTES)
        blobs.put_part(_KEY, upload_id, 1, first)
        with pytest.raises(BlobMissingError):
            blobs.get(_KEY)
        with pytest.raises(UploadMissingError):
            blobs.complete_upload(_KEY, upload_id, 3)
        blobs.complete_upload(_KEY, upload_id, 2)
        assert blobs.get(_KEY).data == first + last

    def test_a_completed_upload_is_closed(self, blobs: PartStore) -> None:
        """Whoever comes late changes nothing of the object."""
        upload_id = blobs.begin_upload(_KEY)
        blobs.put_part(_KEY, upload_id, 1, b"whole")
        blobs.complete_upload(_KEY, upload_id, 1)
        with pytest.raises(UploadMissingError):
            blobs.put_part(_KEY, upload_id, 1, b"other")
        with pytest.raises(UploadMissingError):
            blobs.complete_upload(_KEY, upload_id, 1)
        assert blobs.get(_KEY).data == b"whole"

    def test_abort(self, blobs: PartStore) -> None:
        """An aborted upload is gone; aborting it again is no error."""
        upload_id = blobs.begin_upload(_KEY)
        blobs.put_part(_KEY, upload_id, 1, b"x")
        blobs.abort_upload(_KEY, upload_id)
        blobs.abort_upload(_KEY, upload_id)
        with pytest.raises(UploadMissingError):
            blobs.put_part(_KEY, upload_id, 1, b"x")
