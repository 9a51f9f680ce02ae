"""The two figures of the story, computed here from first principles so that the API's own can be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

#: probabilities are kept this far from 0 and 1 before a logarithm is taken
_EDGE = 1e-15


def auc(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the area under the ROC curve: how often a late flight got the higher probability, ties count half.

    NaN when only one of the two classes is there.
    """
    truth = np.asarray(label, dtype=bool)
    _, group, count = np.unique(np.asarray(probability, dtype=np.float64), return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]  # mean rank of equal probabilities, from 1
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float("nan")
    return float((rank[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def log_loss(label: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean of -log(probability of what happened), in nats; NaN without rows."""
    truth = np.asarray(label, dtype=bool)
    if not truth.size:
        return float("nan")
    p = np.clip(np.asarray(probability, dtype=np.float64), _EDGE, 1 - _EDGE)
    return float(-np.mean(np.where(truth, np.log(p), np.log1p(-p))))
