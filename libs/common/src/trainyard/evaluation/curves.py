"""ROC, precision-recall and calibration curves as points, at most 101 each; multiclass: one class against the rest.

Rows of a class that the model does not know are left out, as in the metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics
from trainyard.metrics.plain import number

if TYPE_CHECKING:
    from trainyard.evaluation.sample import FloatArray, Sample

MOST_POINTS = 101
MOST_CLASSES = 5
_BINS = 20


def curves(sample: Sample) -> dict[str, list[dict[str, Any]]]:
    """Return ``{"roc", "pr", "calibration"}``, each a list with one curve per class; () for regression.

    Binary: the positive class. Multiclass: the :data:`MOST_CLASSES` commonest classes of these rows. A curve that needs
    both sides is missing where the rows show one only.

    ``roc``: ``auc`` and points (false positive rate, true positive rate). ``pr``: ``average_precision``, the share of
    positives as ``base`` and points (recall, precision). ``calibration``: ``error`` (mean distance, weighted by rows)
    and points (mean probability, share that was true, rows).
    """
    found: dict[str, list[dict[str, Any]]] = {"roc": [], "pr": [], "calibration": []}
    known = sample.labels >= 0 if sample.task != "regression" else np.zeros(0, dtype=np.bool_)
    if not known.any():
        return found
    labels, answers = sample.labels[known], sample.answers[known]
    for index in _shown(sample, labels):
        positive, given = labels == index, answers[:, index]
        about = {"class": sample.class_called(index), "rows": int(positive.sum())}
        found["calibration"].append({**about, **_calibration(positive, given)})
        if positive.all() or not positive.any():
            continue
        found["roc"].append({**about, **_roc(positive, given)})
        found["pr"].append({**about, **_precision_recall(positive, given)})
    return found


def _shown(sample: Sample, labels: npt.NDArray[Any]) -> list[int]:
    if sample.task == "binary":
        return [1]
    counts = np.bincount(labels, minlength=len(sample.classes))
    commonest = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    return [int(index) for index in commonest if counts[index]]


def _steps(positive: npt.NDArray[np.bool_], given: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return how many true and false positives there are down to each distinct probability, the highest first."""
    order = np.argsort(-given, kind="stable")
    ranked = given[order]
    last = np.flatnonzero(np.concatenate([ranked[1:] != ranked[:-1], [True]]))
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    return hits, last + 1 - hits


def _roc(positive: npt.NDArray[np.bool_], given: FloatArray) -> dict[str, Any]:
    hits, alarms = _steps(positive, given)
    x = np.concatenate([[0.0], alarms / alarms[-1]])
    y = np.concatenate([[0.0], hits / hits[-1]])
    return {"auc": number(metrics.roc_auc(positive, given)), "points": _points(x + y, x, y)}


def _precision_recall(positive: npt.NDArray[np.bool_], given: FloatArray) -> dict[str, Any]:
    hits, alarms = _steps(positive, given)
    recall, precision = hits / hits[-1], hits / (hits + alarms)
    average = float(np.sum(np.diff(recall, prepend=0.0) * precision))
    base = number(float(positive.mean()))
    return {"average_precision": number(average), "base": base, "points": _points(recall, recall, precision)}


def _calibration(positive: npt.NDArray[np.bool_], given: FloatArray) -> dict[str, Any]:
    """Compare in bins of about as many rows each; equal probabilities share a bin."""
    edges = np.unique(np.quantile(given, np.linspace(0.0, 1.0, _BINS + 1))[1:-1])
    bins = np.searchsorted(edges, given)
    rows = np.bincount(bins, minlength=len(edges) + 1)
    filled = rows > 0
    said = np.bincount(bins, weights=given, minlength=len(rows))[filled] / rows[filled]
    was = np.bincount(bins, weights=positive, minlength=len(rows))[filled] / rows[filled]
    error = float(np.sum(rows[filled] * np.abs(said - was)) / rows.sum())
    points = zip(said.tolist(), was.tolist(), rows[filled].tolist(), strict=True)
    return {"error": number(error), "points": [[number(x), number(y), n] for x, y, n in points]}


def _points(progress: FloatArray, x: FloatArray, y: FloatArray) -> list[list[float | None]]:
    """Return points of the curve itself, spread evenly over ``progress`` (not falling), first and last included."""
    wanted = np.linspace(progress[0], progress[-1], MOST_POINTS)
    chosen = np.unique(np.clip(np.searchsorted(progress, wanted), 0, len(x) - 1))
    chosen[0], chosen[-1] = 0, len(x) - 1
    return [[number(a), number(b)] for a, b in zip(x[chosen].tolist(), y[chosen].tolist(), strict=True)]
