"""Live quality: what each version answered, and how that compares with the labels that came later."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard import metrics
from trainyard.model import class_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from trainyard.contracts.scheduling import Answered

#: The newest predictions that one answer looks at.
MOST_PREDICTIONS = 200_000


@dataclass
class _Window:
    """One version's predictions as they pass by; ``outputs`` and ``labels`` hold the labelled ones."""

    began: datetime
    ended: datetime
    predictions: int = 0
    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)

    def add(self, answered: Answered) -> None:
        self.began, self.ended = min(self.began, answered.at), max(self.ended, answered.at)
        self.predictions += 1
        if answered.has_label and answered.label is not None:
            self.outputs.append(answered.output)
            self.labels.append(answered.label)


def quality(answered: Iterable[Answered], *, since: datetime) -> list[dict[str, Any]]:
    """Return one window for each version, newest version first, with the metrics of its labelled predictions.

    Predictions from before ``since``, when the model was made, are those of a deleted model of the same name.

    Binary: area under the ROC curve (when both classes occurred), log-loss and accuracy. Multiclass: log-loss and
    accuracy. Regression: RMSE and MAE. Labels that are none of a version's classes count as wrong in the accuracy
    and are left out of the other metrics.
    """
    windows: dict[int, _Window] = {}
    for one in answered:
        if one.at < since:
            continue
        windows.setdefault(one.version, _Window(one.at, one.at)).add(one)
    return [
        {
            "version": version,
            "predictions": window.predictions,
            "labels": len(window.labels),
            "from": window.began.isoformat(),
            "upto": window.ended.isoformat(),
            "metrics": _metrics(window),
        }
        for version, window in sorted(windows.items(), reverse=True)
    ]


def _metrics(window: _Window) -> dict[str, float]:
    if not window.labels:
        return {}
    shares = window.outputs[0].get("probabilities")
    if isinstance(shares, dict) and shares:
        return _of_classes(window, sorted(shares))
    return _of_numbers(window)


def _of_classes(window: _Window, classes: list[str]) -> dict[str, float]:
    labels = [class_name(label) for label in window.labels]
    said = [class_name(output["prediction"]) for output in window.outputs]
    found = {"accuracy": metrics.accuracy(labels, said)}
    index = {name: number for number, name in enumerate(classes)}
    known = [i for i, label in enumerate(labels) if label in index]
    if not known:
        return found
    truth = np.array([index[labels[i]] for i in known])
    given = np.array([[window.outputs[i]["probabilities"][name] for name in classes] for i in known], dtype=float)
    found["log_loss"] = metrics.log_loss(truth, given)
    if len(classes) == 2 and 0 < truth.sum() < len(truth):
        found["roc_auc"] = metrics.roc_auc(truth, given[:, 1])
    return found


def _of_numbers(window: _Window) -> dict[str, float]:
    pairs = [
        (float(label), float(output["prediction"]))
        for label, output in zip(window.labels, window.outputs, strict=True)
        if isinstance(label, int | float) and not isinstance(label, bool)
    ]
    if not pairs:
        return {}
    truth, said = zip(*pairs, strict=True)
    with np.errstate(over="ignore"):
        found = {"rmse": metrics.rmse(truth, said), "mae": metrics.mae(truth, said)}
    # A label near the end of the float range has a square beyond it, and JSON has no infinity.
    return {name: value for name, value in found.items() if math.isfinite(value)}
