"""What every blob store does. The class needs the fixture ``blobs`` (an empty store)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import SystemClock
from trainyard.contracts.blobs import BlobExistsError, BlobMissingError

if TYPE_CHECKING:
    from pathlib import Path

    from trainyard.contracts.blobs import BlobStore

_KEY = "models/late flights/ä+b.msgpack"


class BlobStoreContract:
    """Writing once and again, reading by etag, streaming, listing and deleting."""

    def test_read_what_was_written(self, blobs: BlobStore) -> None:
        """Bytes and etag of a read are those of the write; any key and any bytes will do."""
        data = bytes(range(256)) * 40
        etag = blobs.put(_KEY, data)
        assert blobs.get(_KEY).data == data
        assert blobs.get(_KEY).etag == etag

    def test_a_file(self, blobs: BlobStore, tmp_path: Path) -> None:
        """A file is stored whole, wherever it stands, and never in place of an object that must not be replaced."""
        path = tmp_path / "file"
        path.write_bytes(bytes(range(256)) * 20_000)
        with path.open("rb") as file:
            file.read(100)
            etag = blobs.put(_KEY, file, only_if_absent=True)
            assert blobs.get(_KEY).data == path.read_bytes()
            assert blobs.get(_KEY).etag == etag
            with pytest.raises(BlobExistsError):
                blobs.put(_KEY, file, only_if_absent=True)

    def test_empty_object(self, blobs: BlobStore) -> None:
        """An object may have no bytes."""
        blobs.put(_KEY, b"")
        assert blobs.get(_KEY).data == b""
        assert blobs.open(_KEY).read() == b""

    def test_etag_is_bare_and_follows_the_bytes(self, blobs: BlobStore) -> None:
        """An etag has no quotes, and changes when the bytes do and only then."""
        first = blobs.put(_KEY, b"one")
        assert '"' not in first
        assert blobs.put(_KEY, b"two") != first
        assert blobs.put(_KEY, b"one") == first

    def test_missing_object(self, blobs: BlobStore) -> None:
        """Every way of reading names a missing object the same."""
        for read in (
            lambda: blobs.get("nothing"),
            lambda: blobs.get_if_changed("nothing", None),
            lambda: blobs.get_if_changed("nothing", "0" * 32),
            lambda: blobs.open("nothing"),
            lambda: blobs.open("nothing", etag="0" * 32),
        ):
            with pytest.raises(BlobMissingError, match="nothing"):
                read()

    def test_only_if_absent(self, blobs: BlobStore) -> None:
        """A guarded write never replaces an object, not even with the same bytes."""
        blobs.put(_KEY, b"first", only_if_absent=True)
        for data in (b"second", b"first"):
            with pytest.raises(BlobExistsError):
                blobs.put(_KEY, data, only_if_absent=True)
        assert blobs.get(_KEY).data == b"first"

    def test_only_one_of_many_writers_wins(self, blobs: BlobStore) -> None:
        """Of eight guarded writers at once exactly one succeeds, and its bytes stay."""

        def write(number: int) -> bool:
            try:
                blobs.put(_KEY, str(number).encode(), only_if_absent=True)
            except BlobExistsError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert blobs.get(_KEY).data == str(won.index(True)).encode()

    def test_read_if_changed(self, blobs: BlobStore) -> None:
        """With the current etag nothing is read; with another, or none, the object is."""
        etag = blobs.put(_KEY, b"one")
        assert blobs.get_if_changed(_KEY, etag) is None
        assert blobs.get_if_changed(_KEY, None) == blobs.get(_KEY)
        blobs.put(_KEY, b"two")
        changed = blobs.get_if_changed(_KEY, etag)
        assert changed is not None
        assert changed.data == b"two"

    def test_stream(self, blobs: BlobStore) -> None:
        """A stream gives the bytes piece by piece and line by line, and is closed by `with`."""
        blobs.put(_KEY, b"a,b\n1,2\n" * 50_000)
        with blobs.open(_KEY) as stream:
            assert stream.read(4) == b"a,b\n"
            assert stream.readline() == b"1,2\n"
            assert sum(1 for _ in stream) == 99_998
        assert stream.closed

    def test_stream_of_one_version(self, blobs: BlobStore) -> None:
        """With an etag the stream opens only while the object still carries it."""
        etag = blobs.put(_KEY, b"one")
        with blobs.open(_KEY, etag=etag) as stream:
            assert stream.read() == b"one"
        blobs.put(_KEY, b"two")
        with pytest.raises(BlobMissingError):
            blobs.open(_KEY, etag=etag)

    def test_list_in_key_order(self, blobs: BlobStore) -> None:
        """Listing gives the objects under the prefix by key, with size, etag and time, and nothing else."""
        etags = {key: blobs.put(key, key.encode()) for key in ("a/2", "a/10", "a/é", "b/1", "a/z z")}
        expected = [(key, len(key.encode()), etags[key]) for key in ("a/10", "a/2", "a/z z", "a/é")]
        found = list(blobs.list("a/"))
        assert [(info.key, info.size, info.etag) for info in found] == expected
        now = SystemClock().now()
        assert all(timedelta(minutes=-5) < now - info.modified_at < timedelta(minutes=5) for info in found)
        assert list(blobs.list("nowhere/")) == []
        assert len(list(blobs.list(""))) == 5

    def test_list_past_one_page(self, blobs: BlobStore) -> None:
        """A listing does not end at the thousand keys that S3 gives at a time."""
        keys = [f"many/{i:04}" for i in range(1_005)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: blobs.put(key, b"x"), keys))
        assert [info.key for info in blobs.list("many/")] == keys

    def test_delete(self, blobs: BlobStore) -> None:
        """A deleted object is gone; deleting nothing is no error."""
        blobs.put(_KEY, b"x")
        blobs.delete(_KEY)
        blobs.delete(_KEY)
        with pytest.raises(BlobMissingError):
            blobs.get(_KEY)
