"""Figures and gains with their bootstrap: exact where they can be, near the plain bootstrap elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trainyard import metrics
from trainyard.gate.paired import Interval, interval_of
from trainyard.metrics.answers import Answers
from trainyard.metrics.bootstrap import MOST_ROWS, draws_for, resampled, weight_blocks
from trainyard.metrics.measures import row_losses
from trainyard.metrics.statistics import REPORTED, gain, mean_of, statistic

Models = tuple[str, np.ndarray, Answers, Answers]


def models(rows: int, seed: int = 0) -> Models:
    """Return task, labels and two models of two classes that decide at thresholds of their own; there are ties."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=rows)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    answers = []
    for noise, threshold in ((0.8, 0.5), (1.0, 0.4)):
        p = 1 / (1 + np.exp(-np.round(truth + rng.normal(0, noise, rows), 1)))
        answers.append(Answers.of("binary", np.column_stack([1 - p, p]), threshold))
    return "binary", labels, answers[0], answers[1]


def many(rows: int, seed: int = 0) -> Models:
    """Return the same of four classes, one of them rare."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(rows, 4)) * 1.5 - np.array([0, 0, 0, 2])
    labels = np.argmax(truth + rng.gumbel(size=(rows, 4)), axis=1)
    answers = []
    for noise in (0.5, 1.0):
        p = np.exp(truth + rng.normal(0, noise, (rows, 4)))
        answers.append(Answers.of("multiclass", p / p.sum(axis=1, keepdims=True)))
    return "multiclass", labels, answers[0], answers[1]


def values(rows: int, seed: int = 0) -> Models:
    """Return task, true values and two models' answers."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(5, 2, rows)
    told = [Answers.of("regression", truth + rng.normal(0, noise, rows)) for noise in (1.0, 1.1)]
    return "regression", truth, told[0], told[1]


def figure(metric: str, task: str, labels: np.ndarray, of: Answers) -> float:
    """Return the metric of some rows by its own function."""
    if metric == "brier":
        return float(np.mean((of.outputs[:, 1] - labels) ** 2))
    if metric == "loss":
        return float(row_losses(task, labels, of.outputs).mean())
    if metric == "roc_auc":
        return metrics.roc_auc(labels == 1, of.outputs[:, 1])
    if metric == "accuracy":
        return metrics.accuracy(labels, of.decided)
    if metric in metrics.OF_DECISIONS:
        score: float = getattr(metrics, metric)(labels, of.decided, classes=of.outputs.shape[1])
        return score
    value: float = getattr(metrics, metric)(labels, of.outputs)
    return value


def metric_gain(metric: str, task: str, labels: np.ndarray, one: Answers, other: Answers) -> float:
    """Return the gain of ``one`` over ``other`` by the metric itself."""
    apart = figure(metric, task, labels, one) - figure(metric, task, labels, other)
    return apart if metric in metrics.HIGHER_IS_BETTER else -apart


def taken(of: Answers, rows: np.ndarray) -> Answers:
    """Return some of the answers."""
    return Answers(of.outputs[rows], of.decided[rows])


def interval(metric: str, given: Models, *, confidence: float = 0.975, seed: int = 0) -> Interval:
    """Return an interval that must be there."""
    found = interval_of(metric, gain(metric, *given), confidence=confidence, seed=seed)
    assert found is not None
    return found


GAINS: list[tuple[str, Any]] = [
    *((metric, models) for metric in ("loss", "roc_auc", "accuracy", "f1", "balanced_accuracy")),
    *((metric, many) for metric in ("loss", "accuracy", "f1", "balanced_accuracy")),
    *((metric, values) for metric in ("loss", "rmse", "mae", "r2")),
]
SINGLES = [(metric, make) for make in (models, many, values) for metric in REPORTED[make(5)[0]]]


@pytest.mark.parametrize(("metric", "make"), GAINS)
def test_gain_is_the_difference_of_the_metrics(metric: str, make: Any) -> None:
    """The gain is exactly by how much the challenger's metric is better."""
    given = make(500)
    found = interval(metric, given)
    assert found.gain == pytest.approx(metric_gain(metric, *given), abs=1e-12)
    assert found.lower < found.gain < found.upper


@pytest.mark.parametrize(("metric", "make"), GAINS)
def test_bounds_are_those_of_the_plain_bootstrap(metric: str, make: Any) -> None:
    """Drawing whole rows and measuring anew gives the same bounds, within a sixth of their distance."""
    task, labels, one, other = given = make(400, seed=3)
    found = interval(metric, given, seed=1)
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(800):
        rows = rng.integers(0, 400, 400)
        drawn.append(metric_gain(metric, task, labels[rows], taken(one, rows), taken(other, rows)))
    plain = np.quantile(drawn, [0.025, 0.975])
    assert [found.lower, found.upper] == pytest.approx(plain, abs=0.17 * (plain[1] - plain[0]))


@pytest.mark.parametrize(
    ("metric", "make"), [(m, make) for make in (models, many, values) for m in REPORTED[make(5)[0]]]
)
def test_a_single_model_s_figure_and_its_spread(metric: str, make: Any) -> None:
    """The statistic of one model is its metric, and its draws vary as the metric of whole rows drawn does."""
    task, labels, one, _ = make(400, seed=5)
    of = statistic(metric, task, labels, one)
    assert of.exact() == pytest.approx(figure(metric, task, labels, one), abs=1e-12)
    drawn = resampled({metric: of}, seed=0)[metric]
    rng = np.random.default_rng(7)
    plain = []
    for _ in range(300):
        rows = rng.integers(0, 400, 400)
        plain.append(figure(metric, task, labels[rows], taken(one, rows)))
    assert drawn.std() == pytest.approx(np.std(plain), rel=0.15)
    assert drawn.mean() == pytest.approx(np.mean(plain), abs=0.2 * np.std(plain))


def test_placements_average_to_the_area() -> None:
    """Over either class the placement values have the area under the curve as their mean, ties included."""
    _, labels, one, _ = models(300)
    placed = metrics.placements(labels, one.outputs[:, 1])
    area = metrics.roc_auc(labels, one.outputs[:, 1])
    assert [placed[labels == kind].mean() for kind in (0, 1)] == pytest.approx([area, area])


@pytest.mark.parametrize("metric", ["roc_auc", "f1"])
def test_deterministic_and_the_order_of_rows_does_not_matter(metric: str) -> None:
    """The same rows in any order give the same bounds; another seed gives others."""
    task, labels, one, other = given = models(1_000)
    order = np.random.default_rng(0).permutation(1_000)
    first = interval(metric, given, seed=4)
    shuffled = (task, labels[order], taken(one, order), taken(other, order))
    again, third = (interval(metric, shuffled, seed=seed) for seed in (4, 5))
    assert (again.lower, again.upper) == pytest.approx((first.lower, first.upper), abs=1e-9)
    assert third.lower != first.lower


@pytest.mark.parametrize(("metric", "make"), GAINS)
def test_equal_models_gain_nothing(metric: str, make: Any) -> None:
    """Two models with the same answers differ by 0, surely."""
    task, labels, one, _ = make(200)
    found = interval(metric, (task, labels, one, one))
    assert (found.gain, found.lower, found.upper) == (0.0, 0.0, 0.0)


def test_no_value_no_interval() -> None:
    """One class, a constant label, one row or none: there is nothing to compare, and no warning either."""
    one, other = (Answers.of("binary", np.tile(p, (50, 1))) for p in ([0.5, 0.5], [0.4, 0.6]))
    ones, nones = np.ones(50, dtype=np.int64), np.full(50, -1)
    assert interval_of("roc_auc", gain("roc_auc", "binary", ones, one, other), confidence=0.9, seed=0) is None
    for metric in ("roc_auc", "balanced_accuracy"):
        assert interval_of(metric, gain(metric, "binary", nones, one, other), confidence=0.9, seed=0) is None
    never = Answers.of("binary", np.tile([0.9, 0.1], (50, 1)))
    assert interval_of("f1", gain("f1", "binary", ones - 1, never, never), confidence=0.9, seed=0) is None
    flat = [Answers.of("regression", told) for told in (np.arange(50.0), np.zeros(50))]
    assert interval_of("r2", gain("r2", "regression", np.full(50, 3.0), *flat), confidence=0.9, seed=0) is None
    for rows in (0, 1):
        assert interval_of("loss", mean_of(np.ones(rows)), confidence=0.9, seed=0) is None
    assert resampled({}, seed=0) == {}


def test_rows_of_unknown_classes() -> None:
    """They are wrong by accuracy, answered in vain by F1, and no part of the area or the balanced accuracy."""
    task, labels, one, other = models(200)
    more = [Answers.of("binary", np.vstack([of.outputs, [[0.4, 0.6]] * 20])) for of in (one, other)]
    longer = np.append(labels, [-1] * 20)
    shorter = [taken(of, np.arange(200)) for of in more]
    for metric in ("roc_auc", "balanced_accuracy"):
        with_them, without = interval(metric, (task, longer, *more)), interval(metric, (task, labels, *shorter))
        assert with_them.gain == pytest.approx(without.gain, abs=1e-12)
        assert with_them.upper - with_them.lower == pytest.approx(without.upper - without.lower, rel=0.15)
    for metric in ("accuracy", "f1"):
        assert statistic(metric, task, longer, more[0]).exact() < statistic(metric, task, labels, shorter[0]).exact()


def test_more_rows_than_are_drawn_from() -> None:
    """Above the bound the spread is that of all rows, though fewer are drawn, around the figure of all."""
    rows = 4 * MOST_ROWS
    values = np.random.default_rng(0).normal(size=rows)
    drawn = resampled({"mean": mean_of(values)}, seed=0)["mean"]
    assert drawn.std() == pytest.approx(rows**-0.5, rel=0.12)
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.2 * rows**-0.5)


def test_figures_far_from_one() -> None:
    """Squares near the end of the floats, and tiny ones, have intervals as others do."""
    for scale in (1e-100, 1e100):
        task, labels, one, other = values(100)
        far = (task, labels * scale, *(Answers(of.outputs * scale, of.decided) for of in (one, other)))
        found, near = interval("rmse", far), interval("rmse", (task, labels, one, other))
        assert (found.lower, found.upper) == pytest.approx((near.lower * scale, near.upper * scale), rel=1e-3)


def test_weights_have_mean_and_variance_one() -> None:
    """Weights are whole numbers that average 1 with variance 1, as drawing with replacement makes them."""
    weights = np.concatenate(list(weight_blocks(500, seed=0)))
    assert weights.shape == (draws_for(500), 500)
    assert np.array_equal(weights, np.round(weights))
    assert (weights.mean(), weights.var()) == (pytest.approx(1.0, abs=5e-3), pytest.approx(1.0, abs=2e-2))


def test_fewer_draws_of_more_rows() -> None:
    """The number of draws falls with the rows, within bounds."""
    assert [draws_for(rows) for rows in (0, 50_000, 100_000, 10**7)] == [2_000, 2_000, 1_000, 400]
