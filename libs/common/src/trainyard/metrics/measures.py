"""What a model's answers are worth: the loss of each row, and the metrics of many. Pure numpy."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics import figures
from trainyard.metrics.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Callable

FloatArray = npt.NDArray[np.float64]
#: No probability counts as less: one certain mistake (or a class that was never seen) costs 13.8, not infinity.
FLOOR = 1e-6
LOSS_NAMES = {"binary": "log-loss", "multiclass": "log-loss", "regression": "squared error"}


def row_losses(task: str, labels: npt.NDArray[Any], predictions: FloatArray) -> FloatArray:
    """Return the loss of each row, shape (rows,).

    Args:
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes, -1 for a class that the model does not know; or values.
        predictions: probabilities (rows, classes), or values (rows,).
    """
    if task == "regression":
        return np.asarray((predictions - labels) ** 2)
    known = labels >= 0
    of_truth = np.where(known, predictions[np.arange(len(labels)), np.where(known, labels, 0)], 0.0)
    return np.asarray(-np.log(np.clip(of_truth, FLOOR, 1.0)))


def measure(
    task: str,
    labels: npt.NDArray[Any],
    predictions: FloatArray,
    *,
    threshold: float = 0.5,
    decided: npt.NDArray[Any] | None = None,
) -> dict[str, float]:
    """Return the metrics of docs/api.md that have a value on these rows (at least one).

    Args:
        task, labels, predictions: as for :func:`row_losses`.
        threshold: the probability from which on a binary model answers the second class.
        decided: shape (rows,): the class indexes that were answered; by default what ``threshold`` makes of them.
    """
    found = {"loss": float(row_losses(task, labels, predictions).mean())}
    attempts: dict[str, Callable[[], float]]
    if task == "regression":
        attempts = {name: partial(getattr(figures, name), labels, predictions) for name in ("rmse", "mae", "r2")}
    else:
        said = Answers.of(task, predictions, threshold).decided if decided is None else decided
        known, classes = labels >= 0, predictions.shape[1]
        truth, given = labels[known], predictions[known]
        attempts = {
            "log_loss": partial(figures.log_loss, truth, given),
            "accuracy": partial(figures.accuracy, labels, said),
            "f1": partial(figures.f1, labels, said, classes=classes),
            "balanced_accuracy": partial(figures.balanced_accuracy, labels, said, classes=classes),
        }
        if task == "binary":
            attempts["roc_auc"] = partial(figures.roc_auc, truth == 1, given[:, 1])
    for name, attempt in attempts.items():
        try:
            found[name] = attempt()
        except ValueError:  # one class only, a constant label: the metric has no value on these rows
            continue
    return found
