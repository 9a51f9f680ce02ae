"""Answers to single rows in plain Python: what is done for each column costs less than a call of numpy would.

The same operations in the same order as :mod:`trainyard.model.batches`, so the same bits. Linear models and trees,
alone or blended, need no numpy at all; a process that has it gives scorers for what is faster with it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import groupby
from operator import itemgetter

from trainyard.model.dto import Blend, Isotonic, Linear, NeuralNetwork, Platt
from trainyard.model.elementary import TINY, exp_of, log_of
from trainyard.model.moments import part_of
from trainyard.model.single_trees import Walk
from trainyard.model.steps import IsMissing, Number, OneHot, Pair, Quantile, TableEncoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from trainyard.model.arrays import Array
    from trainyard.model.dto import Calibration, Estimator, Model, Pipeline
    from trainyard.model.steps import DateParts, Step

    Row = Mapping[str, Any]
    Filler = Callable[[Row, list[float]], None]
    Scorer = Callable[[list[float]], list[float]]

_NAN = math.nan


def can_answer(model: Model) -> bool:
    """Tell whether the model is of the kinds that this module scores without numpy."""
    return not any(isinstance(member.estimator, NeuralNetwork) for member in model.members)


class Single:
    """A model that answers rows one by one.

    ``scorers``: for each member the function from a row of its matrix to scores, or None for the one in plain Python.
    """

    def __init__(self, model: Model, scorers: Sequence[Scorer | None] | None = None) -> None:
        self._model = model
        given = scorers or [None] * len(model.members)
        self._members = [_Member(model, *member) for member in zip(model.members, given, strict=True)]
        self._only = self._members[0] if len(self._members) == 1 else None
        self._weights = model.pipeline.weights.tolist() if isinstance(model.pipeline, Blend) else [1.0]

    def outputs(self, columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[list[float]]:
        """Return probabilities (rows, classes) or values (rows, 1), some of them perhaps not finite."""
        names = list(columns)
        rows = zip(*columns.values(), strict=True) if names else [()] * n_rows
        return [self.answer(dict(zip(names, values, strict=True))) for values in rows]

    def answer(self, row: Row) -> list[float]:
        """Return the probabilities (classes,) or value (1,) of one row, some of them perhaps not finite."""
        if self._only is not None:
            return self._settled(self._only.output(row))
        total = [0.0] * self._model.n_outputs
        for member, weight in zip(self._members, self._weights, strict=True):
            total = [t + weight * o for t, o in zip(total, member.output(row), strict=True)]
        return self._settled(total)

    def _settled(self, output: list[float]) -> list[float]:
        if self._model.task == "regression":
            return output
        given = _calibrated(output, self._model.calibration)
        return [1.0 - given[0], given[0]] if self._model.task == "binary" else given


class _Member:
    """One pipeline."""

    def __init__(self, model: Model, pipeline: Pipeline, scorer: Scorer | None) -> None:
        self._task = model.task
        self._fillers = _fillers(pipeline.steps)
        self._kind = pipeline.estimator.output
        self._scores = scorer or _scorer(pipeline.estimator)

    def output(self, row: Row) -> list[float]:
        """Return the K probabilities or values of a row."""
        x: list[float] = []
        for fill in self._fillers:
            fill(row, x)
        scores = self._scores(x)
        if self._kind == "sigmoid":
            return [_sigmoid(scores[0])]
        if self._kind == "softmax":
            return _softmax(scores)
        if self._kind == "exp":
            return [exp_of(score) for score in scores]
        if self._task == "regression":
            return scores
        cut = [_cut(score, 0.0, 1.0) for score in scores]
        return cut if self._task == "binary" else _normalised(cut)


def _scorer(estimator: Estimator) -> Scorer:
    if not isinstance(estimator, Linear):
        assert not isinstance(estimator, NeuralNetwork)  # noqa: S101 - can_answer() was asked
        return Walk(estimator).scores
    weights, bias = estimator.weights.tolist(), estimator.bias.tolist()
    if len(bias) > 1:
        return lambda x: _affine(x, weights, bias)
    column = [row[0] for row in weights]
    return lambda x: [_product(x, column, bias[0])]


def _product(x: list[float], weights: list[float], total: float) -> float:
    for value, weight in zip(x, weights, strict=True):
        total += value * weight
    return total


def _affine(x: list[float], weights: list[list[float]], bias: list[float]) -> list[float]:
    total = list(bias)
    for value, row in zip(x, weights, strict=True):
        total = [t + value * weight for t, weight in zip(total, row, strict=True)]
    return total


# --- from scores to answers --------------------------------------------------------------------------------------


def _cut(value: float, low: float, high: float) -> float:
    """Return the value within bounds; NaN stays NaN."""
    return low if value < low else (high if value > high else value)


def _sigmoid(z: float) -> float:
    small = exp_of(-abs(z))
    return (1.0 if z >= 0 else small) / (1.0 + small)


def _softmax(z: list[float]) -> list[float]:
    most = max(z)
    e = [exp_of(value - most) for value in z]
    total = _sum(e)
    return [value / total for value in e]


def _normalised(p: list[float]) -> list[float]:
    total = _sum(p)
    return [1.0 / len(p) if total == 0 else value / total for value in p]


def _sum(values: list[float]) -> float:
    """Return the sum, added in order (the builtin one compensates rounding from Python 3.12 on)."""
    total = values[0]
    for value in values[1:]:
        total += value
    return total


def _calibrated(p: list[float], calibration: Calibration | None) -> list[float]:
    if calibration is None:
        return p
    if isinstance(calibration, Isotonic):
        return [_interpolated(value, calibration.at.tolist(), calibration.to.tolist()) for value in p]
    p = [_cut(value, TINY, 1.0 - TINY) for value in p]
    if isinstance(calibration, Platt):
        return [_sigmoid((log_of(p[0]) - log_of(1.0 - p[0])) * calibration.slope + calibration.intercept)]
    if len(p) == 1:
        return [_sigmoid((log_of(p[0]) - log_of(1.0 - p[0])) / calibration.temperature)]
    return _softmax([log_of(value) / calibration.temperature for value in p])


def _interpolated(x: float, at: list[float], to: list[float]) -> float:
    if x <= at[0]:
        return to[0]
    if x >= at[-1]:
        return to[-1]
    if x != x:  # noqa: PLR0124 - NaN
        return x
    left = bisect_right(at, x) - 1
    return to[left] + (x - at[left]) * ((to[left + 1] - to[left]) / (at[left + 1] - at[left]))


# --- steps: each a function that appends its matrix columns of a row -----------------------------------------------


def _fillers(steps: Sequence[Step]) -> list[Filler]:
    """Return what fills the matrix columns of all steps; plain numbers that follow each other go together."""
    fillers: list[Filler] = []
    for plain, run in groupby(steps, _is_plain):
        together = list(run)
        fillers += [_plain(together)] if plain else map(_filler, together)
    return fillers


def _is_plain(step: Step) -> bool:
    return isinstance(step, Number) and step.transform != "log" and step.clip is None


def _plain(steps: Sequence[Any]) -> Filler:
    """Return the filler of numbers that are imputed, centred and scaled, or not even that."""
    names = [step.column for step in steps]
    imputed = [_NAN if step.impute is None else step.impute for step in steps]
    settled = list(zip(names, imputed, [s.center for s in steps], [s.scale for s in steps], strict=True))

    def settle(row: Row, x: list[float]) -> None:
        x += [
            ((missing if (value := row[name]) is None else float(value)) - center) / scale
            for name, missing, center, scale in settled
        ]

    if len(names) == 1 or any(step.center != 0 or step.scale != 1 for step in steps):
        return settle
    take = itemgetter(*names)

    def copy(row: Row, x: list[float]) -> None:
        values = take(row)
        if None in values:
            values = [m if value is None else value for value, m in zip(values, imputed, strict=True)]
        x += map(float, values)

    return copy


def _filler(step: Step) -> Filler:
    if isinstance(step, Number):
        return lambda row, x: x.append(_settled(step, _transformed(step, row[step.column])))
    if isinstance(step, Quantile):
        return _quantile(step)
    if isinstance(step, Pair):
        return lambda row, x: x.append(_settled(step, _combined(step, row[step.left], row[step.right])))
    if isinstance(step, IsMissing):
        return lambda row, x: x.append(1.0 if row[step.column] is None else 0.0)
    if isinstance(step, OneHot):
        return _one_hot(step)
    return _table(step) if isinstance(step, TableEncoding) else _dates(step)


def _transformed(step: Number, value: float | None) -> float:
    if value is None:
        return _NAN
    value = float(value)
    return math.copysign(log_of(1.0 + abs(value)), value) if step.transform == "log" else value


def _combined(step: Pair, left: float | None, right: float | None) -> float:
    if left is None or right is None:
        return _NAN
    a, b = float(left), float(right)
    if step.operation == "ratio":
        return _finite(a / b) if b else _NAN
    return _finite(a - b if step.operation == "difference" else a * b)


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _NAN


def _settled(step: Number | Pair, value: float) -> float:
    if value != value and step.impute is not None:  # noqa: PLR0124 - NaN
        value = step.impute
    value = (value - step.center) / step.scale
    return value if step.clip is None else _cut(value, -step.clip, step.clip)


def _quantile(step: Quantile) -> Callable[[Row, list[float]], None]:
    at, to = step.at.tolist(), step.to.tolist()
    missing = _NAN if step.impute is None else step.impute

    def fill(row: Row, x: list[float]) -> None:
        value = row[step.column]
        x.append(missing if value is None else _interpolated(float(value), at, to))

    return fill


def _one_hot(step: OneHot) -> Callable[[Row, list[float]], None]:
    place = {level: at for at, level in enumerate(step.levels)}
    other = len(place) if step.other else None
    missing = len(place) + step.other if step.missing else None

    def fill(row: Row, x: list[float]) -> None:
        value = row[step.column]
        at = missing if value is None else place.get(value, other)
        begin = len(x)
        x.extend([0.0] * step.width)
        if at is not None:
            x[begin + at] = 1.0

    return fill


def _table(step: TableEncoding) -> Callable[[Row, list[float]], None]:
    rows = dict(zip(step.levels, step.table.tolist(), strict=True))
    unknown, missing = (_row(array, step.width) for array in (step.unknown, step.missing))

    def fill(row: Row, x: list[float]) -> None:
        value = row[step.column]
        x.extend(missing if value is None else rows.get(value, unknown))

    return fill


def _row(array: Array | None, width: int) -> list[float]:
    return [_NAN] * width if array is None else array.tolist()


def _dates(step: DateParts) -> Callable[[Row, list[float]], None]:
    impute = _row(step.impute, step.width)
    center = [0.0] * step.width if step.center is None else step.center.tolist()
    scale = [1.0] * step.width if step.scale is None else step.scale.tolist()

    def fill(row: Row, x: list[float]) -> None:
        moment = row[step.column]
        parts = impute if moment is None else [part_of(moment, part) for part in step.parts]
        x.extend((value - c) / s for value, c, s in zip(parts, center, scale, strict=True))

    return fill
