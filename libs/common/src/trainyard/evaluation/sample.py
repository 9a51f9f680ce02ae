"""The rows of a hold-out that a report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics.answers import Answers
from trainyard.metrics.measures import measure, row_losses
from trainyard.metrics.plain import name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sample:
    """Labelled rows and what the model answers to them.

    Attributes:
        task: binary, multiclass or regression.
        classes: the model's, in its order; () for regression. Binary: (negative, positive).
        labels: shape (rows,): class indexes, -1 for a class that the model does not know; or values.
        answers: probabilities (rows, classes), or values (rows,); finite.
        columns: each feature's cells, shape (rows,): numbers (NaN: missing), datetime64 (NaT) or objects (None).
        kinds: each feature's type by name, as a schema names it.
        threshold: the probability of the positive class from which the answer is that class (binary only).
    """

    task: str
    classes: Sequence[object]
    labels: npt.NDArray[Any]
    answers: FloatArray
    columns: Mapping[str, npt.NDArray[Any]]
    kinds: Mapping[str, str]
    threshold: float = 0.5

    @property
    def rows(self) -> int:
        """Number of rows, those of unknown classes included."""
        return len(self.labels)

    @property
    def losses(self) -> FloatArray:
        """The loss of each row that the gate compares, shape (rows,)."""
        return row_losses(self.task, self.labels, self.answers)

    @property
    def told(self) -> Answers:
        """The answers with what the model decides by its threshold."""
        return Answers.of(self.task, self.answers, self.threshold)

    @property
    def decided(self) -> npt.NDArray[Any]:
        """The index of the class that the model decides for, shape (rows,); classifiers only."""
        return self.told.decided

    def figures(self, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> dict[str, float]:
        """Return the gate's metrics of some of the rows (at least one), by what is decided."""
        return measure(self.task, self.labels[rows], self.answers[rows], threshold=self.threshold)

    def class_called(self, index: int) -> str:
        """Return the name of a class."""
        return name(self.classes[index])
