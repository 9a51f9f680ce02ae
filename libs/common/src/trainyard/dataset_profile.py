"""What the quality reports of batches say together: exact where sums, extremes and counts can be joined."""

from __future__ import annotations

import collections
import math
from typing import TYPE_CHECKING, Any

from trainyard.histogram import BINNED, joined, place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Column, Schema

#: Levels of a category column that a profile names.
_TOP = 10


def merged(schema: Schema, reports: Sequence[Mapping[str, Any]], levels: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return one entry for each column of the schema.

    Args:
        reports: as ``core.batch.report`` holds them, in any order; a column that a report does not have was added
            later, so all rows of that batch lack it.
        levels: how many levels are known of each category column.
    """
    return [_column(column, reports, levels.get(column.name, 0)) for column in schema.columns]


def _column(column: Column, reports: Sequence[Mapping[str, Any]], levels: int) -> dict[str, Any]:
    parts = [(report, _part(report, column.name)) for report in reports]
    nulls = sum(report["seen"] if part is None else part["nulls"] or 0 for report, part in parts)
    seen = [(report["seen"] - (part["nulls"] or 0), part) for report, part in parts if part is not None]
    mean, std = _moments([(n, part["mean"], part["std"]) for n, part in seen if part["mean"] is not None])
    return {
        "name": column.name,
        "type": column.type,
        "role": column.role,
        "nullable": column.nullable,
        "nulls": nulls,
        "min": min((part["min"] for _, part in seen if part["min"] is not None), default=None),
        "max": max((part["max"] for _, part in seen if part["max"] is not None), default=None),
        "mean": mean,
        "std": std,
        "levels": levels if column.type == "category" else None,
        "histogram": _histogram(column, [part for _, part in seen]),
        "top": _top([part for _, part in seen]) if column.type == "category" else None,
    }


def _histogram(column: Column, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the counts in bins, from the least value to the greatest of the reports that have any."""
    told = [part for part in parts if part.get("bins") and part["min"] is not None]
    if column.type not in BINNED or not told:
        return None
    together = joined(
        [(place(column.type, part["min"]), place(column.type, part["max"]), part["bins"]) for part in told]
    )
    if together is None:
        return None
    return {"low": min(p["min"] for p in told), "high": max(p["max"] for p in told), "counts": list(together[2])}


def _top(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the most frequent levels, as far as the reports have them among their own."""
    counts: collections.Counter[str] = collections.Counter()
    for part in parts:
        for one in part.get("levels") or ():
            counts[one["level"]] += one["rows"]
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"level": level, "rows": rows} for level, rows in ordered[:_TOP]]


def _part(report: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    return next((part for part in report["columns"] if part["name"] == name), None)


def _moments(parts: Sequence[tuple[int, float, float | None]]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation of all values from those of the parts; (n, mean, std) each."""
    count = sum(n for n, _, _ in parts)
    if count == 0:
        return None, None
    mean = math.fsum(n / count * m for n, m, _ in parts)
    if count == 1:
        return mean, None
    squares = sum((n - 1) * (s or 0.0) * (s or 0.0) + n * (m - mean) * (m - mean) for n, m, s in parts)
    std = math.sqrt(squares / (count - 1))
    return mean, std if math.isfinite(std) else None
