"""Histograms: every value is counted once, and parts together are the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.histogram import BINS, counted, joined, place

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(VALUES)
def test_every_value_is_counted_once(values: list[float]) -> None:
    """In bins of equal width; the greatest belongs to the last one."""
    counts = counted(values)
    assert counts is not None
    assert sum(counts) == len(values)
    assert len(counts) == (1 if len(set(values)) == 1 else BINS)
    assert counts[-1] >= values.count(max(values))


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_parts_together(batches: list[list[float]]) -> None:
    """The joined histogram has every value, from the least to the greatest of all."""
    parts = [(min(values), max(values), counted(values) or []) for values in batches]
    found = joined(parts)
    assert found is not None
    low, high, counts = found
    everything = [value for values in batches for value in values]
    assert (low, high) == (min(everything), max(everything))
    assert sum(counts) == len(everything)
    assert min(counts) >= 0


def test_parts_with_the_same_ends_add_up() -> None:
    """Nothing is spread where the bins are the same; a part of one value goes into its bin."""
    one = (0.0, 20.0, [1] * BINS)
    assert joined([one, one, (3.5, 3.5, [7])]) == (0.0, 20.0, [2, 2, 2, 9, *[2] * 16])


@pytest.mark.parametrize("values", [[], [-1.7e308, 1.7e308]])
def test_what_cannot_be_cut(values: list[float]) -> None:
    """No values, and a span that no float holds, have no bins."""
    assert counted(values) is None
    assert joined([(value, value, [1]) for value in values]) is None


def test_dates_and_moments_have_places() -> None:
    """Days and seconds apart."""
    assert place("date", "2024-03-01") - place("date", "2024-02-28") == 2
    assert place("timestamp", "2024-01-01T00:00:01.500000Z") - place("timestamp", "2024-01-01T00:00:00.000000Z") == 1.5
    assert place("int", 7) == 7.0
