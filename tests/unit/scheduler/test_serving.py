"""What processes say they serve: the living ones are listed, the killed ones are left out and swept at last."""

from __future__ import annotations

from datetime import timedelta

import pytest

from trainyard.clock import ManualClock
from trainyard.serving_object import PREFIX, ServedModel, encode_serving, serving_key
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard_scheduler.use_cases import serving as uses


@pytest.fixture
def blobs() -> MemoryBlobs:
    """A store with two processes, one of which serves another model as well."""
    made = MemoryBlobs(ManualClock())
    champion = ServedModel("late", "champion", 3, 7, None)
    made.put(serving_key("prod", "b-1"), encode_serving([champion, ServedModel("trains", "champion", 1, 1, None)]))
    made.put(serving_key("dev", "a-1"), encode_serving([ServedModel("late", "9", 9, 0, None), champion]))
    return made


def listed(blobs: MemoryBlobs, *, after: float = 0.0) -> list[tuple[str, str, str, int | None]]:
    """Return what is listed of the model `late` so many seconds after the newest object was written."""
    newest = max(info.modified_at for info in blobs.list(PREFIX))
    found = uses.serving(blobs, newest + timedelta(seconds=after), "late")
    return [(one["environment"], one["process"], one["asked"], one["version"]) for one in found]


def test_living_processes_are_listed_by_environment(blobs: MemoryBlobs) -> None:
    """Of the model that was asked for, each with alias or version."""
    expected = [("dev", "a-1", "9", 9), ("dev", "a-1", "champion", 3), ("prod", "b-1", "champion", 3)]
    assert listed(blobs, after=19) == expected


def test_all_models_are_listed_for_whoever_names_none(blobs: MemoryBlobs) -> None:
    """By environment, process and model."""
    newest = max(info.modified_at for info in blobs.list(PREFIX))
    found = [(one["process"], one["model"], one["asked"]) for one in uses.serving(blobs, newest)]
    assert found == [
        ("a-1", "late", "9"),
        ("a-1", "late", "champion"),
        ("b-1", "late", "champion"),
        ("b-1", "trains", "champion"),
    ]


def test_processes_that_are_silent_are_gone(blobs: MemoryBlobs) -> None:
    """After 20 s without a word nobody waits for them; the object goes after an hour."""
    assert listed(blobs, after=21) == []
    newest = max(info.modified_at for info in blobs.list(PREFIX))
    assert uses.forget_gone(blobs, newest + timedelta(seconds=3_599)) == 0
    assert uses.forget_gone(blobs, newest + timedelta(seconds=3_601)) == 2
    assert list(blobs.list(PREFIX)) == []


def test_what_cannot_be_read_is_left_out(blobs: MemoryBlobs) -> None:
    """Garbage and foreign keys hide nobody else."""
    blobs.put(f"{PREFIX}prod/c-1", b"\xc1")
    blobs.put(f"{PREFIX}stray", b"")
    assert len(listed(blobs)) == 3
