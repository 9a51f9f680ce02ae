"""What the quality reports of batches say together: exact where sums, extremes and counts can be joined."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Column, Schema


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
    }


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
