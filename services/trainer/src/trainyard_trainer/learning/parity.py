"""The exported model held against what trained it: each member on rows of the fit, the whole on the hold-out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model import Isotonic, Platt
from trainyard.model.features import matrix
from trainyard_trainer.domain import ParityError

if TYPE_CHECKING:
    from trainyard.model import Predictor
    from trainyard.model.dto import Calibration as Curve
    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.calibration import Calibration
    from trainyard_trainer.learning.fitting import Fitted
    from trainyard_trainer.learning.table import Table

#: Largest difference between the library's answer and the exported member's.
PARITY = 1e-9
#: The same of the finished model on the hold-out, where the differences of members and of what is done to them add up.
HOLDOUT_PARITY = 1e-6
_ROWS_AT_ONCE = 16_384
_TINY = 1e-15  # where probabilities are cut before a logarithm, as docs/model-format.md says


def check_parity(fitted: Fitted, predictor: Predictor, table: Table) -> float:
    """Hold the exported pipeline against the library on real rows, and on the same rows with nothing known.

    The second half of the rows has every value missing or, in turns, every category unseen.

    Returns:
        The largest difference, for values beyond 1 relative.

    Raises:
        ParityError: an answer differs by more than 1e-9 (for values beyond 1: relative).
    """
    rows = _with_strangers(table)
    ours = predictor.predict_columns(rows.columns)
    x = np.ascontiguousarray(matrix(fitted.pipeline.steps, rows.columns, rows.rows).T)
    theirs = fitted.answer(x)
    apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    if ours.shape != theirs.shape or not (apart <= PARITY).all():
        raise ParityError(
            f"the exported model differs from the trained one by {apart.max():.3g}; {PARITY:g} is allowed"
        )
    return float(apart.max())


@dataclass(frozen=True, eq=False)
class Trained:
    """The finished model as those answer that trained it: the libraries' members, with their weights and calibration.

    Nothing of the model format has a part in it but the matrix that a member was fitted on.
    """

    fits: tuple[Fitted, ...]
    weights: tuple[float, ...]
    calibration: Calibration

    def answers(self, table: Table) -> FloatArray:
        """Return probabilities (rows, classes) or values (rows,)."""
        return _curved(self.blended(table), self.calibration.curve)

    def blended(self, table: Table) -> FloatArray:
        """Return the same before calibration."""
        starts = range(0, table.rows, _ROWS_AT_ONCE)
        parts = [table.take(np.arange(at, min(table.rows, at + _ROWS_AT_ONCE))) for at in starts]
        return np.concatenate([self._blended(part) for part in parts])

    def _blended(self, table: Table) -> FloatArray:
        each = [
            fitted.answer(np.ascontiguousarray(matrix(fitted.pipeline.steps, table.columns, table.rows).T))
            for fitted in self.fits
        ]
        return np.average(each, axis=0, weights=self.weights)


def _curved(p: FloatArray, curve: Curve | None) -> FloatArray:
    """Return probabilities (rows, classes), or values, with the curve behind them: docs/model-format.md in numpy."""
    if curve is None:
        return p
    if isinstance(curve, Isotonic):
        second = np.interp(p[:, 1], curve.at.numpy, curve.to.numpy)
        return np.column_stack([1.0 - second, second])
    p = np.clip(p, _TINY, 1.0 - _TINY)
    slope, intercept = (curve.slope, curve.intercept) if isinstance(curve, Platt) else (1.0 / curve.temperature, 0.0)
    if p.shape[1] == 2:  # the format knows the second class's probability alone
        with np.errstate(over="ignore"):  # of the exponential: the probability is 0 then
            second = 1.0 / (1.0 + np.exp(-(slope * np.log(p[:, 1] / (1.0 - p[:, 1])) + intercept)))
        return np.column_stack([1.0 - second, second])
    powers = p**slope
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def check_holdout(trained: Trained, table: Table, answers: FloatArray, decided: npt.NDArray[Any]) -> float:
    """Hold the finished model against the training libraries on the hold-out, before it is published.

    Args:
        trained: how the libraries answer.
        table: the hold-out's rows; one at least.
        answers: what the model answers to them: probabilities (rows, classes) or values (rows,).
        decided: the class indexes (rows,) that it decides for; without classes not looked at.

    Returns:
        The largest difference, for values beyond 1 relative.

    Raises:
        ParityError: an answer differs by more than 1e-6, or another class is decided for where that is no tie.
    """
    blended = trained.blended(table)
    theirs = _curved(blended, trained.calibration.curve)
    if answers.shape != theirs.shape:
        raise ParityError(f"on the hold-out the model answers in shape {answers.shape}, the trained one {theirs.shape}")
    if isinstance(trained.calibration.curve, Isotonic):
        theirs = _nearest(answers, theirs, blended, trained.calibration.curve)
    apart = np.abs(answers - theirs) / np.maximum(1.0, np.abs(theirs))
    if not (apart <= HOLDOUT_PARITY).all():
        raise ParityError(
            f"on the hold-out the finished model differs from the trained one by {apart.max():.3g} in"
            f" {np.count_nonzero(~(apart <= HOLDOUT_PARITY))} of {apart.size} answers; {HOLDOUT_PARITY:g} is allowed"
        )
    if answers.ndim == 2:
        _check_decisions(theirs, decided, trained.calibration.threshold)
    return float(apart.max())


def _nearest(answers: FloatArray, theirs: FloatArray, blended: FloatArray, curve: Isotonic) -> FloatArray:
    """Return their answers, where those are far from ours the nearest that members as near as PARITY could have given.

    Between two points that all but touch the curve is so steep that the last bits of a probability decide.
    """
    low, high = (_curved(blended + shift, curve)[:, 1] for shift in (-PARITY, PARITY))
    second = np.clip(answers[:, 1], low, high)
    far = np.abs(answers - theirs).max(axis=1) > HOLDOUT_PARITY
    return np.where(far[:, None], np.column_stack([1.0 - second, second]), theirs)


def _check_decisions(theirs: FloatArray, decided: npt.NDArray[Any], threshold: float) -> None:
    """Refuse a class that the trained model's probabilities do not decide for by a margin that is no rounding."""
    if theirs.shape[1] == 2:
        margin = np.where(decided == 1, theirs[:, 1] - threshold, threshold - theirs[:, 1])
    else:
        margin = theirs[np.arange(len(theirs)), decided] - theirs.max(axis=1)
    wrong = np.count_nonzero(margin < -HOLDOUT_PARITY)
    if wrong:
        raise ParityError(
            f"on the hold-out the finished model decides otherwise than the trained one in {wrong} row(s)"
        )


def _with_strangers(table: Table) -> Table:
    columns = {}
    for column in table.schema.features:
        values = table.columns[column.name]
        strange = values.copy()
        if values.dtype == object:
            strange[::2], strange[1::2] = None, "\x7fa level that nobody has seen"
        elif values.dtype.kind == "M":
            strange[:] = np.datetime64("NaT", "us")
        else:
            strange[::2] = np.nan
        columns[column.name] = np.concatenate([values, strange])
    return replace(table, columns=columns)
