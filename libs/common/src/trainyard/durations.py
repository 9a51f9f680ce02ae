"""Lengths of time as people write them: ``90``, ``"90s"``, ``"15m"``, ``"24h"``, ``"7d"``."""

from __future__ import annotations

import math
import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_TEXT = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd]?)", re.ASCII)
#: What a number is called by, the largest that fits first.
_WORDS = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def seconds_of(value: object) -> float | None:
    """Return the seconds that a number or a text such as ``"1.5h"`` stands for; None when it is neither."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    match = _TEXT.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else float(match[1]) * _UNITS[match[2]]


def in_words(seconds: float) -> str:
    """Return ``seconds`` for a reader, in the largest unit that it fills: ``45 s``, ``1.5 min``, ``24 h``, ``7 d``.

    Up to 48 h are told in hours, as people do.
    """
    for size, unit in _WORDS:
        if seconds >= size and not (unit == "d" and seconds < 2 * size):
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{max(seconds, 0.0):.1f}".removesuffix(".0") + " s"
