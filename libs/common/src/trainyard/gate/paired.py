"""The gain of one model over another on the same rows, with a bootstrap interval. Pure numpy.

Rows are drawn with replacement by giving each a random weight (Efron 1979; Poisson weights: Hanley and MacGibbon 2006),
the same one for both models, so what makes a row hard for both cancels. Every metric here is a smooth function of a few
sums over rows, so a draw costs one product of weights and columns. The area under the ROC curve becomes such sums by
its placement values (DeLong, DeLong and Clarke-Pearson 1988): one sort for each model, whatever the number of draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FloatArray = npt.NDArray[np.float64]
Weights = npt.NDArray[np.float32]
#: How often rows are drawn: as often as about a second allows, within these bounds.
MOST_DRAWS, LEAST_DRAWS = 2_000, 400
_CELLS = 100_000_000
_BLOCK_CELLS = 250_000
#: The Poisson distribution of mean 1 in 256ths, with mean exactly 1: a random byte is a random weight.
_POISSON = np.repeat(np.arange(6, dtype=np.float32), [95, 93, 47, 16, 4, 1])
#: Two weights for two bytes at once, seen as one wide number: half as many look-ups.
_PAIRS = np.stack([np.tile(_POISSON, 256), np.repeat(_POISSON, 256)], axis=1).view(np.float64).ravel()


@dataclass(frozen=True)
class Interval:
    """A gain with its bounds, in the metric's own unit; more is better for the challenger, whatever the metric.

    ``lower`` is exceeded with ``confidence`` (one-sided), and so is the gain by ``upper``.
    """

    metric: str
    gain: float
    lower: float
    upper: float
    confidence: float
    draws: int


@dataclass(frozen=True, eq=False)
class Sums:
    """A gain as a function of sums: ``columns`` (rows, k), and from sums (draws, k) to gains (draws,)."""

    columns: FloatArray
    gain: Callable[[FloatArray], FloatArray]


def interval_of(metric: str, sums: Sums, *, confidence: float, seed: int) -> Interval | None:
    """Return the gain and its percentile interval; None where the rows have no such gain (or are fewer than two).

    Deterministic, and the rows' order does not matter. Draws in which the metric has no value, such as those of one
    class, do not count.

    Args:
        metric: for the words.
        sums: what is compared.
        confidence: one-sided, from 0.5 to below 1.
        seed: of the weights.
    """
    rows = len(sums.columns)
    if rows < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = float(sums.gain(sums.columns.sum(axis=0, keepdims=True))[0])
        if not np.isfinite(gain):
            return None
        columns = sums.columns[np.lexsort(sums.columns.T)].astype(np.float32)
        drawn = np.concatenate([sums.gain((w @ columns).astype(float)) for w in weight_blocks(rows, seed)])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    lower, upper = np.quantile(drawn, [1.0 - confidence, confidence])
    return Interval(metric, gain, float(lower), float(upper), confidence, len(drawn))


def draws_for(rows: int) -> int:
    """Return how often so many rows are drawn."""
    return int(np.clip(_CELLS // max(rows, 1), LEAST_DRAWS, MOST_DRAWS))


def weight_blocks(rows: int, seed: int) -> Iterator[Weights]:
    """Yield the weights of all draws in blocks (draws, rows)."""
    generator, left = np.random.default_rng(seed), draws_for(rows)
    size = max(1, _BLOCK_CELLS // rows)
    while left > 0:
        draws = min(size, left)
        cells = draws * rows
        drawn = np.frombuffer(generator.bytes(cells + cells % 2), dtype="<u2")
        yield _PAIRS.take(drawn, mode="clip").view(np.float32)[:cells].reshape(draws, rows)
        left -= draws


def mean_gain(gains: FloatArray) -> Sums:
    """Return the mean of each row's gain, shape (rows,), as sums."""
    return Sums(np.column_stack([gains, np.ones_like(gains)]), lambda s: s[:, 0] / s[:, 1])


def compared(metric: str, labels: npt.NDArray[Any], challenger: FloatArray, champion: FloatArray) -> Sums:
    """Return the gain in a metric that is no mean of row losses, or is one of its own, as sums.

    Args:
        metric: roc_auc, accuracy, rmse, mae or r2.
        labels: shape (rows,): class indexes, -1 for one that the challenger does not know; or values.
        challenger, champion: probabilities (rows, classes), or values (rows,).
    """
    if metric == "roc_auc":
        return _roc_auc(labels, challenger, champion)
    if metric == "accuracy":
        right = [(answers.argmax(axis=1) == labels).astype(float) for answers in (challenger, champion)]
        return mean_gain(right[0] - right[1])
    if metric == "mae":
        return mean_gain(np.abs(champion - labels) - np.abs(challenger - labels))
    squared, gains = (challenger - labels) ** 2, (champion - labels) ** 2 - (challenger - labels) ** 2
    if metric == "rmse":
        columns = np.column_stack([gains, squared, np.ones_like(gains)])
        return Sums(columns, _rmse)
    if metric == "r2":
        centred = labels - labels.mean() if len(labels) else labels
        return Sums(np.column_stack([gains, centred, centred**2, np.ones_like(gains)]), _r2)
    raise ValueError(f"{metric} is no metric to compare models by")


def _rmse(sums: FloatArray) -> FloatArray:
    gain, squared = sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]
    roots = np.sqrt(np.maximum(squared + gain, 0.0)) + np.sqrt(squared)
    return np.where(roots > 0, gain / roots, 0.0)


def _r2(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0] / (sums[:, 2] - sums[:, 1] ** 2 / sums[:, 3]))


def _roc_auc(labels: npt.NDArray[Any], challenger: FloatArray, champion: FloatArray) -> Sums:
    known = labels >= 0
    positive = labels[known] == 1
    placed = [metrics.placements(positive, answers[known, 1]) for answers in (challenger, champion)]
    difference = placed[0] - placed[1]
    one, other = positive.astype(float), (~positive).astype(float)
    columns = np.column_stack([one * difference, one, other * difference, other])
    # Each class's mean difference of placements is the whole gain: their mean would leave out half of its variation.
    middle = float(difference[positive].mean()) if positive.any() else 0.0
    return Sums(columns, lambda s: s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3] - middle)
