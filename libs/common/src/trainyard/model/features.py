"""Preprocessing: named columns in, the float64 matrix of a pipeline out, feature-major: shape (D, rows).

A column is a list of clean values (as ``schema.check_value`` gives them, None = missing) or a numpy array: numbers
(NaN = missing), ``datetime64`` (NaT = missing), or objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from trainyard.model.dto import DateParts, FloatArray, IsMissing, Number, OneHot, Step, TableEncoding

Column = Sequence[Any] | npt.NDArray[Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000
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
        _fill(step, columns[step.column], out[at : at + step.width])
        at += step.width
    return out


def _fill(step: Step, column: Column, out: FloatArray) -> None:
    """Write the step's columns into ``out`` (width, rows)."""
    if isinstance(step, Number):
        _fill_number(step, column, out[0])
    elif isinstance(step, IsMissing):
        out[0] = is_missing(column)
    elif isinstance(step, OneHot):
        _fill_one_hot(step, column, out)
    elif isinstance(step, TableEncoding):
        codes = level_codes(step.levels, column)
        # the codes -1 (unknown) and -2 (missing) index from behind
        table = np.vstack([step.table, step.missing, step.unknown])
        np.take(table, codes, axis=0, out=out.T, mode="wrap")
    else:
        _fill_date_parts(step, column, out)


def _fill_number(step: Number, column: Column, out: FloatArray) -> None:
    out[:] = numbers(column)
    if step.impute is not None:
        np.copyto(out, step.impute, where=np.isnan(out))
    out -= step.center
    out /= step.scale
    if step.clip is not None:
        np.clip(out, -step.clip, step.clip, out=out)


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
        out[index] = np.where(missing, np.nan if step.impute is None else step.impute[index], values)
    if step.center is not None:
        out -= step.center[:, None]
    if step.scale is not None:
        out /= step.scale[:, None]


# --- one column as an array --------------------------------------------------------------------------------------


def numbers(column: Column) -> FloatArray:
    """Return the column as float64, NaN where missing."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.astype(np.float64)
    return np.array([np.nan if v is None else v for v in column], dtype=np.float64)


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
    ticks = np.fromiter((_NAT if v is None else _ticks(v) for v in column), dtype=np.int64, count=len(column))
    return np.asarray(ticks.view("datetime64[us]"))


def _ticks(moment: date) -> int:
    """Return microseconds since 1970."""
    if isinstance(moment, datetime):
        return (moment - _EPOCH) // _MICROSECOND
    return (moment.toordinal() - 719_163) * _DAY_US


def calendar(moments: npt.NDArray[np.datetime64], parts: Sequence[str]) -> list[FloatArray]:
    """Return the named parts of ``moments`` (none missing), each a float64 array."""
    ticks = moments.view(np.int64)
    days = ticks // _DAY_US
    as_days = days.astype("datetime64[D]")
    month_start = as_days.astype("datetime64[M]")
    year_start = as_days.astype("datetime64[Y]")
    month = month_start.astype(np.int64) % 12
    weekday = (days + 3) % 7
    second_of_day = (ticks - days * _DAY_US) / 1e6

    def of(part: str) -> FloatArray:
        name, _, wave = part.rpartition("_")
        if wave in ("sin", "cos"):
            turn = {"month": month / 12, "weekday": weekday / 7, "hour": second_of_day / 86_400}[name]
            angle = 2 * np.pi * turn
            return np.asarray(np.sin(angle) if wave == "sin" else np.cos(angle), dtype=np.float64)
        plain: dict[str, Callable[[], npt.NDArray[Any]]] = {
            "year": lambda: year_start.astype(np.int64) + 1970,
            "month": lambda: month + 1,
            "day": lambda: (as_days - month_start).astype(np.int64) + 1,
            "weekday": lambda: weekday,
            "day_of_year": lambda: (as_days - year_start).astype(np.int64) + 1,
            "hour": lambda: second_of_day // 3600,
            "minute": lambda: second_of_day % 3600 // 60,
            "epoch_days": lambda: ticks / _DAY_US,
        }
        return plain[part]().astype(np.float64)

    return [of(part) for part in parts]
