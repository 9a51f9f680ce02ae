"""The file that a backup is: what was written is read again, and what is not that is refused."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard import backup_file
from trainyard.backup_file import About, BackupError, Reader, Writer

ABOUT = About("00000000-0000-4000-8000-000000000000", "0.1.0", "0016", "2026-01-01T00:00:00+00:00", 1, 5)
PARTS = {"objects/models/a.msgpack": b"bytes", "database/00000001": b"d" * 3000, "keys/admin.key": b""}


def written(parts: dict[str, bytes], missing: dict[str, str] | None = None) -> bytes:
    """Return a backup with these parts."""
    file = io.BytesIO()
    writer = Writer(file, ABOUT)
    for name, data in parts.items():
        writer.add(name, data)
    writer.end(missing or {})
    return file.getvalue()


def read(data: bytes) -> dict[str, bytes]:
    """Read a backup to its end."""
    reader = Reader(io.BytesIO(data))
    parts = {name: content.read() for name, _, content in reader.parts()}
    assert reader.about == ABOUT
    return parts


WHOLE = written(PARTS)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,20}/[a-z0-9/]{1,180}", fullmatch=True), st.binary(max_size=3000)))
def test_what_is_written_is_read(parts: dict[str, bytes]) -> None:
    """Names, contents and order."""
    assert list(read(written(parts)).items()) == list(parts.items())


def test_pieces_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of unknown size is cut into full pieces, however little it gives at a time; each is told."""

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 0, 3))

    monkeypatch.setattr(backup_file, "PIECE_BYTES", 8)
    file, told = io.BytesIO(), []
    writer = Writer(file, ABOUT)
    assert writer.pieces("database", Trickle(b"0123456789abcdefXY"), told.append) == 18
    writer.end({})
    assert told == [8, 8, 2]
    assert read(file.getvalue()) == {
        "database/00000001": b"01234567",
        "database/00000002": b"89abcdef",
        "database/00000003": b"XY",
    }


def test_what_is_not_read_is_checked_all_the_same() -> None:
    """Parts may be skipped; what is missing is known at the end."""
    reader = Reader(io.BytesIO(written(PARTS, {"models/b": "it is gone"})))
    assert [name for name, _, _ in reader.parts()] == list(PARTS)
    assert reader.missing == {"models/b": "it is gone"}


@given(st.integers(0, len(WHOLE.rstrip(b"\0")) - 1), st.integers(1, 255))
def test_a_changed_byte(place: int, change: int) -> None:
    """Whatever byte is another one, the file is refused, or says the same: some bytes of a tar header mean nothing."""
    damaged = WHOLE[:place] + bytes([WHOLE[place] ^ change]) + WHOLE[place + 1 :]
    try:
        found = read(damaged)
    except BackupError:
        return
    assert found == PARTS


@given(st.integers(0, len(WHOLE.rstrip(b"\0")) - 1))
def test_a_file_that_was_cut_off(place: int) -> None:
    """It is refused wherever it ends."""
    with pytest.raises(BackupError):
        read(WHOLE[:place])


def test_an_object_of_another_size() -> None:
    """A stream that ends before its size is an error, and no backup."""
    writer = Writer(io.BytesIO(), ABOUT)
    with pytest.raises(BackupError, match="ended after 3 of 5 bytes"):
        writer.stream("objects/a", io.BytesIO(b"abc"), 5)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("about.json", b'{"format": 2}', "later release"),
        ("about.json", b'{"format": 1, "id": "x"}', "says of itself"),
        ("about.json", b"[]", "must be an object"),
        ("about.json", b"{", "must be JSON"),
        ("readme.txt", b"hello", "no backup of Trainyard"),
    ],
)
def test_what_it_says_of_itself(name: str, data: bytes, said: str) -> None:
    """A later format, and what is none of ours."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
    with pytest.raises(BackupError, match=said):
        Reader(io.BytesIO(file.getvalue()))


def test_a_part_that_is_no_file() -> None:
    """A directory, or a link, is in no backup."""
    for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w") as tar:
            data = json.dumps({"format": 1, **asdict(ABOUT)}).encode()
            about = tarfile.TarInfo("about.json")
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
            other = tarfile.TarInfo("objects/x")
            other.type = kind
            tar.addfile(other)
        with pytest.raises(BackupError, match="damaged"):
            list(Reader(io.BytesIO(file.getvalue())).parts())
