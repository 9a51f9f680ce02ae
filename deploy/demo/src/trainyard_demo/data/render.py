"""Rows as the files and bodies that a user would send."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows (at least one) as CSV with a header; what is missing is an empty cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue().encode()


def as_ndjson(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as one JSON object per line; what is missing is null."""
    return b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
