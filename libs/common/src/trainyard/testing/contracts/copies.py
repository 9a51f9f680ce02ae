"""What the records of copies do in every store, and what every shelf does.

The classes need a fixture ``world`` (of the scheduling contract) and a fixture ``shelf``.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

import pytest

from trainyard.alias_object import extract_key
from trainyard.contracts.copies import IN_DATABASE, ON_SHELF
from trainyard.errors import ServiceError
from trainyard.policy import Policy
from trainyard.promotion import move_alias
from trainyard.testing.contracts.scheduling import add_model, add_request

if TYPE_CHECKING:
    from trainyard.contracts.copies import LiveArtifact, Shelf
    from trainyard.contracts.registry import VersionRecord
    from trainyard.contracts.scheduling import Records
    from trainyard.testing.contracts.scheduling import World


def add_version(world: World, model: int, digit: str, *, waits: bool = False, extract: str | None = None) -> int:
    """Let a trainer publish a version whose hash consists of one digit; return its number."""
    upto = world.add_rows(1)
    with world.store.begin() as records:
        request = add_request(records, model, upto)
    world.claim(request.id)
    return world.finish(request.id, sha256=digit * 64, waits=waits, extract_key=extract)


def point(records: Records, model: int, alias: str, version: int) -> None:
    """Move an alias."""
    move_alias(
        records.versions,
        records.journal,
        model_id=model,
        model="late",
        alias=alias,
        version=version,
        actor="test",
        reason="test",
    )


def _model(world: World, keep_copies: int) -> int:
    with world.store.begin() as records:
        model = add_model(records)
        records.models.change_policy(model, Policy(keep_copies=keep_copies))
    return model


def _live(world: World) -> list[str]:
    """Return the live artifacts by the digit of their hash."""
    with world.store.begin() as records:
        return [artifact.sha256[0] for artifact in records.copies.live()]


def _artifact(world: World, digit: str) -> LiveArtifact:
    with world.store.begin() as records:
        return next(artifact for artifact in records.copies.live() if artifact.sha256[0] == digit)


class CopiesContract:
    """What is live, what has a copy, what was lost."""

    def test_what_is_live(self, world: World) -> None:
        """Whatever an alias leads to, what waits for a person, and the newest of each model."""
        model = _model(world, 1)
        for digit in "1234":
            add_version(world, model, digit, waits=digit == "3")
        assert _live(world) == ["3", "4"]
        with world.store.begin() as records:
            for alias, version in (("champion", 1), ("champion", 2), ("special", 1)):
                point(records, model, alias, version)
        assert _live(world) == ["1", "2", "3", "4"]
        with world.store.begin() as records:
            records.versions.decide(model, 3, approve=False, actor="me", reason="no")
            records.versions.remove_alias(model, "special")
            point(records, model, "champion", 4)
            records.models.change_policy(model, Policy(keep_copies=0))
        assert _live(world) == ["2", "4"]
        with world.store.begin() as records:
            records.models.delete(model)
        assert _live(world) == []

    def test_copies(self, world: World) -> None:
        """A copy is kept once, with its bytes or as one on the shelf; what is not live any more is surplus."""
        model = _model(world, 2)
        for digit in "12":
            add_version(world, model, digit)
        first, second = _artifact(world, "1"), _artifact(world, "2")
        assert (first.model, first.size, first.copy) == ("late", 10, None)
        with world.store.begin() as records:
            records.copies.keep(first, b"\x00bytes")
            records.copies.keep(first, b"others")
            records.copies.keep(second, None)
            assert records.copies.data(first.key) == b"\x00bytes"
            assert records.copies.data(second.key) is None
            assert records.copies.data("nosuch") is None
            assert records.copies.on_shelf() == {second.sha256}
            assert records.copies.surplus(9) == []
        assert [_artifact(world, digit).copy for digit in "12"] == [IN_DATABASE, ON_SHELF]
        for digit in "34":
            add_version(world, model, digit)
        with world.store.begin() as records:
            assert records.copies.surplus(1) == [first.key]
            assert records.copies.surplus(9) == [first.key, second.key]
            records.copies.drop([first.key, "nosuch"])
            assert records.copies.surplus(9) == [second.key]
            assert records.copies.data(first.key) is None

    def test_lost_and_found(self, world: World) -> None:
        """A lost artifact is lost once, until it is found; an extract goes from every version that has it."""
        model = _model(world, 2)
        rows = extract_key("late", "e" * 64)
        for digit in "12":
            add_version(world, model, digit, extract=rows)
        keys = [_artifact(world, digit).key for digit in "12"]
        with world.store.begin() as records:
            assert records.copies.stored() == dict.fromkeys(keys, False)
            assert records.copies.extracts() == {rows}
            assert records.copies.lose(keys[:1], [rows]) == (1, 2)
            assert records.copies.lose(keys[:1], [rows]) == (0, 0)
            assert records.copies.stored() == {keys[0]: True, keys[1]: False}
            assert records.copies.extracts() == frozenset()
            lost, sound = (_version(records, model, number) for number in (1, 2))
            assert lost.lost_at is not None
            assert (sound.lost_at, lost.extract_key) == (None, None)
            assert records.copies.find(keys) == 1
            assert records.copies.find(keys) == 0
            assert _version(records, model, 1).lost_at is None
            records.models.delete(model)
            assert records.copies.stored() == {}

    def test_lives(self, world: World) -> None:
        """The first is told from those that came after a loss."""
        with world.store.begin() as records:
            assert records.copies.lives() == []
            records.copies.began(restored=0, lost=0, lost_extracts=0)
        with world.store.begin() as records:
            records.copies.began(restored=1, lost=2, lost_extracts=3)
            lives = records.copies.lives()
            assert [(v.restored, v.lost, v.lost_extracts, v.first) for v in lives] == [
                (0, 0, 0, True),
                (1, 2, 3, False),
            ]
            assert lives[0].found_at <= lives[1].found_at


def _version(records: Records, model: int, number: int) -> VersionRecord:
    found = records.versions.version(model, number)
    if found is None:
        raise ServiceError("unknown_version", str(number))
    return found


class ShelfContract:
    """Files by their hash."""

    def test_files(self, shelf: Shelf) -> None:
        """A file is there until it is removed; storing it twice, and removing it twice, is no error."""
        data = b"bytes" * 1000
        name = hashlib.sha256(data).hexdigest()
        assert list(shelf.hashes()) == []
        assert shelf.open(name) is None
        for _ in range(2):
            shelf.put(name, io.BytesIO(data))
        assert list(shelf.hashes()) == [name]
        file = shelf.open(name)
        assert file is not None
        with file:
            assert file.read() == data
        for _ in range(2):
            shelf.remove(name)
        assert list(shelf.hashes()) == []

    def test_another_file(self, shelf: Shelf) -> None:
        """What has another hash is not stored."""
        with pytest.raises(ValueError, match="hash"):
            shelf.put("a" * 64, io.BytesIO(b"other"))
        assert list(shelf.hashes()) == []
