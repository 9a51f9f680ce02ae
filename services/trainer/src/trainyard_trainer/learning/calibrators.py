"""What turns a classifier's probabilities into more honest ones: the curves that the model format has, fitted. Pure.

- *Temperature* divides the logits (Guo et al., "On Calibration of Modern Neural Networks", 2017).
- *Platt* draws a line through them, for two classes (Platt, "Probabilistic Outputs for Support Vector Machines", 1999).
- *Isotonic* is any curve that does not fall, for two classes (Zadrozny and Elkan, "Transforming Classifier Scores into
  Accurate Multiclass Probability Estimates", 2002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

from trainyard.model import Isotonic, Platt, Temperature
from trainyard.model.elementary import TINY
from trainyard.model.elementary_arrays import log
from trainyard.model.estimators import calibrated, sigmoid, softmax

if TYPE_CHECKING:
    from trainyard.model.dto import Calibration, FloatArray

#: What a temperature, and one over a slope, is kept within; an intercept lies within plus or minus the second.
_LEAST, _MOST = 0.05, 20.0
_STEPS = 60  # of the solvers; they need some five
_CLOSE = 1e-10
#: A level stretch of an isotonic curve stands for at least so many rows, and at least one in so many of all.
_STRETCH_ROWS, _MOST_STRETCHES = 50, 200


def fit_temperature(task: str, labels: npt.NDArray[Any], answers: FloatArray) -> Temperature:
    """Return the temperature of least log-loss: the loss is convex in 1 / T, whose slope Newton's method takes to zero.

    Args:
        task: binary or multiclass.
        labels: shape (rows,), class indexes.
        answers: probabilities (rows, classes).
    """
    z = log(np.clip(answers, TINY, 1.0 - TINY)).T
    if task == "binary":
        z = np.stack([np.zeros(len(labels)), z[1] - z[0]])
    of_truth = z[labels, np.arange(len(labels))]
    low, high, boldness = 1.0 / _MOST, 1.0 / _LEAST, 1.0
    for _ in range(_STEPS):
        p = softmax(z * boldness)
        mean = (p * z).sum(axis=0)
        slope = float((mean - of_truth).mean())
        low, high = (low, boldness) if slope > 0 else (boldness, high)
        curvature = float(((p * z * z).sum(axis=0) - mean * mean).mean())
        step = boldness - slope / curvature if curvature > 0 else low
        was, boldness = boldness, step if low < step < high else (low + high) / 2
        if abs(boldness - was) < _CLOSE * boldness:
            break
    return Temperature(1.0 / boldness)


def fit_platt(labels: npt.NDArray[Any], answers: FloatArray) -> Platt | None:
    """Return the line through the logits of least log-loss, by Newton's method; None where it would not rise.

    Args:
        labels: shape (rows,), class indexes of two classes.
        answers: probabilities (rows, 2).
    """
    p = np.clip(answers[:, 1], TINY, 1.0 - TINY)
    z = log(p) - log(1.0 - p)
    positive = int((labels == 1).sum())
    # Platt's targets: no row is quite sure, so that classes that can be told apart get no infinite slope
    target = np.where(labels == 1, (positive + 1.0) / (positive + 2.0), 1.0 / (len(labels) - positive + 2.0))
    slope, intercept = 1.0, 0.0
    for _ in range(_STEPS):
        said = sigmoid(z * slope + intercept)
        weight, off = said * (1.0 - said), said - target
        a, b, c = float((weight * z * z).sum()), float((weight * z).sum()), float(weight.sum())
        determinant = a * c - b * b
        if not determinant > 0.0:
            return None
        down, aside = float((off * z).sum()), float(off.sum())
        by = (c * down - b * aside) / determinant, (a * aside - b * down) / determinant
        # a whole step may lead astray from far away; the loss is convex, so shorter ones come near
        shorter = 1.0 / max(1.0, *(abs(one) for one in by))
        slope, intercept = slope - shorter * by[0], intercept - shorter * by[1]
        if max(map(abs, by)) < _CLOSE:
            break
    within = 1.0 / _MOST <= slope <= 1.0 / _LEAST and abs(intercept) <= _MOST
    return Platt(slope, intercept) if within else None


def fit_isotonic(labels: npt.NDArray[Any], answers: FloatArray) -> Isotonic | None:
    """Return straight lines between the means of the stretches that pool adjacent violators; None where all are one.

    A stretch has rows enough to tell a share from, and one more row that agrees with the model: no share is 0 or 1.

    Args:
        labels: shape (rows,), class indexes of two classes.
        answers: probabilities (rows, 2).
    """
    p = answers[:, 1]
    order = np.argsort(p, kind="stable")
    p, hit = p[order], (labels[order] == 1).astype(np.float64)
    _, same = np.unique(p, return_inverse=True)
    rows = np.bincount(same).astype(np.float64)
    level = isotonic_regression(np.bincount(same, weights=hit) / rows, sample_weight=rows)[same]
    begins = _long_enough(np.flatnonzero(np.diff(level, prepend=-1.0)), len(p))
    count = np.diff(begins, append=len(p))
    at = np.add.reduceat(p, begins) / count
    to = np.maximum.accumulate((np.add.reduceat(hit, begins) + np.clip(at, TINY, 1.0 - TINY)) / (count + 1.0))
    apart = np.diff(at, prepend=-1.0) > TINY  # of neighbours in the last bits one is enough
    at, to = np.clip(at[apart], 0.0, 1.0), to[apart]
    return Isotonic(at, to) if len(at) >= 2 else None


def _long_enough(begins: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    """Return where stretches begin when those that are too short are joined with what follows (the last one before)."""
    least = max(_STRETCH_ROWS, rows // _MOST_STRETCHES)
    kept = [0]
    for begin in begins.tolist():
        if begin - kept[-1] >= least and rows - begin >= least:
            kept.append(begin)
    return np.array(kept)


def applied(task: str, answers: FloatArray, calibration: Calibration | None) -> FloatArray:
    """Return probabilities (rows, classes) as the model format calibrates them."""
    if task != "binary":
        return calibrated(answers.T, calibration).T
    positive = calibrated(answers[:, 1][None, :], calibration)[0]
    return np.column_stack([1.0 - positive, positive])
