"""Metrics with a confidence interval: how well a version does, and how well that is known. Pure numpy.

- Area under the ROC curve: normal, with the variance of DeLong, DeLong and Clarke-Pearson (1988), computed from ranks
  as by Sun and Xu (2014); from :data:`LEAST_OF_CLASS` rows of each class.
- Accuracy: the score interval of Wilson (1927).
- Log-loss, MAE and RMSE: normal around the mean of the rows' losses (of the squares, then the root).
- R²: percentiles of 400 bootstrap samples (Efron, 1979) of a fixed seed, so the same rows give the same answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = npt.NDArray[np.float64]
#: Metrics of which more is better; of all others less is.
HIGHER_IS_BETTER = frozenset({"roc_auc", "accuracy", "r2"})
#: With fewer rows of either class the area under the curve has no interval: chance alone leaves the normal one too
#: often (of windows with 2 positives up to 7 in 100 are a false alarm at 99 %, with 10 about 1 in 1,000).
LEAST_OF_CLASS = 10
_SAMPLES = 400
_CLIP = 1e-15


@dataclass(frozen=True)
class Interval:
    """A metric and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def better_end(self, metric: str) -> float:
        """Return the end at which the version does best."""
        return self.high if metric in HIGHER_IS_BETTER else self.low


def interval(metric: str, labels: npt.NDArray[Any], answers: FloatArray, *, confidence: float) -> Interval | None:
    """Return the metric on these rows, or None where it has no value or no interval.

    Args:
        metric: one of ``trainyard.policy.METRICS``.
        labels: shape (rows,): class indexes, -1 for a class that the version does not know (wrong for the accuracy,
            left out elsewhere); or values.
        answers: probabilities (rows, classes), or values (rows,).
        confidence: for example 0.99.
    """
    if metric in {"roc_auc", "log_loss"}:
        known = labels >= 0
        labels, answers = labels[known], answers[known]
    if len(labels) < 2:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(over="ignore", invalid="ignore"):
        found = _METRICS[metric](labels, answers, z)
    return found if found is not None and all(map(math.isfinite, (found.value, found.low, found.high))) else None


def _roc_auc(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval | None:
    positive, scores = labels == 1, answers[:, -1]
    m, n = int(positive.sum()), int((~positive).sum())
    if min(m, n) < LEAST_OF_CLASS:
        return None
    value = metrics.roc_auc(positive, scores)
    over, under = scores[positive], scores[~positive]
    # Each row's share of the other class that it is ranked against rightly: its placement.
    whole = _mid_ranks(scores)
    of_positives = (whole[positive] - _mid_ranks(over)) / n
    of_negatives = 1.0 - (whole[~positive] - _mid_ranks(under)) / m
    error = math.sqrt(float(of_positives.var(ddof=1)) / m + float(of_negatives.var(ddof=1)) / n)
    return Interval(value, max(value - z * error, 0.0), min(value + z * error, 1.0))


def _mid_ranks(values: FloatArray) -> FloatArray:
    """Return ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return ranks


def _accuracy(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval:
    rows = len(labels)
    share = metrics.accuracy(labels, answers.argmax(axis=1))
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def _log_loss(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval:
    of_truth = np.clip(answers[np.arange(len(labels)), labels], _CLIP, 1.0 - _CLIP)
    return _of_mean(-np.log(of_truth), z)


def _mae(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval:
    return _of_mean(np.abs(labels - answers), z)


def _rmse(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval:
    squares = _of_mean((labels - answers) ** 2, z)
    return Interval(math.sqrt(squares.value), math.sqrt(squares.low), math.sqrt(squares.high))


def _of_mean(losses: FloatArray, z: float) -> Interval:
    value, error = float(losses.mean()), float(losses.std(ddof=1)) / math.sqrt(len(losses))
    return Interval(value, max(value - z * error, 0.0), value + z * error)


def _r2(labels: npt.NDArray[Any], answers: FloatArray, z: float) -> Interval | None:
    if not float(labels.std()) > 0.0:
        return None
    generator = np.random.Generator(np.random.PCG64(0))
    found = []
    for _ in range(_SAMPLES):
        rows = generator.integers(0, len(labels), len(labels))
        if float(labels[rows].std()) > 0.0:
            found.append(metrics.r2(labels[rows], answers[rows]))
    tail = 1.0 - NormalDist().cdf(z)
    low, high = np.quantile(found, [tail, 1.0 - tail]).tolist()
    return Interval(metrics.r2(labels, answers), low, high)


_METRICS: dict[str, Callable[[npt.NDArray[Any], FloatArray, float], Interval | None]] = {
    "roc_auc": _roc_auc,
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
}
