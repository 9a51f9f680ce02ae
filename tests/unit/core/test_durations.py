"""Lengths of time: read as people write them, told as people read them."""

from __future__ import annotations

import pytest

from trainyard.durations import in_words, seconds_of


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (0, 0.0),
        (1.5, 1.5),
        ("90", 90.0),
        ("90s", 90.0),
        ("1.5m", 90.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        (True, None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
        ("", None),
        ("s", None),
        ("-1s", None),
        (" 1s", None),
        ("1w", None),
        ("1234567890", None),
        ("١s", None),
    ],
)
def test_seconds_of(value: object, seconds: float | None) -> None:
    """Numbers are seconds, texts may carry a unit, anything else is nothing."""
    assert seconds_of(value) == seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"),
        (0, "0 s"),
        (0.25, "0.2 s"),
        (45, "45 s"),
        (90, "1.5 min"),
        (3600, "1 h"),
        (86_400, "24 h"),
        (172_800, "2 d"),
        (604_800, "7 d"),
    ],
)
def test_in_words(seconds: float, words: str) -> None:
    """The largest unit that is filled; up to two days in hours."""
    assert in_words(seconds) == words
