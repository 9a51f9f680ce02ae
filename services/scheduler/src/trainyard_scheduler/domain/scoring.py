"""Logged answers and their labels as arrays that metrics are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.intervals import Interval, interval
from trainyard.model import class_name
from trainyard.policy import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scores:
    """Labelled answers of one version.

    Attributes:
        task: binary, multiclass or regression, as the answers show it.
        labels: shape (rows,): class indexes, -1 for what is none of the version's classes; or values.
        answers: shape (rows, classes), probabilities; or (rows,), values.
        said: shape (rows,): the class index that was answered; empty for regression.
    """

    task: str
    labels: npt.NDArray[Any]
    answers: FloatArray
    said: npt.NDArray[np.int64]

    def interval(self, metric: str, *, confidence: float) -> Interval | None:
        """Return the metric with its interval; None where these rows give none."""
        if metric == "accuracy":  # of the answer that was given, which need not be the likeliest class
            return interval(metric, self.labels, np.eye(self.answers.shape[1])[self.said], confidence=confidence)
        return interval(metric, self.labels, self.answers, confidence=confidence)

    def intervals(self, *, confidence: float) -> dict[str, Interval]:
        """Return the metrics of the task that have a value."""
        found = {name: self.interval(name, confidence=confidence) for name in METRICS[self.task]}
        return {name: one for name, one in found.items() if one is not None}


def scores_of(outputs: Sequence[Mapping[str, Any]], labels: Sequence[Any]) -> Scores | None:
    """Return the arrays of these answers and their labels, none of them null; None when no label can be compared."""
    shares = outputs[0].get("probabilities") if outputs else None
    return _of_classes(outputs, labels, sorted(shares)) if shares else _of_numbers(outputs, labels)


def _of_classes(outputs: Sequence[Mapping[str, Any]], labels: Sequence[Any], classes: list[str]) -> Scores:
    index = {name: number for number, name in enumerate(classes)}
    return Scores(
        "binary" if len(classes) == 2 else "multiclass",
        np.array([index.get(class_name(label), -1) for label in labels], dtype=np.int64),
        np.array([[output["probabilities"][name] for name in classes] for output in outputs], dtype=np.float64),
        np.array([index[class_name(output["prediction"])] for output in outputs], dtype=np.int64),
    )


def _of_numbers(outputs: Sequence[Mapping[str, Any]], labels: Sequence[Any]) -> Scores | None:
    pairs = [
        (float(label), float(output["prediction"]))
        for label, output in zip(labels, outputs, strict=True)
        if isinstance(label, int | float) and not isinstance(label, bool)
    ]
    if not pairs:
        return None
    truth, said = np.array(pairs, dtype=np.float64).T
    return Scores("regression", truth, said, np.array([], dtype=np.int64))
