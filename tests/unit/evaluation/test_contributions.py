"""The mean size of contributions: over rows of the hold-out, of the predicted class, while the time lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.errors import ServiceError
from trainyard.evaluation import Sample, contributions
from trainyard.model.explaining import Explanation

if TYPE_CHECKING:
    from collections.abc import Mapping

ROWS = 600


def sample(task: str) -> Sample:
    """Return a hold-out of 600 rows whose cells are 0 .. 599 in one column and their negatives in the other."""
    columns = {"a": np.arange(ROWS, dtype=float), "b": -np.arange(ROWS, dtype=float)}
    labels = np.zeros(ROWS) if task == "regression" else np.zeros(ROWS, dtype=np.int64)
    answers = labels if task == "regression" else np.tile([0.2, 0.7, 0.1], (ROWS, 1))
    classes = [] if task == "regression" else ["x", "y", "z"]
    return Sample(task, classes, labels, answers, columns, {"a": "float", "b": "float"})


def explain(columns: Mapping[str, Any], classes: tuple[str, ...] = ()) -> Explanation:
    """Contribute the cells of b, and twice those of a; the second of several classes ten times as much."""
    each = np.stack([2.0 * columns["a"], columns["b"]], axis=1)[:, None, :]
    found = each * np.array([1.0, 10.0, 100.0][: max(1, len(classes))])[:, None]
    return Explanation(("a", "b"), classes, "value", np.zeros(found.shape[1]), found, found.sum(axis=2))


def test_they_are_means_of_sizes_the_largest_first() -> None:
    """Signs do not cancel; at most 500 rows, the same for the same seed."""
    seen: list[Any] = []

    def ask(columns: Mapping[str, Any]) -> Explanation:
        seen.append(columns["a"])
        return explain(columns)

    found = contributions(sample("regression"), ask, lambda: True, seed=3)
    cells = np.concatenate(seen)
    assert len(cells) == len(set(cells.tolist())) == 500
    assert found["features"] == [
        {"feature": "a", "mean": pytest.approx(2 * cells.mean(), rel=1e-5)},
        {"feature": "b", "mean": pytest.approx(cells.mean(), rel=1e-5)},
    ]
    assert (found["unit"], found["rows"], found["features_total"], found["cut"]) == ("value", 500, 2, None)
    assert contributions(sample("regression"), explain, lambda: True, seed=3) == found
    assert contributions(sample("regression"), explain, lambda: True, seed=4) != found


def test_of_several_classes_it_is_the_predicted_one() -> None:
    """Here always the second."""
    one = contributions(sample("regression"), explain, lambda: True)["features"][0]["mean"]
    several = contributions(sample("multiclass"), lambda c: explain(c, ("x", "y", "z")), lambda: True)
    assert several["features"][0]["mean"] == pytest.approx(10 * one, rel=1e-5)


def test_when_time_is_up_fewer_rows_are_explained() -> None:
    """Fifty at least; and what went wrong is told in words."""
    found = contributions(sample("regression"), explain, lambda: False)
    assert (found["rows"], found["cut"]) == (50, "the time was up after 50 of 500 rows")
    assert len(found["features"]) == 2

    def refuse(_: Mapping[str, Any]) -> Explanation:
        raise ServiceError("invalid_rows", "3 row(s) have values that are too large")

    found = contributions(sample("regression"), refuse, lambda: True)
    assert (found["features"], found["cut"]) == ([], "3 row(s) have values that are too large")


def test_a_holdout_without_rows_has_none() -> None:
    """Nothing is asked."""
    empty = Sample("regression", [], np.zeros(0), np.zeros(0), {"a": np.zeros(0)}, {"a": "float"})
    assert contributions(empty, explain, lambda: True)["features"] == []
