"""Gains on the same rows and their bootstrap intervals: exact where they can be, near the plain bootstrap elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from trainyard import metrics
from trainyard.gate.paired import compared, draws_for, interval_of, mean_gain, weight_blocks


def models(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and two models' probabilities (rows, 2); scores are rounded, so there are ties."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    answers = []
    for noise in (0.8, 1.0):
        p = 1 / (1 + np.exp(-np.round(truth + rng.normal(0, noise, rows), 1)))
        answers.append(np.column_stack([1 - p, p]))
    return labels, answers[0], answers[1]


def values(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return true values and two models' answers."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(5, 2, rows)
    return truth, truth + rng.normal(0, 1.0, rows), truth + rng.normal(0, 1.1, rows)


def metric_gain(metric: str, labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Return the gain of ``one`` over ``other`` by the metric itself."""
    if metric == "roc_auc":
        return metrics.roc_auc(labels, one[:, 1]) - metrics.roc_auc(labels, other[:, 1])
    if metric == "accuracy":
        return metrics.accuracy(labels, one.argmax(axis=1)) - metrics.accuracy(labels, other.argmax(axis=1))
    measure = getattr(metrics, metric)
    gain = measure(labels, one) - measure(labels, other)
    return gain if metric == "r2" else -gain


METRICS = {"roc_auc": models, "accuracy": models, "rmse": values, "mae": values, "r2": values}


@pytest.mark.parametrize("metric", METRICS)
def test_gain_is_the_difference_of_the_metrics(metric: str) -> None:
    """The gain is exactly by how much the challenger's metric is better."""
    labels, one, other = METRICS[metric](500)
    found = interval_of(metric, compared(metric, labels, one, other), confidence=0.975, seed=0)
    assert found is not None
    assert found.gain == pytest.approx(metric_gain(metric, labels, one, other), abs=1e-12)
    assert found.lower < found.gain < found.upper


@pytest.mark.parametrize("metric", METRICS)
def test_bounds_are_those_of_the_plain_bootstrap(metric: str) -> None:
    """Drawing whole rows and measuring anew gives the same bounds, within a tenth of their distance."""
    labels, one, other = METRICS[metric](400, seed=3)
    found = interval_of(metric, compared(metric, labels, one, other), confidence=0.975, seed=1)
    assert found is not None
    rng = np.random.default_rng(7)
    draws = [rng.integers(0, 400, 400) for _ in range(1_500)]
    plain = np.quantile([metric_gain(metric, labels[d], one[d], other[d]) for d in draws], [0.025, 0.975])
    assert [found.lower, found.upper] == pytest.approx(plain, abs=0.1 * (plain[1] - plain[0]))


def test_placements_average_to_the_area() -> None:
    """Over either class the placement values have the area under the curve as their mean, ties included."""
    labels, one, _ = models(300)
    placed = metrics.placements(labels, one[:, 1])
    area = metrics.roc_auc(labels, one[:, 1])
    assert [placed[labels == kind].mean() for kind in (0, 1)] == pytest.approx([area, area])


def test_deterministic_and_the_order_of_rows_does_not_matter() -> None:
    """The same rows in any order give the same bounds; another seed gives others."""
    labels, one, other = models(1_000)
    order = np.random.default_rng(0).permutation(1_000)
    first = interval_of("roc_auc", compared("roc_auc", labels, one, other), confidence=0.9, seed=4)
    shuffled = compared("roc_auc", labels[order], one[order], other[order])
    again = interval_of("roc_auc", shuffled, confidence=0.9, seed=4)
    third = interval_of("roc_auc", shuffled, confidence=0.9, seed=5)
    assert first is not None
    assert again is not None
    assert third is not None
    assert (again.lower, again.upper) == pytest.approx((first.lower, first.upper), abs=1e-9)
    assert third.lower != first.lower


def test_equal_models_gain_nothing() -> None:
    """Two models with the same answers differ by 0, surely."""
    for metric, make in METRICS.items():
        labels, one, _ = make(200)
        found = interval_of(metric, compared(metric, labels, one, one), confidence=0.975, seed=0)
        assert found is not None
        assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_no_value_no_interval() -> None:
    """One class, a constant label, one row or none: there is nothing to compare, and no warning either."""
    one, other = np.full((50, 2), 0.5), np.tile([0.4, 0.6], (50, 1))
    assert interval_of("roc_auc", compared("roc_auc", np.ones(50), one, other), confidence=0.9, seed=0) is None
    flat = compared("r2", np.full(50, 3.0), np.arange(50.0), np.zeros(50))
    assert interval_of("r2", flat, confidence=0.9, seed=0) is None
    for rows in (0, 1):
        assert interval_of("loss", mean_gain(np.ones(rows)), confidence=0.9, seed=0) is None
    with pytest.raises(ValueError, match="no metric"):
        compared("f1", np.ones(50), np.ones(50), np.ones(50))


def test_rows_of_unknown_classes_are_no_part_of_the_area() -> None:
    """A row of a class that the model does not know counts as wrong by accuracy and not at all by the area."""
    labels, one, other = models(200)
    more = [np.vstack([answers, [[0.5, 0.5]] * 20]) for answers in (one, other)]
    longer = np.append(labels, [-1] * 20)
    found = [
        interval_of("roc_auc", compared("roc_auc", *given), confidence=0.9, seed=0)
        for given in ((labels, one, other), (longer, *more))
    ]
    assert found[0] == found[1]
    assert compared("accuracy", longer, *more).columns[-20:, 0].tolist() == [0.0] * 20


def test_weights_have_mean_and_variance_one() -> None:
    """Weights are whole numbers that average 1 with variance 1, as drawing with replacement makes them."""
    weights = np.concatenate(list(weight_blocks(500, seed=0)))
    assert weights.shape == (draws_for(500), 500)
    assert np.array_equal(weights, np.round(weights))
    assert (weights.mean(), weights.var()) == (pytest.approx(1.0, abs=5e-3), pytest.approx(1.0, abs=2e-2))


def test_fewer_draws_of_more_rows() -> None:
    """The number of draws falls with the rows, within bounds."""
    assert [draws_for(rows) for rows in (0, 50_000, 100_000, 10**7)] == [2_000, 2_000, 1_000, 400]
