"""Private records: found by their token alone, by nobody else, for their time."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock
from trainyard.private_records import PrivateRecords

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands still."""
    return ManualClock()


@pytest.fixture
def records(tmp_path: Path, clock: ManualClock) -> PrivateRecords:
    """Records in a folder that is not there yet."""
    return PrivateRecords(tmp_path / "some" / "folder", clock)


def test_a_token_finds_its_record_until_it_is_dropped(records: PrivateRecords) -> None:
    """Two records have two tokens; reading changes nothing; what was dropped is gone."""
    first, second = records.put({"n": 1}, seconds=10), records.put({"n": 2}, seconds=10)
    assert [records.get(token) for token in (first, second, first)] == [{"n": 1}, {"n": 2}, {"n": 1}]
    records.drop(first)
    records.drop(first)
    assert (records.get(first), records.get(second)) == (None, {"n": 2})


def test_the_files_are_the_owners_and_hold_no_token(records: PrivateRecords, tmp_path: Path) -> None:
    """Nobody else may look into the folder, and whoever lists it learns nothing to sign in with."""
    token = records.put({"n": 1}, seconds=10)
    folder = tmp_path / "some" / "folder"
    (file,) = folder.iterdir()
    assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    assert token not in file.name + file.read_text()


def test_time_ends_a_record(records: PrivateRecords, clock: ManualClock, tmp_path: Path) -> None:
    """At its end a record is found no more, and the next one that is put sweeps it away."""
    token = records.put({"n": 1}, seconds=10)
    clock.advance(9.5)
    assert records.get(token) == {"n": 1}
    clock.advance(0.5)
    assert (records.get(token), records.take(token)) == (None, None)
    records.put({"n": 1}, seconds=10)
    clock.advance(10)
    records.put({"n": 2}, seconds=10)
    assert len(list((tmp_path / "some" / "folder").iterdir())) == 1


def test_one_of_many_takes_a_record(records: PrivateRecords) -> None:
    """Taking is once, also when many try at the same moment."""
    token = records.put({"n": 1}, seconds=10)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(records.take, [token] * 8))
    assert [value for value in taken if value is not None] == [{"n": 1}]


@pytest.mark.parametrize("token", ["", "x", "../../etc/passwd", "\0", "x" * 100_000, "é" * 50])
def test_any_text_may_be_asked_for(records: PrivateRecords, token: str) -> None:
    """What is no token finds nothing, and is nobody's path."""
    records.put({"n": 1}, seconds=10)
    assert (records.get(token), records.take(token)) == (None, None)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", json.dumps({"until": 1e12}), json.dumps({"until": 1e12, "value": 3})]
)
def test_a_broken_file_finds_nothing(records: PrivateRecords, tmp_path: Path, content: str) -> None:
    """A file that is no record is as good as none."""
    token = records.put({"n": 1}, seconds=10)
    (file,) = (tmp_path / "some" / "folder").iterdir()
    file.write_text(content)
    assert records.get(token) is None
