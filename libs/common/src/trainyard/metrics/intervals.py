"""Metrics with a confidence interval: how well a version does, and how well that is known. Pure numpy.

- Area under the ROC curve: normal, with the variance of DeLong, DeLong and Clarke-Pearson (1988), from placements.
- Accuracy: the score interval of Wilson (1927).
- Log-loss, MAE and RMSE: normal around the mean of the rows' losses (of the squares, then the root).
- R², F1 and balanced accuracy: percentiles of the bootstrap (:mod:`trainyard.metrics.bootstrap`) of a fixed seed: equal
  rows, equal ends.

The area, F1 and the balanced accuracy need :data:`LEAST_OF_CLASS` rows of each class that they tell apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics import HIGHER_IS_BETTER, figures
from trainyard.metrics.bootstrap import resampled
from trainyard.metrics.statistics import statistic

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.metrics.answers import Answers

FloatArray = npt.NDArray[np.float64]
#: With fewer rows of either class the area under the curve has no interval: chance alone leaves the normal one too
#: often (of windows with 2 positives up to 7 in 100 are a false alarm at 99 %, with 10 about 1 in 1,000).
LEAST_OF_CLASS = 10
#: Metrics that need them.
OF_CLASSES = frozenset({"roc_auc", "f1", "balanced_accuracy"})


@dataclass(frozen=True)
class Interval:
    """A metric and the ends of its confidence interval."""

    value: float
    low: float
    high: float

    def better_end(self, metric: str) -> float:
        """Return the end at which the version does best."""
        return self.high if metric in HIGHER_IS_BETTER else self.low


def interval(
    metric: str, task: str, labels: npt.NDArray[Any], answers: Answers, *, confidence: float
) -> Interval | None:
    """Return the metric on these rows, or None where it has no value or no interval.

    Args:
        metric: one of ``trainyard.policy.METRICS`` for the task.
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes, -1 for a class that the version does not know (wrong for the accuracy and
            for F1, left out elsewhere); or values.
        answers: of the same rows.
        confidence: for example 0.99.
    """
    known = labels >= 0 if task != "regression" else np.ones(len(labels), dtype=np.bool_)
    if int((known if metric != "accuracy" else np.ones_like(known)).sum()) < 2:
        return None
    if metric in OF_CLASSES and rarest(labels, answers, task)[1] < LEAST_OF_CLASS:
        return None
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    with np.errstate(all="ignore"):
        found = _NORMAL[metric](labels, answers, z) if metric in _NORMAL else _drawn(metric, task, labels, answers, z)
    return found if found is not None and all(map(math.isfinite, (found.value, found.low, found.high))) else None


def rarest(labels: npt.NDArray[Any], answers: Answers, task: str) -> tuple[int, int]:
    """Return the class with the fewest rows and how many it has: of two classes either, of more those with a row."""
    counts = np.bincount(labels[labels >= 0], minlength=answers.outputs.shape[1])
    among = np.arange(len(counts)) if task == "binary" else np.flatnonzero(counts)
    rare = int(among[counts[among].argmin()])
    return rare, int(counts[rare])


def _roc_auc(labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval:
    known = labels >= 0
    positive, scores = labels[known] == 1, answers.outputs[known, 1]
    value = figures.roc_auc(positive, scores)
    placed = figures.placements(positive, scores)
    sides = (placed[positive], placed[~positive])
    error = math.sqrt(sum(float(side.var(ddof=1)) / len(side) for side in sides))
    return Interval(value, max(value - z * error, 0.0), min(value + z * error, 1.0))


def _accuracy(labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval:
    share, rows = figures.accuracy(labels, answers.decided), len(labels)
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Interval(share, max(middle - half, 0.0), min(middle + half, 1.0))


def _log_loss(labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval:
    known = labels >= 0
    of_truth = answers.outputs[known, labels[known]]
    return _of_mean(figures.surprise(of_truth), z)


def _mae(labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval:
    return _of_mean(np.abs(labels - answers.outputs), z)


def _rmse(labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval:
    squares = _of_mean((labels - answers.outputs) ** 2, z)
    return Interval(math.sqrt(squares.value), math.sqrt(squares.low), math.sqrt(squares.high))


def _of_mean(losses: FloatArray, z: float) -> Interval:
    value, error = float(losses.mean()), float(losses.std(ddof=1)) / math.sqrt(len(losses))
    return Interval(value, max(value - z * error, 0.0), value + z * error)


def _drawn(metric: str, task: str, labels: npt.NDArray[Any], answers: Answers, z: float) -> Interval | None:
    of = statistic(metric, task, labels, answers)
    value, drawn = of.exact(), resampled({metric: of}, seed=0)[metric]
    if not math.isfinite(value) or not len(drawn):
        return None
    tail = 1.0 - NormalDist().cdf(z)
    low, high = np.quantile(drawn, [tail, 1.0 - tail]).tolist()
    return Interval(value, low, high)


_NORMAL: dict[str, Callable[[npt.NDArray[Any], Answers, float], Interval]] = {
    "roc_auc": _roc_auc,
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "mae": _mae,
    "rmse": _rmse,
}
