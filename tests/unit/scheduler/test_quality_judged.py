"""A window judged by its labels: by which metric and why, and what chance alone may not do."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainyard.contracts.monitoring import Reference
from trainyard.metrics.measures import measure
from trainyard.policy import MonitoringPolicy
from trainyard_scheduler.domain.monitoring import allowed_drop, judge_quality
from trainyard_scheduler.domain.scoring import scores_of

SETTINGS = MonitoringPolicy(min_rows=20)


def binary(p: float) -> dict[str, Any]:
    """Return an answer that says "yes" with this probability."""
    return {"prediction": "yes" if p > 0.5 else "no", "probabilities": {"yes": p, "no": 1 - p}}


def judged(truth: list[Any], said: list[Any], reference: dict[str, float], **changes: Any) -> Any:
    """Judge a window in which every prediction has a label."""
    outputs = [one if isinstance(one, dict) else {"prediction": one} for one in said]
    return judge_quality(
        scores_of(outputs, truth),
        predictions=changes.pop("predictions", len(said)),
        chosen=len(said),
        labels=len(truth),
        age=0.0,
        reference=Reference(None, reference, changes.pop("rows", None)),
        metric=changes.pop("metric", "auto"),
        settings=replace(SETTINGS, **changes),
    )


def test_quality_of_numbers() -> None:
    """For errors less is better, and a fifth of the hold-out's value is allowed."""
    truth = [float(n % 5) for n in range(100)]
    said = [one + (1.0 if n % 2 else -1.0) for n, one in enumerate(truth)]
    assert judged(truth, said, {"rmse": 1.0}).outcome == "steady"
    assert judged(truth, said, {"rmse": 0.84}).outcome == "steady"
    bad = judged(truth, said, {"rmse": 0.8})
    assert bad.outcome == "alarm"
    assert bad.summary.startswith("quality dropped by more than 0.16: rmse 1 (1 to 1), on the hold-out 0.8; 100 labels")
    assert "because" not in bad.report
    assert judged(truth, said, {"rmse": 0.8}, max_quality_drop=0.3).outcome == "steady"
    assert judged(truth, said, {"mae": 0.5}, metric="mae").outcome == "alarm"
    assert judged(["x"] * 100, said, {"rmse": 1.0}).summary == (
        "100 labels of 100 predictions; none of them can be compared with an answer"
    )
    assert judged([10**400] * 100, said, {"rmse": 1.0}).outcome == "not_enough_data"
    assert judged([True] * 100, said, {"rmse": 1.0}).outcome == "not_enough_data"
    assert judged([], [], {"roc_auc": 0.9}).outcome == "not_enough_data"


NO = ["no"] * 250
#: Answers half of which say "yes".
HALF = [binary(0.9), binary(0.1)] * 125
CLASSES = {"roc_auc": 0.95, "log_loss": 0.2, "accuracy": 0.93}
NUMBERS = {"rmse": 1.0, "mae": 0.8, "r2": 0.5}


@pytest.mark.parametrize(
    ("truth", "said", "metric", "reference", "outcome", "used", "why"),
    [
        (NO, HALF, "auto", CLASSES, "alarm", "log_loss", "all 250 labels are 'no': roc_auc is not defined"),
        (NO, [binary(0.1)] * 250, "auto", CLASSES, "steady", "log_loss", "all 250 labels are 'no'"),
        (NO, [binary(0.99)] * 250, "auto", CLASSES, "alarm", "log_loss", "all 250 labels are 'no'"),
        # Log-loss alone sees little where the answers are unsure: the accuracy is looked at as well.
        (NO, [binary(0.52), binary(0.3)] * 125, "auto", {**CLASSES, "log_loss": 0.6}, "alarm", "accuracy", "all 250"),
        (NO, HALF, "auto", {"roc_auc": 0.9, "accuracy": 0.9}, "alarm", "accuracy", "all 250 labels are 'no'"),
        (NO, HALF, "auto", {"roc_auc": 0.9}, "not_enough_data", None, "no other metric has a value here"),
        (["yes"] * 9 + NO, HALF[:9] + HALF, "auto", CLASSES, "alarm", "log_loss", "9 of 259 labels are 'yes': roc_auc"),
        (["yes"] * 10 + NO, HALF[:10] + HALF, "auto", CLASSES, "alarm", "roc_auc", None),
        (["no"] * 9 + ["yes"] * 99, HALF[:108], "auto", CLASSES, "alarm", "log_loss", "9 of 108 labels are 'no'"),
        (["x"] * 250, HALF, "auto", CLASSES, "alarm", "accuracy", "none of 250 labels is a class of the version"),
        (["x"] * 50 + ["no"], HALF[:51], "log_loss", CLASSES, "alarm", "accuracy", "1 label can be compared"),
        (["yes", "no"] * 125, HALF, "auto", {"log_loss": 0.2}, "steady", "log_loss", "no roc_auc on its hold-out"),
        (["no", "yes"] * 125, HALF, "auto", {"log_loss": 0.2}, "alarm", "log_loss", "no roc_auc on its hold-out"),
        (["yes", "no"] * 125, HALF, "rmse", CLASSES, "steady", "roc_auc", "rmse is no metric of a binary model"),
        ([3] * 50, [3.0, 9.0] * 25, "r2", NUMBERS, "alarm", "rmse", "all 50 labels are 3: r2 is not defined"),
        ([3] * 50, [3.1] * 50, "r2", NUMBERS, "steady", "rmse", "all 50 labels are 3"),
        ([1e80, 1.0] * 25, [1.0] * 50, "auto", NUMBERS, "alarm", "mae", "rmse of these labels has no finite interval"),
        ([7.0] + ["x"] * 49, [9.0] * 50, "auto", NUMBERS, "not_enough_data", None, "1 label can be compared"),
    ],
)
def test_by_which_metric(
    truth: list[Any], said: list[Any], metric: str, reference: dict[str, float], outcome: str, used: str, why: str
) -> None:
    """Where the policy's metric has no value the report says why, and by which other metric of the task it judges."""
    found = judged(truth, said, reference, metric=metric)
    assert (found.outcome, found.report.get("metric")) == (outcome, used)
    assert (why is None) is ("because" not in found.report)
    if why is not None:
        assert why in found.report["because"]
        assert found.report["because"] in found.summary
        assert (f", so {used} is judged" in found.summary) is (used is not None)


def test_the_figures_of_another_metric() -> None:
    """Another metric is judged by its own default, not by the policy's figure, and more surely the more there are."""
    found = judged(NO, HALF, CLASSES, max_quality_drop=100.0)
    assert found.outcome == "alarm"
    assert (found.report["max_quality_drop"], found.report["confidence"]) == (pytest.approx(0.04), 0.995)
    assert judged(NO, HALF, {"accuracy": 0.9}).report["confidence"] == 0.99
    sure = judged(NO, [binary(0.9)] * 250, CLASSES, rows=40).report
    assert (sure["lost"], sure["reference_rows"]) == (pytest.approx(math.log(10) - 0.2), 40)
    assert judged(NO, HALF, {"roc_auc": 0.9}).summary == (
        "250 labels of 250 predictions; all 250 labels are 'no': roc_auc is not defined,"
        " and no other metric has a value here and on the hold-out"
    )


def test_the_holdout_is_unsure_too() -> None:
    """The fewer rows the hold-out has, the more a window must lose; figures that nobody noted count as certain."""
    rng = np.random.default_rng(5)
    p = rng.uniform(0.05, 0.95, 400)
    truth = ["yes" if one else "no" for one in rng.random(400) < p]
    said = [binary(float(one)) for one in p]
    value = judged(truth, said, {"log_loss": 1.0}, metric="log_loss").report
    half = value["value"] - value["low"]
    reference = {"log_loss": value["value"] - 0.02 - 1.2 * half}
    limit = {"metric": "log_loss", "max_quality_drop": 0.02}
    assert judged(truth, said, reference, **limit).outcome == "alarm"
    assert judged(truth, said, reference, rows=4_000, **limit).outcome == "alarm"
    assert judged(truth, said, reference, rows=400, **limit).outcome == "steady"
    assert judged(truth, said, reference, rows=0, **limit).outcome == "alarm"


@pytest.mark.parametrize("share", [0.003, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("rows", [200, 1_000])
def test_a_rare_class_raises_no_alarm_by_chance(share: float, rows: int) -> None:
    """Of 200 windows from where the hold-out was drawn at most two are an alarm, however rare the class."""
    rng = np.random.default_rng(int(share * 1e4) + rows)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        odds = share / (1 - share) * np.exp(rng.normal(size=count) * 1.5 - 1.125)
        p = odds / (1 + odds)
        return (rng.random(count) < p).astype(int), np.column_stack([1 - p, p])

    truth, answers = drawn(2_000)
    metrics = measure("binary", truth, answers)
    outcomes = []
    for _ in range(200):
        truth, answers = drawn(rows)
        words = ["yes" if one else "no" for one in truth]
        outcomes.append(judged(words, [binary(p) for p in answers[:, 1]], metrics, rows=2_000).outcome)
    assert outcomes.count("alarm") <= 2


def test_three_classes() -> None:
    """Three classes have a log-loss first, and the answer that was given makes the accuracy."""
    three = [{"prediction": "a", "probabilities": {"a": 0.3, "b": 0.5, "c": 0.2}}] * 50
    assert judged(["a", "b"] * 25, three, {"log_loss": 0.5}).outcome == "alarm"
    accurate = judged(["a"] * 50, three, {"accuracy": 1.0}, metric="accuracy")
    assert (accurate.outcome, accurate.report["value"]) == ("steady", 1.0)
    decided = {"accuracy": 1.0, "f1": 1.0, "balanced_accuracy": 1.0}
    assert accurate.report["metrics"] == {"log_loss": pytest.approx(-math.log(0.3)), **decided}
    assert "roc_auc" not in judged(["a", "b"] * 25, three, {"log_loss": 0.5}).report["metrics"]


@pytest.mark.parametrize(("metric", "allowed"), [("roc_auc", 0.05), ("accuracy", 0.05), ("r2", 0.05), ("rmse", 2.0)])
def test_allowed_drop(metric: str, allowed: float) -> None:
    """Without a figure the loss that is allowed depends on the metric's unit."""
    assert allowed_drop(metric, 10.0, None) == allowed
    assert allowed_drop(metric, -10.0, None) == allowed
    assert allowed_drop(metric, 10.0, 0.0) == 0.0


def test_metrics_of_numbers() -> None:
    """Errors of numbers; a label that is none, or whose square leaves the float range, is left out."""
    said = [{"prediction": 1.0}] * 4
    found = scores_of(said, [2.0, 4, "x", True])
    assert found is not None
    assert found.values() == {"rmse": pytest.approx(5**0.5), "mae": 2.0, "r2": -4.0}
    assert found.intervals(confidence=0.9)["mae"].value == 2.0
    assert scores_of(said, ["x", None, False, [1]]) is None
    assert scores_of([], []) is None
    assert found.said.tolist() == []
    assert scores_of(said[:1], [sys.float_info.max]) is not None
    with pytest.raises(ValueError, match="zip"):
        scores_of(said, [1.0])
    huge = scores_of(said[:1], [1e300])
    assert huge is not None
    assert huge.values() == {"mae": 1e300}
    assert huge.intervals(confidence=0.9) == {}


@pytest.mark.parametrize(
    ("labels", "metric", "why"),
    [
        ([-3.0, -3.0], "r2", "all 2 labels are -3: r2 is not defined"),
        ([-3.0], "r2", "1 label can be compared with an answer: r2 needs 2"),
        ([-3.0, -3.0], "mae", "mae of these labels has no finite interval"),
        ([-3.0, -2.0], "r2", "r2 of these labels has no finite interval"),
        (["no", "no"], "roc_auc", "all 2 labels are 'no': roc_auc is not defined"),
        (["yes"], "roc_auc", "0 of 1 labels are 'no': roc_auc needs 10 of each"),
        (["yes", "no", "yes", "?"], "roc_auc", "1 of 3 labels are 'no': roc_auc needs 10 of each"),
        (["?", "?"], "log_loss", "none of 2 labels is a class of the version: log_loss is not defined"),
        (["yes", "?"], "log_loss", "1 label can be compared with an answer: log_loss needs 2"),
        (["yes"] * 2, "log_loss", "log_loss of these labels has no finite interval"),
    ],
)
def test_why_a_metric_has_no_interval(labels: list[Any], metric: str, why: str) -> None:
    """The words name what is there and what it would take."""
    said = [{"prediction": 1.0} if isinstance(label, float) else binary(0.8) for label in labels]
    found = scores_of(said, labels)
    assert found is not None
    assert found.why_not(metric) == why


def test_metrics_of_classes() -> None:
    """Labels of no class of the version are wrong in what counts answers and left out elsewhere."""
    found = scores_of([binary(0.8), binary(0.2), binary(0.4)], ["yes", "maybe", "no"])
    assert found is not None
    assert (found.classes, found.labels.tolist(), found.said.tolist()) == (("no", "yes"), [1, -1, 0], [1, 0, 0])
    expected = -(math.log(0.8) + math.log(0.6)) / 2
    decided = {"accuracy": pytest.approx(2 / 3), "f1": 1.0, "balanced_accuracy": 1.0}
    assert found.values() == {"roc_auc": 1.0, "log_loss": pytest.approx(expected), **decided}
    strange = scores_of([binary(0.8)], ["maybe"])
    assert strange is not None
    assert strange.values() == {"accuracy": 0.0, "f1": 0.0}
