"""Columns that nothing can be learnt from: constants, identifiers, free text, and copies of other columns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model.features import is_missing
from trainyard_trainer.learning.table import count_levels
from trainyard_trainer.learning.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trainyard.schema import Column

#: Share of distinct values from which strings are identifiers or free text, and how many at least.
_ID_SHARE = 0.5
_ID_LEVELS = 50
#: Mean words and characters of a value from which distinct strings are text rather than identifiers.
_TEXT_WORDS = 3.0
_TEXT_CHARS = 40.0
#: Share of distinct whole numbers from which they may be identifiers, and how many rows it takes to say so.
_NUMBER_SHARE = 0.99
_NUMBER_ROWS = 50
#: Repeats that values drawn by chance from the same range would show; far fewer means that somebody avoided them.
_EXPECTED_REPEATS = 8.0
#: Largest distance from an even spread over the range, times the root of the rows (Kolmogorov's 1 % point).
_EVEN = 1.63
_GENERATED = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})|[0-9A-HJKMNP-TV-Z]{26}",
    re.ASCII | re.IGNORECASE,
)
_LOOK = 200  # values that the form of a string, or the difference of two columns, is read off first
_SAMPLE = 10_000  # rows that show well enough that strings repeat


def useless(column: Column, values: npt.NDArray[Any]) -> Verdict | None:
    """Say why nothing can be learnt from a column, looking at all rows to learn from; None where something can."""
    if values.dtype == object:
        return _useless_strings(column.name, values)
    present = values[~is_missing(values)]
    if len(present) == 0:
        return Verdict(column.name, "constant", "it has no value at all")
    if (present == present[0]).all():
        return None if len(present) < len(values) else Verdict(column.name, "constant", "it has one value only")
    return _numbering(column.name, present, len(values)) if column.type == "int" else None


def _useless_strings(name: str, values: npt.NDArray[Any]) -> Verdict | None:
    if _repeat(values[:: max(1, len(values) // _SAMPLE)]):
        return None  # the more rows, the smaller the share of different values
    counts = count_levels(values)
    filled = len(values) - counts.pop(None, 0)
    if len(counts) < 2:
        seen = "one value only" if counts else "no value at all"
        return None if 0 < filled < len(values) else Verdict(name, "constant", f"it has {seen}")
    if len(counts) <= _ID_LEVELS or len(counts) <= _ID_SHARE * filled:
        return None
    share = len(counts) / filled
    found = f"{len(counts):,} different values in {filled:,} rows"
    some: list[str] = list(counts)[:: max(1, len(counts) // _LOOK)]
    if all(_GENERATED.fullmatch(text) for text in some):
        return Verdict(name, "id", f"UUIDs or hashes, {found}", share)
    words = sum(len(text.split()) for text in some) / len(some)
    chars = sum(map(len, some)) / len(some)
    if words >= _TEXT_WORDS or (chars >= _TEXT_CHARS and words > 1):
        return Verdict(name, "text", f"free text, about {words:.0f} words each, {found}", share)
    return Verdict(name, "id", f"an identifier, {found}", share)


def _repeat(values: npt.NDArray[Any]) -> bool:
    """Tell whether there are several strings, each twice or more on average."""
    counts = count_levels(values)
    filled = len(values) - counts.pop(None, 0)
    return 1 < len(counts) <= _ID_SHARE * filled


def _numbering(name: str, present: npt.NDArray[Any], rows: int) -> Verdict | None:
    """Recognise whole numbers that name rows: counted up, kept from repeating, or spread evenly like hashes.

    A measurement in whole units repeats, or crowds where it is common: that its values differ is not enough.
    """
    steps = np.diff(present)
    if len(present) == rows > 2 and ((steps > 0).all() or (steps < 0).all()):
        return Verdict(name, "id", "it numbers the rows", 1.0)
    ordered = np.sort(present)
    distinct = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    share = len(distinct) / len(present)
    if len(present) < _NUMBER_ROWS or share < _NUMBER_SHARE:
        return None
    span = float(distinct[-1]) - float(distinct[0]) + 1.0
    by_chance = len(present) ** 2 / (2.0 * span)
    found = f"{len(distinct):,} different whole numbers in {len(present):,} rows"
    if by_chance >= _EXPECTED_REPEATS and len(present) - len(distinct) < by_chance / 4.0:
        return Verdict(name, "id", f"an identifier, {found}", share)
    even = np.abs((distinct - distinct[0]) / span - np.linspace(0.0, 1.0, len(distinct))).max()
    if even * np.sqrt(len(distinct)) < _EVEN:
        return Verdict(name, "id", f"an identifier, {found}, spread evenly", share)
    return None


def copies(columns: Iterable[Column], values: Mapping[str, npt.NDArray[Any]]) -> list[Verdict]:
    """Name the columns that hold, row for row, what an earlier one of ``columns`` holds."""
    alike: dict[tuple[Any, ...], list[str]] = {}
    found = []
    for column in columns:
        own = values[column.name]
        some = own[:: max(1, len(own) // _LOOK)].astype(object)
        some[is_missing(own[:: max(1, len(own) // _LOOK)])] = None
        key = (own.dtype, *some.tolist())
        originals = alike.setdefault(key, [])
        original = next((name for name in originals if _same(values[name], own)), None)
        if original is None:
            originals.append(column.name)
        else:
            found.append(Verdict(column.name, "duplicate", f"the same as the column '{original}'"))
    return found


def _same(values: npt.NDArray[Any], others: npt.NDArray[Any]) -> bool:
    if values.dtype == object:
        return bool(values.tolist() == others.tolist())
    return bool(np.array_equal(values, others, equal_nan=True))
