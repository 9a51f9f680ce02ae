"""Logged answers and their labels as arrays: the metrics that they give, or in words why they give one no value."""

from __future__ import annotations

import math
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics.answers import Answers
from trainyard.metrics.intervals import LEAST_OF_CLASS, OF_CLASSES, Interval, interval, rarest
from trainyard.metrics.measures import measure
from trainyard.model import class_name
from trainyard.policy import METRICS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FloatArray = npt.NDArray[np.float64]
_LARGEST = sys.float_info.max


@dataclass(frozen=True, eq=False)
class Scores:
    """Labelled answers of one version.

    Attributes:
        task: binary, multiclass or regression, as the answers show it.
        labels: shape (rows,): class indexes, -1 for what is none of the version's classes; or values.
        answers: shape (rows, classes), probabilities; or (rows,), values.
        said: shape (rows,): the class index that was answered; empty for regression.
        classes: their names by index; empty for regression.
    """

    task: str
    labels: npt.NDArray[Any]
    answers: FloatArray
    said: npt.NDArray[np.int64]
    classes: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """Return the metrics of the task that have a value on these rows, finite ones."""
        with np.errstate(over="ignore", invalid="ignore"):  # squares of labels near the end of the float range
            found = measure(self.task, self.labels, self.answers, decided=self.said)
        return {name: found[name] for name in METRICS[self.task] if math.isfinite(found.get(name, math.nan))}

    def interval(self, metric: str, *, confidence: float) -> Interval | None:
        """Return the metric of the task with its interval; None where these rows give none."""
        return interval(metric, self.task, self.labels, self._told, confidence=confidence)

    @property
    def _told(self) -> Answers:
        """The answers with the class that was given, which need not be the likeliest."""
        return Answers(self.answers, self.said)

    def intervals(self, *, confidence: float) -> dict[str, Interval]:
        """Return the metrics of the task that have a value."""
        found = {name: self.interval(name, confidence=confidence) for name in METRICS[self.task]}
        return {name: one for name, one in found.items() if one is not None}

    def why_not(self, metric: str) -> str:
        """Say why these rows give the metric no interval."""
        if metric not in METRICS[self.task]:
            return f"{metric} is no metric of a {self.task} model"
        known = self.labels[self.labels >= 0] if self.classes else self.labels
        rows = len(known)
        if self.classes and not rows:
            return f"none of {len(self.labels):,} labels is a class of the version: {metric} is not defined"
        if rows > 1 and (known == known[0]).all() and metric in {"roc_auc", "r2"}:
            name = f"'{self.classes[known[0]]}'" if self.classes else f"{known[0]:g}"
            return f"all {rows:,} labels are {name}: {metric} is not defined"
        if metric in OF_CLASSES:
            rarer, count = rarest(self.labels, self._told, self.task)
            return f"{count:,} of {rows:,} labels are '{self.classes[rarer]}': {metric} needs {LEAST_OF_CLASS} of each"
        if rows < 2:
            return f"{rows:,} label can be compared with an answer: {metric} needs 2"
        return f"{metric} of these labels has no finite interval"


def scores_of(outputs: Sequence[Mapping[str, Any]], labels: Sequence[Any]) -> Scores | None:
    """Return the arrays of the answers that can be compared with their labels; None when none can.

    The log keeps whatever a predictor wrote. What the version answers, the classes or numbers, is what most of its
    answers have; those of another form are left out, and so is a label that is no number beside one that is.

    Args:
        outputs: JSON objects as they were logged, of any content.
        labels: of each, any JSON but null.
    """
    forms = Counter(form for form in map(_form, outputs) if form is not None)
    if not forms:
        return None
    ((classes, _),) = forms.most_common(1)
    pairs = [(output, label) for output, label in zip(outputs, labels, strict=True) if _form(output) == classes]
    return _of_classes(pairs, classes) if classes else _of_numbers(pairs)


def uncomparable(scores: Scores | None, labels: int) -> int:
    """Return how many of so many labels :func:`scores_of` has left out."""
    return labels if scores is None else labels - len(scores.labels)


def _form(output: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes of an answer, () for a number, None for what is neither."""
    said, shares = output.get("prediction"), output.get("probabilities")
    if shares is None:
        return () if _number(said) is not None else None
    if not isinstance(shares, dict) or not all(map(_is_share, shares.values())):
        return None
    return tuple(sorted(shares)) if _name(said) in shares else None


def _is_share(value: Any) -> bool:
    number = _number(value)
    return number is not None and 0.0 <= number <= 1.0


def _number(value: Any) -> float | None:
    """Return a JSON number as a finite float; None for anything else, truth values too."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        return None
    return float(value)


def _name(value: Any) -> str | None:
    """Return the class that a label or an answer names; None for what cannot name one."""
    return class_name(value) if isinstance(value, str | bool) or _number(value) is not None else None


def _of_classes(pairs: Sequence[tuple[Mapping[str, Any], Any]], classes: tuple[str, ...]) -> Scores:
    index: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    return Scores(
        "binary" if len(classes) == 2 else "multiclass",
        np.array([index.get(_name(label), -1) for _, label in pairs], dtype=np.int64),
        np.array([[output["probabilities"][name] for name in classes] for output, _ in pairs], dtype=np.float64),
        np.array([index[_name(output["prediction"])] for output, _ in pairs], dtype=np.int64),
        classes,
    )


def _of_numbers(pairs: Sequence[tuple[Mapping[str, Any], Any]]) -> Scores | None:
    rows = [(number, float(output["prediction"])) for output, label in pairs if (number := _number(label)) is not None]
    if not rows:
        return None
    truth, said = np.array(rows, dtype=np.float64).T
    return Scores("regression", truth, said, np.array([], dtype=np.int64))
