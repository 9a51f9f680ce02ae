"""How the values of a column are spread: counts in bins of equal width from the least value to the greatest. Pure.

Dates count by days and moments by seconds. A column of one value has one bin.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bins of a column with more than one value.
BINS = 20
#: Types of columns whose values have an order that can be cut into bins.
BINNED = frozenset({"int", "float", "date", "timestamp"})
#: The least value, the greatest, and the counts between them.
Part = tuple[float, float, "Sequence[int]"]


def place(kind: str, value: float | str) -> float:
    """Return where a value of a report, which has dates and moments as texts, stands among the others."""
    if kind == "date":
        return float(date.fromisoformat(str(value)).toordinal())
    return datetime.fromisoformat(str(value)).timestamp() if kind == "timestamp" else float(value)


def counted(values: Sequence[float]) -> list[int] | None:
    """Return the counts of places; None where there are none, or where they span more than a float holds."""
    if not values:
        return None
    low, high = min(values), max(values)
    if low == high:
        return [len(values)]
    if not math.isfinite(high - low):
        return None
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int((value - low) / (high - low) * BINS))] += 1
    return counts


def joined(parts: Sequence[Part]) -> Part | None:
    """Return the histogram of all parts together; None for none, or where they span more than a float holds.

    What a bin of a part holds is spread evenly over the bins that it lies in: totals are exact, places are not.
    """
    if not parts:
        return None
    low, high = min(part[0] for part in parts), max(part[1] for part in parts)
    if low == high:
        return low, high, [sum(sum(counts) for _, _, counts in parts)]
    if not math.isfinite(high - low):
        return None
    shares = [0.0] * BINS
    for begin, end, counts in parts:
        width = (end - begin) / len(counts)
        for i, count in enumerate(counts):
            if count:
                _spread(shares, count, *((at - low) / (high - low) * BINS for at in _edges(begin, width, i)))
    return low, high, _rounded(shares)


def _edges(begin: float, width: float, i: int) -> tuple[float, float]:
    return begin + i * width, begin + (i + 1) * width


def _spread(shares: list[float], count: int, begin: float, end: float) -> None:
    """Spread a count over the bins from ``begin`` to ``end``, in widths of a bin."""
    first, last = min(BINS - 1, int(begin)), min(BINS - 1, int(end))
    if first == last:
        shares[first] += count
        return
    for number in range(first, last + 1):
        shares[number] += count * (min(end, number + 1) - max(begin, number)) / (end - begin)


def _rounded(shares: Sequence[float]) -> list[int]:
    """Return whole numbers with the same sum: what rounding loses in one bin goes to the next."""
    counts, carried = [], 0.0
    for share in shares:
        counts.append(max(0, round(share + carried)))
        carried += share - counts[-1]
    return counts
