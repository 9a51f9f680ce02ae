"""The probability from which on a binary model answers its second class, tuned to a metric of what is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.metrics import OF_DECISIONS
from trainyard.metrics.figures import balanced_accuracy_of, f1_of

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray

#: Where a model decides that no metric asks to do otherwise.
EVEN = 0.5


def threshold_for(task: str, metric: str, labels: npt.NDArray[Any], answers: FloatArray) -> float:
    """Return the best threshold for a model that gave these answers (rows, classes); 0.5 where none is to be tuned."""
    if task != "binary" or metric not in OF_DECISIONS or not len(labels):
        return EVEN
    return best(metric, labels == 1, answers[:, 1])[0]


def best(metric: str, positive: npt.NDArray[np.bool_], probabilities: FloatArray) -> tuple[float, float]:
    """Return the threshold at which the metric is largest on these rows, and what it is there.

    Thresholds lie in the middle between probabilities that occur; of equals the one nearest to 0.5 is taken. Where the
    metric has no value at any, the answer is 0.5 and 0.

    Args:
        metric: one of :data:`trainyard.metrics.OF_DECISIONS`.
        positive: shape (rows,), one at least: the row is of the second class.
        probabilities: shape (rows,): of the second class.
    """
    distinct, at = np.unique(probabilities, return_inverse=True)
    ones = np.bincount(at, weights=positive, minlength=len(distinct))
    zeros = np.bincount(at, weights=~positive, minlength=len(distinct))
    # At place i the first i distinct probabilities are answered with the first class.
    hits, alarms = (np.append(each.sum(), each.sum() - np.cumsum(each)) for each in (ones, zeros))
    true = np.broadcast_to([zeros.sum(), ones.sum()], (len(hits), 2))
    said = np.column_stack([len(positive) - hits - alarms, hits + alarms])
    right = np.column_stack([zeros.sum() - alarms, hits])
    if metric == "accuracy":
        values = right.sum(axis=1) / len(positive)
    else:
        values = (f1_of if metric == "f1" else balanced_accuracy_of)(true, said, right)
    values = np.nan_to_num(values)
    bounds = np.concatenate([[0.0], distinct, [1.0]])
    cuts = (bounds[:-1] + bounds[1:]) / 2
    # between neighbouring floats, and above 1, there is no place: the middle would be answered as one of the two
    is_between = (cuts > np.append(-np.inf, distinct)) & (cuts <= np.append(distinct, np.inf))
    values[~is_between] = -1.0
    equals = np.flatnonzero(values == values.max())
    chosen = equals[np.argmin(np.abs(cuts[equals] - EVEN))]
    return (float(cuts[chosen]) if values[chosen] > 0 else EVEN), float(values[chosen])
