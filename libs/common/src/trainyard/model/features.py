"""Preprocessing: named columns in, the float64 matrix of a pipeline out, feature-major: shape (D, rows).

A column is a list of clean values (as ``schema.check_value`` gives them, None = missing) or a numpy array: numbers
(NaN = missing), ``datetime64`` (NaT = missing), or objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model.elementary_arrays import cosine, log, sine
from trainyard.model.estimators import interpolated
from trainyard.model.moments import DAY_US, ticks_of
from trainyard.model.steps import DateParts, IsMissing, Number, OneHot, Pair, Quantile, Step, TableEncoding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.model.dto import FloatArray

    Column = Sequence[Any] | npt.NDArray[Any]

_NAT = np.iinfo(np.int64).min  # how numpy stores NaT
_MISSING, _UNKNOWN = -2, -1


def matrix(steps: Sequence[Step], columns: Mapping[str, Column], n_rows: int) -> FloatArray:
    """Return the matrix columns of ``steps``, shape (D, n_rows), C-contiguous.

    Raises:
        KeyError: a column that a step reads is not there.
    """
    out = np.empty((sum(step.width for step in steps), n_rows))
    at = 0
    for step in steps:
        _fill(step, [columns[name] for name in step.columns], out[at : at + step.width])
        at += step.width
    return out


def _fill(step: Step, given: Sequence[Column], out: FloatArray) -> None:
    column = given[0]
    if isinstance(step, Number):
        values = numbers(column)
        out[0] = np.copysign(log(1.0 + np.abs(values)), values) if step.transform == "log" else values
        _settle(step, out[0])
    elif isinstance(step, Quantile):
        out[0] = interpolated(numbers(column), step.at.numpy, step.to.numpy)
        _impute(step.impute, out[0])
    elif isinstance(step, Pair):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # what is not finite is missing
            out[0] = _OPERATIONS[step.operation](numbers(column), numbers(given[1]))
        np.copyto(out[0], np.nan, where=~np.isfinite(out[0]))
        _settle(step, out[0])
    elif isinstance(step, IsMissing):
        out[0] = is_missing(column)
    elif isinstance(step, OneHot):
        _fill_one_hot(step, column, out)
    elif isinstance(step, TableEncoding):
        codes = level_codes(step.levels, column)
        # the codes -1 (unknown) and -2 (missing) index from behind
        missing, unknown = (np.full(step.width, np.nan) if a is None else a.numpy for a in (step.missing, step.unknown))
        table = np.vstack([step.table.numpy, missing, unknown])
        np.take(table, codes, axis=0, out=out.T, mode="wrap")
    else:
        _fill_date_parts(step, column, out)


_OPERATIONS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "ratio": np.divide,
    "difference": np.subtract,
    "product": np.multiply,
}


def _settle(step: Number | Pair, out: FloatArray) -> None:
    """Impute, centre, scale and cut the values, in place."""
    _impute(step.impute, out)
    out -= step.center
    out /= step.scale
    if step.clip is not None:
        np.clip(out, -step.clip, step.clip, out=out)


def _impute(value: float | None, out: FloatArray) -> None:
    if value is not None:
        np.copyto(out, value, where=np.isnan(out))


def _fill_one_hot(step: OneHot, column: Column, out: FloatArray) -> None:
    codes = level_codes(step.levels, column)
    out[:] = 0.0
    at = len(step.levels)
    known = np.flatnonzero(codes >= 0)
    out[codes[known], known] = 1.0
    if step.other:
        out[at] = codes == _UNKNOWN
        at += 1
    if step.missing:
        out[at] = codes == _MISSING


def _fill_date_parts(step: DateParts, column: Column, out: FloatArray) -> None:
    moments = microseconds(column)
    missing = np.isnat(moments)
    parts = calendar(np.where(missing, np.datetime64(0, "us"), moments), step.parts)
    for index, values in enumerate(parts):
        out[index] = np.where(missing, np.nan if step.impute is None else step.impute.numpy[index], values)
    if step.center is not None:
        out -= step.center.numpy[:, None]
    if step.scale is not None:
        out /= step.scale.numpy[:, None]


# --- one column as an array --------------------------------------------------------------------------------------


def numbers(column: Column) -> FloatArray:
    """Return the column as float64, NaN where missing."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.astype(np.float64)
    return np.array(column, dtype=np.float64)  # of None numpy makes NaN


def is_missing(column: Column) -> npt.NDArray[np.bool_]:
    """Return where the column is None, NaN or NaT."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fM":
        return np.asarray(np.isnat(column) if column.dtype.kind == "M" else np.isnan(column))
    return np.fromiter((v is None or v != v for v in column), dtype=np.bool_, count=len(column))  # noqa: PLR0124


def level_codes(levels: Sequence[str], column: Column) -> npt.NDArray[np.int64]:
    """Return the position of each value in ``levels``; -1 for a level not in it, -2 for a missing value."""
    codes: dict[Any, int] = {level: code for code, level in enumerate(levels)}
    codes[None] = _MISSING
    values = column.tolist() if isinstance(column, np.ndarray) else column
    # NaN is how pandas spells a missing string
    found = (codes.get(v, _UNKNOWN) if type(v) is not float or v == v else _MISSING for v in values)  # noqa: PLR0124
    return np.fromiter(found, dtype=np.int64, count=len(values))


def microseconds(column: Column) -> npt.NDArray[np.datetime64]:
    """Return dates and times as ``datetime64[us]`` in UTC, NaT where missing."""
    if isinstance(column, np.ndarray) and column.dtype.kind == "M":
        return column.astype("datetime64[us]")
    ticks = np.fromiter((_NAT if v is None else ticks_of(v) for v in column), dtype=np.int64, count=len(column))
    return np.asarray(ticks.view("datetime64[us]"))


def calendar(moments: npt.NDArray[np.datetime64], parts: Sequence[str]) -> list[FloatArray]:
    """Return the named parts of ``moments`` (none missing), each a float64 array."""
    ticks = moments.view(np.int64)
    days = ticks // DAY_US
    as_days = days.astype("datetime64[D]")
    month_start = as_days.astype("datetime64[M]")
    year_start = as_days.astype("datetime64[Y]")
    month = month_start.astype(np.int64) % 12
    weekday = (days + 3) % 7
    second_of_day = (ticks - days * DAY_US) / 1e6

    def of(part: str) -> FloatArray:
        name, _, wave = part.rpartition("_")
        if wave in ("sin", "cos"):
            turn = {"month": month / 12, "weekday": weekday / 7, "hour": second_of_day / 86_400}[name]
            return sine(turn) if wave == "sin" else cosine(turn)
        plain: dict[str, Callable[[], npt.NDArray[Any]]] = {
            "year": lambda: year_start.astype(np.int64) + 1970,
            "month": lambda: month + 1,
            "day": lambda: (as_days - month_start).astype(np.int64) + 1,
            "weekday": lambda: weekday,
            "day_of_year": lambda: (as_days - year_start).astype(np.int64) + 1,
            "hour": lambda: second_of_day // 3600,
            "minute": lambda: second_of_day % 3600 // 60,
            "epoch_days": lambda: ticks / DAY_US,
        }
        return plain[part]().astype(np.float64)

    return [of(part) for part in parts]
