"""Calibration of a chosen classifier on answers that it gave to rows it had not learnt from.

Of the curves that could be put behind the probabilities (:mod:`trainyard_trainer.learning.calibrators`) the simplest is
kept that nothing more flexible beats. A *threshold* is the probability from which on a binary model answers the second
class; only a policy whose metric is one of decisions moves it. All must earn more than noise on enough rows, else the
model is left as it is.
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
from trainyard.model import Isotonic, Platt, Temperature
from trainyard_trainer.learning.calibrators import applied, fit_isotonic, fit_platt, fit_temperature
from trainyard_trainer.learning.thresholds import EVEN, threshold_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.model.dto import Calibration as Curve
    from trainyard.model.dto import FloatArray

    Fit = Callable[[npt.NDArray[Any], FloatArray], Curve | None]

#: Rows from which probabilities are calibrated, by task, and from which by an isotonic curve, which bends to anything.
LEAST_ROWS = {"binary": 3_000, "multiclass": 500}
ISOTONIC_ROWS = 5_000
#: Rows from which a threshold is tuned: fewer leave too few steps to choose between.
THRESHOLD_ROWS = 200
#: Standard errors of the paired difference that a change must gain; the gate's bootstrap tells them of a threshold's.
_MARGIN = 2.0
#: Parts of the rows: a curve is judged on each by what the others say.
_PARTS = 5


@dataclass(frozen=True)
class Calibration:
    """What is put behind the probabilities: None and 0.5 leave them as they are."""

    curve: Curve | None = None
    threshold: float = EVEN

    def described(self) -> dict[str, Any]:
        """Return it as a lineage has it."""
        return {"calibration": _described(self.curve), "threshold": self.threshold}

    @staticmethod
    def of(choice: Mapping[str, Any]) -> Calibration:
        """Return what a lineage describes.

        Raises:
            KeyError, TypeError: it is described otherwise than this release does.
        """
        given = choice["calibration"]
        curve = None if given is None else _CURVES[given["kind"]](**{n: v for n, v in given.items() if n != "kind"})
        return Calibration(curve, choice["threshold"])


_CURVES: Mapping[str, Callable[..., Curve]] = {"temperature": Temperature, "platt": Platt, "isotonic": Isotonic}


def _described(curve: Curve | None) -> dict[str, Any] | None:
    if isinstance(curve, Temperature):
        return {"kind": "temperature", "temperature": curve.temperature}
    if isinstance(curve, Platt):
        return {"kind": "platt", "slope": curve.slope, "intercept": curve.intercept}
    return None if curve is None else {"kind": "isotonic", "at": curve.at.tolist(), "to": curve.to.tolist()}


def calibrate(
    task: str, labels: npt.NDArray[Any], answers: FloatArray, metric: str, *, drifting: bool = False
) -> Calibration:
    """Return the curve and threshold for a model that gave these out-of-sample answers.

    Args:
        task: binary, multiclass or regression; the last has neither.
        labels: shape (rows,), class indexes.
        answers: probabilities (rows, classes) before calibration.
        metric: the policy's.
        drifting: the rows are of a time that will not come back: no curve, which would follow a season.
    """
    if task == "regression":
        return Calibration()
    curve = None if drifting else fit_curve(task, labels, answers)
    return Calibration(curve, fit_threshold(task, metric, labels, applied(task, answers, curve)))


def fit_curve(task: str, labels: npt.NDArray[Any], answers: FloatArray) -> Curve | None:
    """Return the calibration of least log-loss on rows that it was not fitted on, None where that is noise.

    Temperature, Platt, isotonic: each has to beat the best of those before it by more than noise, row by row.
    """
    if len(labels) < LEAST_ROWS[task]:
        return None
    fits: list[Fit] = [lambda truth, given: fit_temperature(task, truth, given)]
    if task == "binary":
        fits += [fit_platt, *([fit_isotonic] if len(labels) >= ISOTONIC_ROWS else [])]
    best, least = None, row_losses(task, labels, answers)
    for fit in fits:
        curve, losses = fit(labels, answers), _losses_elsewhere(fit, task, labels, answers)
        if curve is not None and losses is not None and _more_than_noise(least - losses):
            best, least = curve, losses
    return best


def _losses_elsewhere(fit: Fit, task: str, labels: npt.NDArray[Any], answers: FloatArray) -> FloatArray | None:
    """Return each row's loss by a curve fitted on the other parts; None where a part has none."""
    part = np.random.default_rng(0).permutation(len(labels)) % _PARTS
    losses = np.empty(len(labels))
    for number in range(_PARTS):
        inside = part == number
        curve = fit(labels[~inside], answers[~inside])
        if curve is None:
            return None
        losses[inside] = row_losses(task, labels[inside], applied(task, answers[inside], curve))
    return losses


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


def _more_than_noise(gains: FloatArray) -> bool:
    """Tell whether the mean of paired gains is above some standard errors of it."""
    return bool(gains.mean() > _MARGIN * gains.std(ddof=1) / np.sqrt(len(gains)))
