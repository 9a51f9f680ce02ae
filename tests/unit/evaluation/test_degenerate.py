"""Whatever a hold-out is like, there is a report of finite numbers: nothing raises, nothing warns."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.errors import ServiceError
from trainyard.evaluation import Sample, evaluate

TASKS = ("binary", "multiclass", "regression")
WIDTH = {"binary": 2, "multiclass": 4}


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Return hold-outs of one to thirty rows: any labels, answers and cells that can be."""
    task, rows = draw(st.sampled_from(TASKS)), draw(st.integers(1, 30))
    finite = st.floats(-1e300, 1e300)
    classes: Any = []
    if task == "regression":
        labels: Any = np.array(draw(st.lists(finite, min_size=rows, max_size=rows)))
        answers: Any = np.array(draw(st.lists(finite, min_size=rows, max_size=rows)))
    else:
        classes = [False, True] if task == "binary" else ["a", "b", "<b>", "a" * 500]
        index = st.integers(-1, WIDTH[task] - 1)
        labels = np.array(draw(st.lists(index, min_size=rows, max_size=rows)), dtype=np.int64)
        weight = st.lists(st.sampled_from([0.0, 1e-9, 0.5, 1.0]), min_size=WIDTH[task], max_size=WIDTH[task])
        raw = np.array(draw(st.lists(weight.filter(any), min_size=rows, max_size=rows)))
        answers = raw / raw.sum(axis=1, keepdims=True)
    number = st.one_of(st.just(np.nan), st.floats(allow_nan=False, allow_infinity=False))
    moment = st.one_of(st.just("NaT"), st.sampled_from(["0001-01-01", "2024-02-29", "9999-12-31"]))
    text = st.one_of(st.none(), st.text(max_size=3))
    columns = {
        "n": np.array(draw(st.lists(number, min_size=rows, max_size=rows))),
        "d": np.array(draw(st.lists(moment, min_size=rows, max_size=rows)), dtype="datetime64[us]"),
        "t": np.array([*draw(st.lists(text, min_size=rows, max_size=rows)), None], dtype=object)[:-1],
        "b": np.array(draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=rows, max_size=rows))),
    }
    kinds = {"n": "float", "d": "timestamp", "t": draw(st.sampled_from(["category", "text"])), "b": "bool"}
    return Sample(task, classes, labels, answers, columns, kinds, threshold=draw(st.sampled_from([0.0, 0.5, 1.0])))


def whole(sample: Sample) -> dict[str, Any]:
    """Return the report as it is stored and read again."""
    report = evaluate(sample, lambda columns: sample.answers, lambda: True)
    found: dict[str, Any] = json.loads(json.dumps(report, allow_nan=False))
    return found


@given(samples())
@settings(max_examples=60, deadline=None)
def test_any_holdout_has_a_report(sample: Sample) -> None:
    """It can be written as JSON, and intervals hold their value's side: low is never above high."""
    found = whole(sample)
    assert found["rows"] == sample.rows
    for of in found["metrics"].values():
        assert of["low"] is None or of["high"] is None or of["low"] <= of["high"]
    if sample.task != "regression":
        assert sum(map(sum, found["confusion"]["counts"])) == sample.rows


@pytest.mark.parametrize("label", [0, 1, -1])
def test_one_class_only(label: int) -> None:
    """Without both classes there is no area and no ROC curve; what can be counted is counted."""
    answers = np.tile([0.3, 0.7], (40, 1))
    columns = {"x": np.full(40, np.nan)}
    found = whole(Sample("binary", ["no", "yes"], np.full(40, label), answers, columns, {"x": "float"}))
    assert "roc_auc" not in found["metrics"]
    assert (found["curves"]["roc"], found["curves"]["pr"]) == ([], [])
    assert len(found["curves"]["calibration"]) == (0 if label == -1 else 1)
    assert found["metrics"]["accuracy"]["value"] == float(label == 1)
    assert found["slices"]["items"] == []
    assert found["confusion"]["truths"] == ["no", "yes", *["not known to the model"] * (label == -1)]


def test_no_rows_at_all() -> None:
    """An empty hold-out has an empty report."""
    sample = Sample(
        "binary", ["no", "yes"], np.zeros(0, dtype=np.int64), np.zeros((0, 2)), {"x": np.zeros(0)}, {"x": "int"}
    )
    found = whole(sample)
    assert (found["metrics"], found["curves"]["roc"], found["importance"]["features"]) == ({}, [], [])


def test_values_that_never_met_are_passed_over() -> None:
    """A column whose values, dealt anew, leave the model's range has no figure; the others have theirs."""
    columns = {"x": np.arange(30.0), "y": np.arange(30.0)}
    answers = np.zeros(30)
    sample = Sample("regression", [], np.arange(30.0), answers, columns, dict.fromkeys("xy", "float"))

    def ask(asked: Any) -> Any:
        if (asked["x"] != columns["x"]).any():
            raise ServiceError("invalid_rows", "values that are too large")
        return answers

    features = evaluate(sample, ask, lambda: True)["importance"]["features"]
    assert [one["feature"] for one in features] == ["y"]
