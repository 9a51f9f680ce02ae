"""One way to part rows by a column: levels of categories and flags, ranges of numbers, months of dates. Pure numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.metrics.plain import name

if TYPE_CHECKING:
    from collections.abc import Mapping

FloatArray = npt.NDArray[np.float64]
MISSING = "missing"
#: More levels of one column than these are not looked at: the most frequent are, and of months the latest.
_MOST_LEVELS, _MOST_MONTHS = 20, 24
_MOST_COLUMNS = 200
_RANGES = 5
#: A text with more distinct values is no category: its levels are single rows.
_MOST_TEXT_LEVELS = 50
#: Rows that the ends of ranges are found from.
_EDGE_ROWS = 10_000


@dataclass(frozen=True, eq=False)
class Cut:
    """One column's way to part the rows: each row's part (an index into ``levels``, in words; -1: none)."""

    column: str
    levels: tuple[str, ...]
    parts: npt.NDArray[np.int64]


def cuts_of(kinds: Mapping[str, str], values: Mapping[str, npt.NDArray[Any]]) -> list[Cut]:
    """Return the cuts of a table, at most one for each of the first 200 columns.

    Args:
        kinds: each column's type by name, as a schema names it.
        values: its cells, shape (rows,): numbers (NaN: missing), datetime64 (NaT) or objects (None).
    """
    cuts = []
    for column, kind in list(kinds.items())[:_MOST_COLUMNS]:
        words, parts, missing = _parted(kind, values[column])
        parts[missing] = len(words)
        if words or missing.any():
            cuts.append(Cut(column, (*words, MISSING), parts))
    return cuts


def by_part(cut: Cut, values: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray, FloatArray]:
    """Return of each part the number of rows, the mean of ``values`` (rows,) and its standard error (0 for one row)."""
    inside, count = cut.parts >= 0, len(cut.levels)
    parts, given = cut.parts[inside], values[inside]
    rows = np.bincount(parts, minlength=count)
    safe = np.maximum(rows, 1)
    means = np.bincount(parts, given, count) / safe
    spread = np.bincount(parts, (given - means[parts]) ** 2, count)
    return rows, means, np.sqrt(spread / np.maximum(rows - 1, 1) / safe)


def _parted(kind: str, values: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the parts in words, each row's part, and which rows are missing."""
    if values.dtype == object:
        return _by_level(kind, values)
    if values.dtype.kind == "M":
        return _by_month(values)
    numbers = values.astype(np.float64)
    missing = np.isnan(numbers)
    if kind == "bool":
        return ["true", "false"], np.where(numbers == 1, 0, 1), missing
    return (*_by_range(numbers, missing), missing)


def _by_level(kind: str, values: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    codes: dict[Any, int] = {None: 0}
    coded = np.fromiter((codes.setdefault(value, len(codes)) for value in values.tolist()), np.int64, len(values))
    counts = np.bincount(coded, minlength=len(codes))
    levels = sorted(codes, key=lambda level: (-counts[codes[level]], str(level)))
    levels.remove(None)
    if kind == "text" and len(levels) > _MOST_TEXT_LEVELS:
        return [], np.full(len(values), -1, dtype=np.int64), np.zeros(len(values), dtype=np.bool_)
    place = np.full(len(codes), -1, dtype=np.int64)
    shown = levels[:_MOST_LEVELS]
    place[[codes[level] for level in shown]] = np.arange(len(shown))
    return [f"= {name(level)}" for level in shown], place[coded], coded == 0


def _by_month(values: npt.NDArray[Any]) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    missing = np.isnat(values)
    months, inverse = np.unique(values.astype("datetime64[M]"), return_inverse=True)
    months = months[~np.isnat(months)]
    first = max(0, len(months) - _MOST_MONTHS)
    return [str(month) for month in months[first:]], np.maximum(inverse - first, -1).astype(np.int64), missing


def _by_range(numbers: FloatArray, missing: npt.NDArray[np.bool_]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return ranges of about as many rows each; of few distinct values each by itself."""
    present = numbers[~missing]
    some = present[:: max(1, len(present) // _EDGE_ROWS)]
    distinct = np.unique(some)
    if len(distinct) <= _RANGES:
        place = np.minimum(np.searchsorted(distinct, numbers), max(0, len(distinct) - 1))
        same = distinct[place] == numbers if len(distinct) else np.zeros(len(numbers), dtype=np.bool_)
        return [f"= {value:g}" for value in distinct.tolist()], np.where(same, place, -1)
    inner = np.unique(np.quantile(some, np.linspace(0.0, 1.0, _RANGES + 1)[1:-1], method="lower"))
    words = []
    for low, high in pairwise([-math.inf, *inner.tolist(), math.inf]):
        middle = f"{low:g} < x ≤ {high:g}" if high < math.inf else f"> {low:g}"
        words.append(f"≤ {high:g}" if low == -math.inf else middle)
    return words, np.searchsorted(inner, numbers)
