"""The rows that a model carries with its answers: whoever loads it asks them again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from trainyard_trainer.learning.table import Table

_GOLDEN_ROWS = 8


def golden_rows(table: Table, fit: Any) -> list[dict[str, Any]]:
    """Return rows spread over the fit part, as Python values."""
    chosen = fit[np.unique(np.linspace(0, len(fit) - 1, _GOLDEN_ROWS).astype(np.int64))]
    kinds = {column.name: column.type for column in table.schema.features}
    return [{name: _plain(kinds[name], table.columns[name][row]) for name in kinds} for row in chosen.tolist()]


def _plain(kind: str, value: Any) -> Any:
    """Return one cell as the Python value that a caller of the model would give."""
    if kind in ("category", "text"):
        return value
    if kind in ("date", "timestamp"):
        if np.isnat(value):
            return None
        moment: datetime = value.astype("datetime64[us]").item()
        return moment.date() if kind == "date" else moment.replace(tzinfo=UTC)
    if np.isnan(value):
        return None
    return {"bool": bool, "int": int, "float": float}[kind](value)
