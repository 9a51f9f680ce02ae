"""Numbers, times and lengths as people read them; a dash for whatever is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard_console.views import words

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.number(1234567), "1,234,567"),
        (words.number(True), "–"),
        (words.figure(0.123456), "0.1235"),
        (words.figure(12345.678), "1.235e+04"),
        (words.figure(None), "–"),
        (words.share(0.0534), "5.34 %"),
        (words.size(10702), "10.5 KiB"),
        (words.size(-1), "–"),
        (words.money(0.00215), "$0.0022"),
        (words.seconds(71), "1 min 11 s"),
        (words.seconds(3.25), "3.2 s"),
        (words.seconds(90_000), "1 d 1 h"),
        (words.seconds(-1), "–"),
        (words.moment((NOW - timedelta(seconds=4000)).isoformat(), NOW).ago, "1 h ago"),
        (words.moment((NOW + timedelta(days=2)).isoformat(), NOW).ago, "in 2 d"),
        (words.moment("2026-01-01T00:00:00", NOW).ago, "–"),
        (words.duration(NOW.isoformat(), (NOW + timedelta(seconds=9)).isoformat(), NOW), "9 s"),
        (words.state("blocked_by_data"), words.State("blocked by data", "warn")),
        (words.state("made up"), words.State("made up", "quiet")),
        (words.count(1, "row", "rows"), "1 row"),
    ],
)
def test_what_is_said(said: object, expected: object) -> None:
    """Each in its unit."""
    assert said == expected


@given(JSON)
def test_whatever_comes_in_text_comes_out(value: Any) -> None:
    """No answer of a service makes a page fail for a word."""
    for say in (words.number, words.figure, words.share, words.size, words.money, words.seconds, words.text):
        assert isinstance(say(value), str)
    assert isinstance(words.moment(value, NOW).ago, str)
    assert isinstance(words.duration(value, value, NOW), str)
    assert isinstance(words.state(value).name, str)
    assert words.items(value) == [] or isinstance(value, dict)
