"""Numbers and names as a report holds them: short, finite, and safe to write as JSON."""

from __future__ import annotations

import math

#: Digits that a reader can use; more would only make the report larger.
_DIGITS = 6
_LONGEST_NAME = 80


def number(value: float) -> float | None:
    """Return ``value`` with six significant digits, None when it is not finite."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def name(text: object) -> str:
    """Return a class, a level or a column's name as text of at most 80 characters."""
    said = str(text).lower() if isinstance(text, bool) else str(text)
    return said if len(said) <= _LONGEST_NAME else said[: _LONGEST_NAME - 1] + "…"
