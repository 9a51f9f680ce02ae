"""The label: which task it makes, its classes, and each row's class index or value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.snapshot import Texts
from trainyard_trainer.domain import DataError

if TYPE_CHECKING:
    from trainyard.model.dto import ClassLabel
    from trainyard.schema import Column
    from trainyard.snapshot import Values

#: Whole numbers with no more distinct values than this are classes, when nobody says otherwise.
FEW_CLASSES = 20
_MOST_CLASSES = 1_000
_ROWS_PER_CLASS = 2


@dataclass(frozen=True, eq=False)
class Target:
    """The label of every row of the snapshot.

    Attributes:
        classes: in the model's order, () for regression; (negative, positive) for binary.
        values: shape (rows,): class index (int64, -1: missing, or a class that the training rows do not show), or
            the value (float64, NaN: missing).
        present: shape (rows,): the row has a label.
    """

    task: str
    classes: tuple[ClassLabel, ...]
    values: npt.NDArray[Any]
    present: npt.NDArray[np.bool_]

    @property
    def learnable(self) -> npt.NDArray[np.bool_]:
        """Rows with a label that the model knows."""
        return self.present if self.task == "regression" else self.values >= 0

    @property
    def n_outputs(self) -> int:
        """Scores that an estimator gives: the number of classes for multiclass, else 1."""
        return len(self.classes) if self.task == "multiclass" else 1


def define(column: Column, values: Values, train: npt.NDArray[np.bool_], task: str) -> Target:
    """Return the target.

    Args:
        column: the label's column.
        values: its values in the snapshot.
        train: mask of the rows to learn from; they alone decide about task and classes.
        task: binary, multiclass, regression, or auto.

    Raises:
        DataError: the label is not fit for the task.
    """
    if column.type in ("date", "timestamp"):
        raise DataError(f"the label '{column.name}' is a {column.type}; it must be a number, a flag or a category")
    codes, labels, present = _levels(column, values)
    counts = np.bincount(codes[train & present], minlength=len(labels))
    seen = int((counts > 0).sum())
    if seen < 2:
        raise DataError(
            f"the label '{column.name}' has {seen} distinct value(s) in the rows to learn from; 2 are needed"
        )
    chosen = _task(column, labels, counts) if task == "auto" else task
    if chosen == "regression":
        if isinstance(values, Texts):
            raise DataError(f"the label '{column.name}' is of type {column.type}; regression needs a number")
        return Target("regression", (), np.asarray(values, dtype=np.float64), present)
    if chosen == "binary" and seen != 2:
        raise DataError(f"the label '{column.name}' has {seen} distinct values; a binary model needs exactly 2")
    kept = [i for i in range(len(labels)) if counts[i] >= _ROWS_PER_CLASS or (chosen == "binary" and counts[i])]
    if not 2 <= len(kept) <= _MOST_CLASSES:
        raise DataError(
            f"the label '{column.name}' has {len(kept)} classes of at least {_ROWS_PER_CLASS} rows;"
            f" 2 to {_MOST_CLASSES} can be learnt"
        )
    kept.sort(key=lambda i: labels[i])
    index = np.full(len(labels) + 1, -1, dtype=np.int64)
    index[kept] = np.arange(len(kept))
    return Target(chosen, tuple(labels[i] for i in kept), index[np.where(present, codes, len(labels))], present)


def _levels(column: Column, values: Values) -> tuple[npt.NDArray[Any], list[Any], npt.NDArray[np.bool_]]:
    """Return each row's code into the distinct labels (0 where missing), the labels, and where they are present."""
    if isinstance(values, Texts):
        present = values.codes >= 0
        return np.where(present, values.codes, 0), list(values.levels), present
    present = ~np.isnan(values)
    distinct, codes = np.unique(np.asarray(values)[present], return_inverse=True)
    every = np.zeros(len(values), dtype=np.int64)
    every[present] = codes
    if column.type == "bool":
        return every, [bool(v) for v in distinct], present
    whole = all(float(v).is_integer() for v in distinct)
    return every, [int(v) if whole else float(v) for v in distinct], present


def _task(column: Column, labels: list[Any], counts: npt.NDArray[Any]) -> str:
    seen = [label for label, count in zip(labels, counts, strict=True) if count]
    if any(isinstance(label, float) for label in seen):
        return "regression"
    if len(seen) == 2:
        return "binary"
    if column.type in ("category", "text"):
        return "multiclass"
    return "multiclass" if column.type == "int" and len(seen) <= FEW_CLASSES else "regression"
