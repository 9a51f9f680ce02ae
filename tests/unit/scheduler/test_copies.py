"""Copies of live artifacts on fakes, and a store that comes back without what it held."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.alias_object import artifact_key
from trainyard.clock import ManualClock
from trainyard.contracts.copies import STORE_MARK
from trainyard.errors import ServiceError, TransientError
from trainyard.policy import Policy
from trainyard.testing.contracts.scheduling import add_model, add_request
from trainyard.testing.fakes import MemoryBlobs, MemoryStore
from trainyard.testing.fakes.copies import MemoryShelf
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.copies import CopyKeeper
from trainyard_scheduler.use_cases.versions import set_alias

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("me", "trace")


class House:
    """A model, a bucket, a shelf, and the keeper, which copies up to 10 bytes into the database."""

    def __init__(self, *, most_bytes: int = 10) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", ())
        self.blobs = MemoryBlobs(self.clock)
        self.shelf = MemoryShelf()
        self.keeper = CopyKeeper(self.store, self.blobs, self.shelf, most_bytes=most_bytes, clock=self.clock)
        with self.store.begin() as records:
            self.model = add_model(records)

    def publish(self, data: bytes, *, extract: str | None = None) -> str:
        """Let a trainer publish a version; return its artifact's key."""
        upto = self.store.state.add_rows("flights", 1)
        with self.store.begin() as records:
            request = add_request(records, self.model, upto)
        self.store.state.claim(request.id, lease_until=self.clock.now())
        sha256 = hashlib.sha256(data).hexdigest()
        self.store.state.finish(request.id, sha256=sha256, size=len(data), extract_key=extract)
        key = artifact_key("late", sha256)
        self.blobs.put(key, data)
        return key

    def empty(self) -> None:
        """Let the store lose everything."""
        for info in list(self.blobs.list("")):
            self.blobs.delete(info.key)

    def later(self) -> int:
        """Step once the whole bucket is looked at again."""
        self.clock.advance(61)
        return self.keeper.step()

    def copies(self) -> dict[str, Any]:
        """Return the copies in the database by key; None: on the shelf."""
        return {key: data for key, (_, data) in self.store.state.copies.items()}

    def newest(self, keep_copies: int) -> None:
        """Change the policy."""
        with self.store.begin() as records:
            records.models.change_policy(self.model, Policy(keep_copies=keep_copies))

    def lost(self) -> list[int]:
        """Return the versions that count as lost."""
        return [version.version for _, version in self.store.state.versions if version.lost_at is not None]


@pytest.fixture
def house() -> House:
    """An orderly one."""
    return House()


def test_what_has_no_copy_gets_one(house: House) -> None:
    """Small artifacts go into the database, large ones onto the shelf, each once."""
    small, large = house.publish(b"0123456789"), house.publish(b"0123456789A")
    assert house.keeper.step() == 2
    assert house.copies() == {small: b"0123456789", large: None}
    assert list(house.shelf.files.values()) == [b"0123456789A"]
    assert house.keeper.step() == 0
    assert house.blobs.get(STORE_MARK).data


def test_without_a_shelf_large_ones_have_none(house: House) -> None:
    """They do not hold up the others."""
    house.publish(b"0123456789A")
    small = house.publish(b"small")
    keeper = CopyKeeper(house.store, house.blobs, None, most_bytes=10, clock=house.clock)
    assert keeper.step() == 1
    assert house.copies() == {small: b"small"}


def test_copies_that_nobody_wants() -> None:
    """With a limit of 0 nothing is copied."""
    house = House(most_bytes=0)
    house.publish(b"")
    house.publish(b"x")
    assert house.keeper.step() == 0
    assert house.copies() == {}


def test_a_damaged_object_is_not_copied(house: House, said: Callable[[], list[Any]]) -> None:
    """Neither into the database nor onto the shelf; what is missing is left to the doctor."""
    small, large, gone = house.publish(b"small"), house.publish(b"0123456789A"), house.publish(b"gone")
    house.blobs.put(small, b"other")
    house.blobs.put(large, b"otherotherother")
    house.blobs.delete(gone)
    assert house.keeper.step() == 0
    assert (house.copies(), house.shelf.files) == ({}, {})
    assert [(action, fields["key"]) for _, action, fields in said() if action == "artifact.damaged"] == [
        (action, key) for action in ["artifact.damaged"] for key in sorted([small, large])
    ]


def test_a_store_that_lost_everything(house: House, journal: Callable[..., Any]) -> None:
    """Live artifacts come back from both places; the others and the extracts are recorded as lost, once."""
    rows = f"extracts/late/{'e' * 64}.parquet"
    old = house.publish(b"old", extract=rows)
    small, large = house.publish(b"small"), house.publish(b"0123456789A")
    house.blobs.put(rows, b"rows")
    house.newest(2)
    assert house.keeper.step() == 2
    skip = (len(house.store.state.events), len(house.store.state.audit))
    house.empty()
    assert house.keeper.step() == 2
    assert [house.blobs.get(key).data for key in (small, large)] == [b"small", b"0123456789A"]
    assert house.lost() == [1]
    assert house.store.state.versions[0][1].extract_key is None
    (first, second) = house.store.state.store_lives
    assert first.first
    assert (second.restored, second.lost, second.lost_extracts, second.first) == (2, 1, 1, False)
    events, audit = journal(house.store, skip)
    assert events == [
        ("artifact.restored", "store", {"artifacts": 2}),
        ("store.empty", "store", {"restored": 2, "lost": 1, "lost_extracts": 1}),
    ]
    assert audit == [
        ("scheduler", "artifact.restore", "store", {"artifacts": 2, "keys": sorted([small, large])}),
        ("scheduler", "store.empty", "store", {"restored": 2, "lost": 1, "lost_extracts": 1, "keys": [old]}),
    ]
    assert house.later() == 0
    assert len(house.store.state.store_lives) == 2


def test_a_lost_version_is_not_pointed_at(house: House) -> None:
    """Until somebody puts its object back; then it is live again, and gets a copy."""
    old = house.publish(b"old")
    house.newest(0)
    house.keeper.step()
    house.empty()
    house.keeper.step()
    with (
        house.store.begin() as records,
        pytest.raises(ServiceError, match="was lost by the object store"),
    ):
        set_alias(records, "late", "champion", 1, expected_seq=None, reason="x", by=BY)
    house.blobs.put(old, b"old")
    assert house.later() == 0
    assert house.lost() == []
    with house.store.begin() as records:
        set_alias(records, "late", "champion", 1, expected_seq=None, reason="x", by=BY)
    assert house.keeper.step() == 1
    assert [entry.action for entry in house.store.state.audit if entry.action == "artifact.find"] == ["artifact.find"]


def test_one_missing_object(house: House) -> None:
    """It is put back at the next look; the store lives on."""
    key = house.publish(b"small")
    house.keeper.step()
    house.blobs.delete(key)
    assert house.keeper.step() == 0, "the bucket is looked at once a minute"
    assert house.later() == 1
    assert house.blobs.get(key).data == b"small"
    assert [life.first for life in house.store.state.store_lives] == [True]


def test_a_bucket_that_was_never_seen(house: House) -> None:
    """What it does not have was not lost by it: the doctor names it, and nothing hides that."""
    house.blobs.delete(house.publish(b"small"))
    house.keeper.step()
    assert house.lost() == []
    assert [life.first for life in house.store.state.store_lives] == [True]


def test_a_death_before_the_mark(house: House) -> None:
    """What was put back stays, and the next look ends what was begun."""
    house.publish(b"small")
    house.keeper.step()
    house.empty()
    put, house.blobs.put = house.blobs.put, _refusing(house.blobs.put, STORE_MARK)  # type: ignore[method-assign]
    with pytest.raises(TransientError):
        house.keeper.step()
    house.blobs.put = put  # type: ignore[method-assign]
    assert house.keeper.step() == 0
    assert house.blobs.get(STORE_MARK).data
    assert [life.restored for life in house.store.state.store_lives] == [0, 1, 0]
    assert house.lost() == []


def _refusing(put: Callable[..., str], key: str) -> Callable[..., str]:
    def refuse(name: str, *arguments: Any, **options: Any) -> str:
        if name == key:
            raise TransientError("the store is away")
        return put(name, *arguments, **options)

    return refuse


@pytest.mark.parametrize("data", [b"small", b"0123456789A"])
def test_a_damaged_copy(house: House, data: bytes, said: Callable[[], list[Any]]) -> None:
    """It is never put back: it is dropped, and the version counts as lost."""
    key = house.publish(data)
    house.keeper.step()
    sha256, bytes_ = house.store.state.copies[key]
    house.store.state.copies[key] = (sha256, None if bytes_ is None else b"smaLl")
    house.shelf.files = dict.fromkeys(house.shelf.files, b"0123456789B")
    house.empty()
    house.keeper.step()
    assert house.lost() == [1]
    assert house.copies() == {}
    assert [action for _, action, _ in said() if action == "artifact.copy_damaged"] == ["artifact.copy_damaged"]


def test_copies_go_when_nothing_is_live(house: House) -> None:
    """Records at once, files at the look after the next: another scheduler may be about to note one."""
    small, large = house.publish(b"small"), house.publish(b"0123456789A")
    house.keeper.step()
    assert set(house.copies()) == {small, large}
    house.newest(0)
    house.later()
    assert house.copies() == {}
    assert len(house.shelf.files) == 1
    house.later()
    assert house.shelf.files == {}
