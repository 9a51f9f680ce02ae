"""Live quality: what each version answered, and how that compares with the labels that came later."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard import metrics
from trainyard.contracts.monitoring import DETECTORS
from trainyard.durations import in_words
from trainyard.model import class_name
from trainyard_scheduler.domain.scoring import scores_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.monitoring import Alarm, WindowRecord
    from trainyard.contracts.registry import ModelRecord
    from trainyard.contracts.scheduling import Answered, Records

#: The newest predictions that one answer looks at.
MOST_PREDICTIONS = 200_000
#: Watched windows and alarms that one answer shows, and the newest labels that it counts the waiting ones of.
_SHOWN = 20
_MOST_LABELS = 10_000


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


def quality(answered: Iterable[Answered], *, since: datetime, confidence: float = 0.99) -> list[dict[str, Any]]:
    """Return one window for each version, newest version first, with the metrics of its labelled predictions.

    ``intervals`` has the confidence interval of each metric that has one.

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
            "intervals": _intervals(window, confidence),
        }
        for version, window in sorted(windows.items(), reverse=True)
    ]


def watched(records: Records, model: ModelRecord, windows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what watching the model has found so far, newest first, and what is missing to find more.

    Args:
        windows: of :func:`quality`.
    """
    room = records.monitoring
    drift, live = (room.recent(model.id, detector, _SHOWN) for detector in DETECTORS)
    return {
        "drift": [_closed(one) for one in drift],
        "live": [_closed(one) for one in live],
        "alarms": [_alarm(one) for one in records.alarms.page(model.id, _SHOWN)],
        "waiting_labels": room.waiting_labels(_MOST_LABELS),
        "missing": _missing(records, model, windows, watched=bool(drift)),
    }


def _missing(records: Records, model: ModelRecord, windows: Sequence[Mapping[str, Any]], *, watched: bool) -> list[str]:
    """Say what it takes to see drift and live quality."""
    settings = model.policy.monitoring
    if model.champion is None:
        return ["no version serves yet: what is watched are the predictions of versions that do"]
    found = []
    if not watched and settings.window is None:
        answered = next((one["predictions"] for one in windows if one["version"] == model.champion), 0)
        found.append(f"no window is full: {answered:,} of {settings.window_rows:,} predictions of the champion")
    elif not watched and settings.window is not None:
        found.append(f"no window of {in_words(settings.window)} with predictions is over")
    if records.monitoring.reference(model.id, model.champion).profile is None:
        found.append("the champion was made without a profile of its rows: drift is seen from the next version on")
    if not any(one["labels"] for one in windows):
        found.append("no label has come for any prediction: quality needs feedback")
    return found


def _closed(window: WindowRecord) -> dict[str, Any]:
    span = window.span
    return {
        "window": span.window_id,
        "version": span.version,
        "number": span.number,
        "rows": span.rows,
        "from": span.began_at.isoformat(),
        "upto": span.ended_at.isoformat(),
        "outcome": window.outcome,
        **window.report,
    }


def _alarm(alarm: Alarm) -> dict[str, Any]:
    return {**asdict(alarm), "raised_at": alarm.raised_at.isoformat()}


def _intervals(window: _Window, confidence: float) -> dict[str, Any]:
    scores = scores_of(window.outputs, window.labels)
    return (
        {} if scores is None else {name: asdict(one) for name, one in scores.intervals(confidence=confidence).items()}
    )


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
