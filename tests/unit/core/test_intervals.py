"""Confidence intervals of metrics, against scipy, the textbook's formula and simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import r2_score, roc_auc_score

from trainyard.metrics.answers import Answers
from trainyard.metrics.intervals import LEAST_OF_CLASS, Interval, interval

RNG = np.random.default_rng(5)
Z = norm.isf(0.005)


def two_classes(rows: int, rng: np.random.Generator = RNG) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return labels and probabilities (rows, 2) that know something, with ties."""
    labels = (rng.random(rows) < 0.4).astype(np.int64)
    p = np.round(1 / (1 + np.exp(-rng.normal(labels - 0.5, 1.0))), 2).clip(0.01, 0.99)
    return labels, np.column_stack([1 - p, p])


def asked(metric: str, labels: Any, answers: Any, confidence: float = 0.99) -> Interval | None:
    """Return the interval of a model that decides for the likeliest class."""
    outputs = np.asarray(answers, dtype=float)
    task = "regression" if outputs.ndim == 1 else "binary"
    return interval(metric, task, np.asarray(labels), Answers.of(task, outputs), confidence=confidence)


def known(metric: str, labels: Any, answers: Any, confidence: float = 0.99) -> Interval:
    """Return an interval that must be there."""
    found = asked(metric, labels, answers, confidence)
    assert found is not None
    return found


def test_auc_is_delongs() -> None:
    """The variance is that of the placements: each positive against all negatives, and the other way round."""
    labels, answers = two_classes(300)
    over, under = answers[labels == 1, 1], answers[labels == 0, 1]
    wins = (over[:, None] > under) + 0.5 * (over[:, None] == under)
    error = math.sqrt(wins.mean(axis=1).var(ddof=1) / len(over) + wins.mean(axis=0).var(ddof=1) / len(under))
    found = known("roc_auc", labels, answers)
    assert found.value == pytest.approx(roc_auc_score(labels, answers[:, 1]))
    assert (found.low, found.high) == pytest.approx((found.value - Z * error, found.value + Z * error))


def test_accuracy_is_wilsons() -> None:
    """The interval of the accuracy is scipy's score interval, also at 0 and 1."""
    for right in (0, 3, 40, 50):
        labels = np.array([1] * right + [0] * (50 - right))
        found = known("accuracy", labels, np.tile([0.1, 0.9], (50, 1)))
        theirs = binomtest(right, 50).proportion_ci(0.99, method="wilson")
        assert (found.value, found.low, found.high) == pytest.approx((right / 50, theirs.low, theirs.high), abs=1e-12)


def test_losses_are_means() -> None:
    """Log-loss, MAE and squared error are means of rows with a normal interval; a root keeps its order."""
    labels, answers = two_classes(400)
    losses = -np.log(answers[np.arange(400), labels])
    found = known("log_loss", labels, answers)
    error = losses.std(ddof=1) / 20
    assert (found.value, found.low, found.high) == pytest.approx(
        (losses.mean(), losses.mean() - Z * error, losses.mean() + Z * error)
    )
    truth = RNG.normal(size=400)
    said = truth + RNG.normal(size=400)
    away = np.abs(truth - said)
    assert known("mae", truth, said).value == pytest.approx(away.mean())
    rmse = known("rmse", truth, said)
    squares = away**2
    assert (rmse.value, rmse.low) == pytest.approx(
        (math.sqrt(squares.mean()), math.sqrt(squares.mean() - Z * squares.std(ddof=1) / 20))
    )
    assert rmse.low < rmse.value < rmse.high


def test_r2_is_the_same_every_time() -> None:
    """The bootstrap has a fixed seed: equal rows, equal ends, around scikit-learn's value."""
    truth = RNG.normal(size=200)
    said = truth + RNG.normal(size=200) / 2
    first = known("r2", truth, said)
    assert first == known("r2", truth, said)
    assert first.value == pytest.approx(r2_score(truth, said))
    assert first.low < first.value < first.high
    assert known("r2", truth, said, 0.5).high < first.high


#: Their intervals are drawn, which takes longer.
OF_DRAWS = ("f1", "balanced_accuracy")


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "log_loss", "f1", "balanced_accuracy"])
def test_coverage(metric: str) -> None:
    """Of many samples' 90 % intervals about 90 % hold the value of a very large sample."""
    truth = known(metric, *two_classes(50_000, np.random.default_rng(1))).value
    rng = np.random.default_rng(2)
    count = 100 if metric in OF_DRAWS else 200
    held = [known(metric, *two_classes(300, rng), 0.9) for _ in range(count)]
    assert 0.83 <= np.mean([one.low <= truth <= one.high for one in held]) <= 0.97


@pytest.mark.parametrize(
    ("metric", "labels", "answers"),
    [
        ("roc_auc", [1, 1, 1], [[0.5, 0.5]] * 3),
        ("roc_auc", [1, 0, 0], [[0.5, 0.5]] * 3),
        ("roc_auc", [1, 1, 0], [[0.5, 0.5]] * 3),
        ("roc_auc", [-1, -1, -1], [[0.5, 0.5]] * 3),
        ("log_loss", [-1, 1], [[0.5, 0.5]] * 2),
        ("f1", [-1, -1, -1], [[0.5, 0.5]] * 3),
        ("balanced_accuracy", [0] * 30, [[0.5, 0.5]] * 30),
        ("accuracy", [1], [[0.5, 0.5]]),
        ("accuracy", [], np.empty((0, 2))),
        ("r2", [1.0, 1.0], [1.0, 2.0]),
        ("rmse", [1e300, 1.0], [1.0, 1.0]),
    ],
)
def test_no_value(metric: str, labels: list[Any], answers: Any) -> None:
    """Too few rows, one class, a constant label or an overflow: there is no interval, and no error."""
    assert asked(metric, labels, answers) is None


def test_r2_of_rare_values() -> None:
    """Bootstrap samples without variance are left out; when no sample has any there is no interval."""
    truth = np.array([0.0] * 30 + [1.0])
    assert known("r2", truth, truth * 0.5).value < 1
    tiny = np.array([0.0, 5e-324])
    assert asked("r2", tiny, tiny) is None


def test_few_of_a_class() -> None:
    """What compares classes needs some rows of each: a handful that are all wrong by chance would be a sure loss."""
    labels = np.array([0] * 100 + [1] * LEAST_OF_CLASS)
    answers = np.tile([0.6, 0.4], (len(labels), 1))
    for metric in ("roc_auc", "f1", "balanced_accuracy"):
        assert asked(metric, labels, answers) is not None
        assert asked(metric, labels[:-1], answers[:-1]) is None


def test_unknown_classes() -> None:
    """A label that is none of the classes is wrong for the accuracy and left out of the other metrics."""
    labels, answers = np.array([0, 1, 0, 1, -1]), np.tile([0.9, 0.1], (5, 1))
    assert known("accuracy", labels, answers).value == pytest.approx(0.4)
    assert known("log_loss", labels, answers).value == known("log_loss", labels[:4], answers[:4]).value


def test_the_better_end() -> None:
    """More is better for shares, less for losses."""
    one = Interval(0.5, 0.4, 0.6)
    assert [one.better_end(name) for name in ("roc_auc", "accuracy", "f1", "balanced_accuracy", "r2")] == [0.6] * 5
    assert [one.better_end(name) for name in ("log_loss", "rmse", "mae")] == [0.4] * 3
