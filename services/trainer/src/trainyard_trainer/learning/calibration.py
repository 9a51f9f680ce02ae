"""Calibration of a chosen classifier on answers that it gave to rows it had not learnt from.

A *temperature* divides the logits: above 1 it makes probabilities more modest, below 1 bolder (Guo et al., "On
Calibration of Modern Neural Networks", 2017). It changes no ranking, and for many classes no answer. A *threshold* is
the probability from which on a binary model answers the second class; only a policy whose metric is one of decisions
moves it. Both must earn more than noise on enough rows, else the model is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics.answers import Answers
from trainyard.metrics.bootstrap import resampled
from trainyard.metrics.measures import row_losses
from trainyard.metrics.statistics import gain
from trainyard.model import Temperature
from trainyard.model.estimators import calibrated
from trainyard_trainer.learning.thresholds import EVEN, threshold_for

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray

#: Rows from which a temperature is fitted, by task.
TEMPERATURE_ROWS = {"binary": 3_000, "multiclass": 500}
#: Rows from which a threshold is tuned: fewer leave too few steps to choose between.
THRESHOLD_ROWS = 200
#: Standard errors of the paired difference that a change must gain; the gate's bootstrap tells them of a threshold's.
_MARGIN = 2.0
_LEAST, _MOST = 0.05, 20.0
_GOLDEN = (5**0.5 - 1) / 2
_STEPS = 40  # golden sections: the logarithm of the temperature to 1e-8


@dataclass(frozen=True)
class Calibration:
    """What is put behind the probabilities: None and 0.5 leave them as they are."""

    temperature: float | None = None
    threshold: float = EVEN


def calibrate(
    task: str, labels: npt.NDArray[Any], answers: FloatArray, metric: str, *, drifting: bool = False
) -> Calibration:
    """Return the temperature and threshold for a model that gave these out-of-sample answers.

    Args:
        task: binary, multiclass or regression; the last has neither.
        labels: shape (rows,), class indexes.
        answers: probabilities (rows, classes) before calibration.
        metric: the policy's.
        drifting: the rows are of a time that will not come back: no temperature, which would follow a season.
    """
    if task == "regression":
        return Calibration()
    temperature = None if drifting else fit_temperature(task, labels, answers)
    return Calibration(temperature, fit_threshold(task, metric, labels, tempered(task, answers, temperature)))


def fit_temperature(task: str, labels: npt.NDArray[Any], answers: FloatArray) -> float | None:
    """Return the temperature of least log-loss, None where it gains no more than noise or the rows are too few."""
    if len(labels) < TEMPERATURE_ROWS[task]:
        return None

    def losses(log_temperature: float) -> FloatArray:
        return row_losses(task, labels, tempered(task, answers, float(np.exp(log_temperature))))

    low, high = float(np.log(_LEAST)), float(np.log(_MOST))
    for _ in range(_STEPS):  # the log-loss has one minimum in 1/T, as it is convex in it
        a, b = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if losses(a).mean() <= losses(b).mean():
            high = b
        else:
            low = a
    best = (low + high) / 2
    if not _more_than_noise(row_losses(task, labels, answers) - losses(best)):
        return None
    return float(np.exp(best))


def fit_threshold(task: str, metric: str, labels: npt.NDArray[Any], answers: FloatArray) -> float:
    """Return the threshold at which the metric is largest; 0.5 where that gains no more than noise, or has no say.

    Args:
        task, metric: a threshold is tuned for two classes and a metric of decisions.
        labels: shape (rows,), class indexes; too few rows leave 0.5.
        answers: probabilities (rows, classes).
    """
    threshold = threshold_for(task, metric, labels, answers)
    if threshold == EVEN or len(labels) < THRESHOLD_ROWS:
        return EVEN
    over_even = gain(metric, task, labels, Answers.of(task, answers, threshold), Answers.of(task, answers))
    drawn = resampled({metric: over_even}, seed=0)[metric]
    return threshold if len(drawn) and over_even.exact() > _MARGIN * drawn.std() else EVEN


def tempered(task: str, answers: FloatArray, temperature: float | None) -> FloatArray:
    """Return probabilities (rows, classes) as the model format calibrates them."""
    calibration = None if temperature is None else Temperature(temperature)
    if task != "binary":
        return calibrated(answers.T, calibration).T
    positive = calibrated(answers[:, 1][None, :], calibration)[0]
    return np.column_stack([1.0 - positive, positive])


def _more_than_noise(gains: FloatArray) -> bool:
    """Tell whether the mean of paired gains is above some standard errors of it."""
    return bool(gains.mean() > _MARGIN * gains.std(ddof=1) / np.sqrt(len(gains)))
