"""Logged answers and labels of any content: those that fit are compared, the others left out, and nothing is raised."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.scheduler.test_quality_judged import NUMBERS, binary, judged

from trainyard_scheduler.domain.scoring import scores_of, uncomparable

#: Answers that fit neither a classifier with the classes "yes" and "no" nor a regression.
STRANGE: list[dict[str, Any]] = [
    {},
    {"prediction": None},
    {"prediction": ["yes"]},
    {"prediction": "yes"},
    {"prediction": True},
    {"prediction": math.nan},
    {"prediction": math.inf},
    {"prediction": 10**400},
    {"prediction": 10**5_000},
    {"prediction": "yes", "probabilities": {}},
    {"prediction": "yes", "probabilities": "yes"},
    {"prediction": "yes", "probabilities": [0.5, 0.5]},
    {"prediction": "yes", "probabilities": 0.5},
    {"prediction": "yes", "probabilities": False},
    {"probabilities": {"yes": 0.5, "no": 0.5}},
    {"prediction": None, "probabilities": {"yes": 0.5, "no": 0.5}},
    {"prediction": {}, "probabilities": {"yes": 0.5, "no": 0.5}},
    {"prediction": 10**5_000, "probabilities": {"yes": 0.5, "no": 0.5}},
    {"prediction": "maybe", "probabilities": {"yes": 0.5, "no": 0.5}},
    {"prediction": "a", "probabilities": {"a": 0.5, "b": 0.5}},
    {"prediction": "yes", "probabilities": {"yes": 1.0}},
    *(
        {"prediction": "yes", "probabilities": {"yes": share, "no": 0.5}}
        for share in (None, "0.5", True, math.nan, math.inf, -0.1, 1.1, 10**400, [0.5], {"yes": 0.5})
    ),
]
LABELS: list[Any] = [True, 0, -1, 10**400, 10**5_000, 0.5, 1.7e308, -1.7e308, math.nan, "", "yes", [], ["yes"], {}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["yes", "no"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["yes", "no", "a"]), inner),
    max_leaves=5,
)
OUTPUTS = st.dictionaries(st.sampled_from(["prediction", "probabilities"]), JSON)


@pytest.mark.parametrize("strange", STRANGE)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_an_answer_that_does_not_fit_is_left_out(strange: dict[str, Any], place: int) -> None:
    """Wherever it lies among answers that do, it changes no figure; on its own it gives none."""
    said, labels = [binary(0.8), binary(0.2), binary(0.4)], ["yes", "maybe", "no"]
    found = scores_of([*said[:place], strange, *said[place:]], [*labels[:place], "yes", *labels[place:]])
    assert found is not None
    assert (found.task, found.classes) == ("binary", ("no", "yes"))
    assert found.labels.tolist() == [1, -1, 0]
    assert found.answers.tolist() == [[1 - 0.8, 0.8], [1 - 0.2, 0.2], [1 - 0.4, 0.4]]
    assert found.said.tolist() == [1, 0, 0]
    assert uncomparable(found, 4) == 1
    assert uncomparable(scores_of([strange], ["maybe"]), 1) in {0, 1}


def test_what_most_answers_are_is_compared() -> None:
    """Numbers among classes, or classes among numbers and others, are left out where they are the fewer."""
    other = {"prediction": "a", "probabilities": {"a": 0.5, "b": 0.5}}
    numbers = scores_of([other, {"prediction": 1}, {"prediction": 2.0, "probabilities": None}], ["a", 1, 4])
    assert numbers is not None
    assert (numbers.task, numbers.labels.tolist(), numbers.answers.tolist()) == ("regression", [1.0, 4.0], [1.0, 2.0])
    classes = scores_of([binary(0.8), other, other, {"prediction": 1.0}], ["yes", "b", 7, 1.0])
    assert classes is not None
    assert (classes.classes, classes.labels.tolist(), classes.said.tolist()) == (("a", "b"), [1, -1], [0, 0])
    first = scores_of([binary(0.8), {"prediction": 1.0}], ["yes", 1.0])
    assert first is not None
    assert (first.task, uncomparable(first, 2)) == ("binary", 1)


def test_certain_answers_fit() -> None:
    """Shares of exactly nothing and of all are shares; whole numbers and truth values name classes."""
    sure = [{"prediction": n, "probabilities": {"0": 1 - n, "1": n}} for n in (0, 1)]
    found = scores_of(sure, [0, 1])
    assert found is not None
    assert (found.labels.tolist(), found.answers.tolist()) == ([0, 1], [[1.0, 0.0], [0.0, 1.0]])
    truth = scores_of([{"prediction": True, "probabilities": {"true": 0.9, "false": 0.1}}], [False])
    assert truth is not None
    assert (truth.labels.tolist(), truth.said.tolist(), truth.answers.tolist()) == ([0], [1], [[0.1, 0.9]])


def test_labels_of_any_type() -> None:
    """A label that names no class is wrong; beside a number only finite numbers count."""
    classes = scores_of([binary(0.8)] * len(LABELS), LABELS)
    assert classes is not None
    assert classes.labels.tolist() == [1 if label == "yes" else -1 for label in LABELS]
    numbers = scores_of([{"prediction": 1.0}] * len(LABELS), LABELS)
    assert numbers is not None
    assert numbers.labels.tolist() == [0.0, -1.0, 0.5, 1.7e308, -1.7e308]
    assert numbers.values() == {}
    assert numbers.intervals(confidence=0.9) == {}


def test_too_few_that_can_be_compared() -> None:
    """The least number of labels is asked of those that can be compared; with it the window is judged."""
    said = [1.0, 3.0] * 10
    few = judged([2.0] * 19 + ["x"], said, NUMBERS)
    assert (few.outcome, few.report["uncomparable"]) == ("not_enough_data", 1)
    assert few.summary == (
        "20 labels of 20 predictions, 1 of which cannot be compared with an answer; 20 that can be are needed"
    )
    enough = judged([2.0] * 20 + ["x"], [*said, 1.0], NUMBERS)
    assert (enough.outcome, enough.report["metric"], enough.report["uncomparable"]) == ("steady", "rmse", 1)
    assert judged([2.0] * 20, said, NUMBERS).report["uncomparable"] == 0


@given(st.lists(st.tuples(st.sampled_from(STRANGE) | OUTPUTS | st.just(binary(0.7)), JSON), max_size=12))
def test_nothing_raises(rows: list[tuple[dict[str, Any], Any]]) -> None:
    """Whatever was logged and given as label: there are figures, all finite, or there are none."""
    labels = [label for _, label in rows]
    found = scores_of([output for output, _ in rows], labels)
    assert 0 <= uncomparable(found, len(rows)) <= len(rows)
    if found is not None:
        assert np.isfinite(found.answers).all()
        assert all(map(math.isfinite, found.values().values()))
        assert set(found.intervals(confidence=0.99)) <= {"roc_auc", "log_loss", "accuracy", "rmse", "mae", "r2"}
    report = judged(labels, [output for output, _ in rows], NUMBERS, min_rows=2)
    assert report.outcome in {"steady", "alarm", "not_enough_data"}
