"""Thresholds of float32 as thresholds of float64: every double goes the way that its rounding goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainyard.model.float32 import at_most_in_double, below_in_double

_SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)
_BIG = float(np.finfo(np.float32).max)


def _near(threshold: float, more: float) -> list[float]:
    """Return doubles about a threshold: it, its float32 neighbours, the middles between, and what is beside these."""
    single = np.float32(threshold)
    with np.errstate(over="ignore"):
        singles = [single, np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))]
    finite = [float(s) for s in singles if np.isfinite(s)]
    found = [threshold, more, *finite, *((a + b) / 2 for a in finite for b in finite)]
    return [v for f in found for v in (f, np.nextafter(f, -np.inf), np.nextafter(f, np.inf)) if abs(v) <= _BIG]


@given(_SINGLES, st.floats(-_BIG, _BIG))
@example(0.0, 1e-46)
@example(-0.0, -1e-46)
@example(_BIG, _BIG)
@example(-_BIG, 0.0)
def test_a_double_is_less_when_its_rounding_is(threshold: float, more: float) -> None:
    moved = float(below_in_double([threshold])[0])
    assert np.isfinite(moved)
    for value in _near(threshold, more):
        assert (value <= moved) == (np.float32(value) < np.float32(threshold)), value


@given(st.floats(-_BIG, _BIG), st.floats(-_BIG, _BIG))
@example(0.1, 0.1)
@example(0.0, -1e-46)
@example(_BIG, _BIG)
def test_a_double_is_at_most_when_its_rounding_is(threshold: float, more: float) -> None:
    moved = float(at_most_in_double([threshold])[0])
    assert np.isfinite(moved)
    for value in _near(threshold, more):
        assert (value <= moved) == (float(np.float32(value)) <= threshold), value


def test_infinite_thresholds_become_finite() -> None:
    assert at_most_in_double([np.inf])[0] > _BIG
    assert at_most_in_double([-np.inf])[0] < -_BIG
    assert below_in_double(np.array([np.inf], dtype=np.float32))[0] == pytest.approx(_BIG)
