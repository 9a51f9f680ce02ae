"""The accuracy benchmark's list and splits: what was promised before tuning stays what is measured."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.models import catalog
from benchmarks.models.splits import SEEDS, split

if TYPE_CHECKING:
    from pathlib import Path


def test_the_list_is_whole() -> None:
    """At least ten tables, every task, each described completely and fixed by a hash."""
    listed = catalog.load()
    assert len(listed) >= 10
    assert {d.task for d in listed.values()} == set(catalog.TASKS)
    assert {d.split for d in listed.values()} == set(catalog.SPLITS)
    assert len({d.sha256 for d in listed.values()}) == len(listed)
    for dataset in listed.values():
        assert re.fullmatch("[0-9a-f]{64}", dataset.sha256), dataset.name
        assert dataset.licence, dataset.name
        assert all(dataset.exclude.values()), f"{dataset.name} leaves out a column without a reason"
        assert dataset.label not in dataset.exclude


def test_other_bytes_are_not_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prepared table counts only as long as it has the bytes of the list."""
    monkeypatch.setattr(catalog, "STATE", tmp_path)
    dataset = next(iter(catalog.load().values()))
    assert not dataset.is_prepared()
    dataset.prepared.parent.mkdir()
    dataset.prepared.write_text("something else")
    assert not dataset.is_prepared()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", catalog.SPLITS)
def test_parts_are_disjoint_and_repeatable(rule: str, seed: int) -> None:
    """No row is learnt from and asked; the same seed gives the same parts, another seed others."""
    labels = np.array(["a"] * 900 + ["b"] * 100)
    learnt, asked = split(rule, labels, seed, classes=True)
    assert not set(learnt) & set(asked)
    assert len(asked) == 200
    again = split(rule, labels, seed, classes=True)
    assert np.array_equal(learnt, again[0])
    assert np.array_equal(asked, again[1])
    assert not np.array_equal(asked, split(rule, labels, (seed + 1) % len(SEEDS), classes=True)[1])


def test_random_parts_keep_the_shares() -> None:
    """A random split of classes is stratified; of numbers it takes any rows, all rows being in one part."""
    labels = np.array(["a"] * 900 + ["b"] * 100)
    _, asked = split("random", labels, 3, classes=True)
    assert (labels[asked] == "b").sum() == 20
    learnt, asked = split("random", np.arange(1000.0), 3, classes=False)
    assert sorted([*learnt, *asked]) == list(range(1000))


def test_time_parts_are_in_order() -> None:
    """What is asked comes after what was learnt, and the last seed reaches the end."""
    for seed in SEEDS:
        learnt, asked = split("time", np.zeros(1003), seed, classes=False)
        assert learnt[-1] < asked[0]
        assert learnt[0] == 0
    assert asked[-1] == 1002
