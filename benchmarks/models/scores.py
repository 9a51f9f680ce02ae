"""What answers are worth, and the prior: the score of a method that has none. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics
from trainyard.metrics.measures import FLOOR

FloatArray = npt.NDArray[np.float64]


def prior(learnt: npt.NDArray[Any], classes: int, rows: int) -> FloatArray:
    """Return the answers of a model that knows no feature: class shares (rows, classes) or the mean (rows,)."""
    if not classes:
        return np.full(rows, float(np.mean(learnt)))
    return np.tile(np.bincount(learnt, minlength=classes) / len(learnt), (rows, 1))


def score(truth: npt.NDArray[Any], answers: FloatArray, classes: int) -> dict[str, float]:
    """Return ``metric`` (log-loss or RMSE: less is better) and for two classes ``auc``.

    No probability counts as less than the gate's floor, for any method: a class that nobody has seen costs the same.

    Raises:
        ValueError: the answers have another shape than the rows ask for, or are not finite.
    """
    shape = (len(truth), classes) if classes else (len(truth),)
    if answers.shape != shape or not np.isfinite(answers).all():
        raise ValueError(f"answers of shape {answers.shape}, wanted {shape}, all finite")
    if not classes:
        return {"metric": metrics.rmse(truth, answers)}
    found = {"metric": metrics.log_loss(truth, np.maximum(answers, FLOOR))}
    return found | ({"auc": metrics.roc_auc(truth == 1, answers[:, 1])} if classes == 2 else {})
