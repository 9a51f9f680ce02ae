"""Each metric, of one model or the gain of one over another, as what the bootstrap draws (:class:`Statistic`).

The area under the ROC curve becomes sums over rows by its placement values (DeLong, DeLong and Clarke-Pearson 1988):
one sort for each model, whatever the number of draws. Of two models the rows' differences are summed up, so what makes
a row hard for both cancels.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics import figures
from trainyard.metrics.bootstrap import Counts, Statistic, Sums
from trainyard.metrics.measures import row_losses

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.metrics.answers import Answers

FloatArray = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
#: Of every task, in a report; the policy's closed list is in :data:`trainyard.policy.METRICS`.
REPORTED = {
    "binary": ("loss", "log_loss", "accuracy", "f1", "balanced_accuracy", "roc_auc", "brier"),
    "multiclass": ("loss", "log_loss", "accuracy", "f1", "balanced_accuracy"),
    "regression": ("loss", "rmse", "mae", "r2"),
}
#: Losses that differ by less, relative to the larger, are the same number computed in two ways.
_SAME = 1e-12


def statistic(metric: str, task: str, labels: Labels, answers: Answers) -> Statistic:
    """Return a metric of one model.

    Args:
        metric: one of :data:`REPORTED` for the task.
        task: binary, multiclass or regression.
        labels: shape (rows,): class indexes, -1 for one that the model does not know; or values.
        answers: of the same rows.
    """
    if metric == "loss":
        return mean_of(row_losses(task, labels, answers.outputs))
    return _OF_ONE[metric](labels, answers)


def gain(metric: str, task: str, labels: Labels, challenger: Answers, champion: Answers) -> Statistic:
    """Return by how much the challenger is better than the champion in a metric, more being better.

    Args:
        metric: as for :func:`statistic`, without ``brier`` and ``log_loss`` (the gate's is ``loss``).
        task: binary, multiclass or regression.
        labels: shape (rows,), in the challenger's order of classes.
        challenger, champion: what they answer to the same rows, in the same order of classes.
    """
    if metric == "loss":
        return mean_of(_lost(row_losses(task, labels, champion.outputs), row_losses(task, labels, challenger.outputs)))
    return _OF_TWO[metric](labels, challenger, champion)


def mean_of(values: FloatArray, rows: npt.NDArray[np.bool_] | None = None) -> Sums:
    """Return the mean of ``values``, shape (rows,), over all rows or those that ``rows`` names."""
    if rows is None:
        return Sums(_with_ones(values), lambda s: s[:, 0] / s[:, 1])
    return Sums(np.column_stack([np.where(rows, values, 0.0), rows]), lambda s: s[:, 0] / s[:, 1])


def _with_ones(*columns: FloatArray) -> FloatArray:
    return np.column_stack([*columns, np.ones(len(columns[0]))])


def _root_gain(sums: FloatArray) -> FloatArray:
    """Return the difference of two roots, from the mean difference of the squares: it does not cancel."""
    apart, squared = sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]
    roots = np.sqrt(np.maximum(squared + apart, 0.0)) + np.sqrt(squared)
    return np.where(roots > 0, apart / roots, 0.0)


def _share_of_variance(labels: FloatArray, squared: FloatArray, best: float) -> Sums:
    """Return ``best`` less the share of the labels' variance that the sum of ``squared`` is."""
    centred = labels - labels.mean() if len(labels) else labels
    columns = _with_ones(squared, centred, centred**2)
    return Sums(columns, lambda s: best - s[:, 0] / _or_nan(s[:, 2] - s[:, 1] ** 2 / s[:, 3]))


def _or_nan(variance: FloatArray) -> FloatArray:
    return np.where(variance > 0, variance, np.nan)


def _placed(labels: Labels, answers: Answers) -> FloatArray:
    """Return the placement values, shape (rows,); 0 for rows of classes that the model does not know."""
    known = labels >= 0
    placed = np.zeros(len(labels))
    if known.any():
        placed[known] = figures.placements(labels[known] == 1, answers.outputs[known, 1])
    return placed


def _area(labels: Labels, placed: FloatArray, within: Callable[[FloatArray], FloatArray] = np.asarray) -> Sums:
    """Return the area under the ROC curve, or a difference of two, as sums over either class.

    Each class's mean of the placements is the whole area: the mean of both would leave out half of its variation.
    """
    positive, negative = labels == 1, labels == 0
    columns = np.column_stack([positive * placed, positive, negative * placed, negative]).astype(float)
    middle = float(placed[positive].mean()) if positive.any() else 0.0
    return Sums(columns, lambda s: within(s[:, 0] / s[:, 1] + s[:, 2] / s[:, 3] - middle))


def _lost(theirs: FloatArray, ours: FloatArray) -> FloatArray:
    """Return what they lose more than we, row by row: nothing where only the last bits differ.

    Two models that answer alike by another way of computing would else differ beyond doubt, by 1e-17 in every row.
    """
    return np.asarray(np.where(np.isclose(theirs, ours, rtol=_SAME, atol=0.0), 0.0, theirs - ours))


def _right(labels: Labels, answers: Answers) -> FloatArray:
    return np.asarray(answers.decided == labels, dtype=np.float64)


def _squared(labels: Labels, answers: Answers) -> FloatArray:
    return np.asarray((labels - answers.outputs) ** 2)


def _apart(labels: Labels, answers: Answers) -> FloatArray:
    return np.asarray(np.abs(labels - answers.outputs))


def _log_loss(labels: Labels, answers: Answers) -> Sums:
    known = labels >= 0
    of_truth = answers.outputs[np.arange(len(labels)), np.where(known, labels, 0)]
    return mean_of(figures.surprise(of_truth), known)


def _counts(metric: str, labels: Labels, *models: Answers) -> Counts:
    value = figures.f1_of if metric == "f1" else figures.balanced_accuracy_of
    return Counts(labels, [model.decided for model in models], models[0].outputs.shape[1], value)


def _rmse_gain(labels: Labels, challenger: Answers, champion: Answers) -> Sums:
    squared = _squared(labels, challenger)
    return Sums(_with_ones(_squared(labels, champion) - squared, squared), _root_gain)


_OF_ONE: dict[str, Callable[[Labels, Answers], Statistic]] = {
    "accuracy": lambda labels, one: mean_of(_right(labels, one)),
    "f1": partial(_counts, "f1"),
    "balanced_accuracy": partial(_counts, "balanced_accuracy"),
    "log_loss": _log_loss,
    "brier": lambda labels, one: mean_of((one.outputs[:, 1] - (labels == 1)) ** 2, labels >= 0),
    "roc_auc": lambda labels, one: _area(labels, _placed(labels, one), lambda area: np.clip(area, 0.0, 1.0)),
    "mae": lambda labels, one: mean_of(_apart(labels, one)),
    "rmse": lambda labels, one: Sums(_with_ones(_squared(labels, one)), lambda s: np.sqrt(s[:, 0] / s[:, 1])),
    "r2": lambda labels, one: _share_of_variance(labels, _squared(labels, one), 1.0),
}
_OF_TWO: dict[str, Callable[[Labels, Answers, Answers], Statistic]] = {
    "accuracy": lambda labels, one, other: mean_of(_right(labels, one) - _right(labels, other)),
    "f1": partial(_counts, "f1"),
    "balanced_accuracy": partial(_counts, "balanced_accuracy"),
    "roc_auc": lambda labels, one, other: _area(labels, _placed(labels, one) - _placed(labels, other)),
    "mae": lambda labels, one, other: mean_of(_apart(labels, other) - _apart(labels, one)),
    "rmse": _rmse_gain,
    "r2": lambda labels, one, other: _share_of_variance(labels, _squared(labels, one) - _squared(labels, other), 0.0),
}
