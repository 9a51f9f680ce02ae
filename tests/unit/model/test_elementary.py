"""e^x and ln x: near the exact values, the same bits alone and in arrays."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.model.elementary import exp_of, log_of
from trainyard.model.elementary_arrays import exp, log

#: e and ln 2 to 40 digits
E = Fraction("2.718281828459045235360287471352662497757")
LN2 = Fraction("0.6931471805599453094172321214581765680755")


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=64), min_size=1, max_size=60))
def test_exp_has_the_same_bits_alone_and_in_an_array(values: list[float]) -> None:
    """Any float, few or many at once, NaN and infinities included."""
    alone = np.array([exp_of(v) for v in values])
    for repeated in (np.array(values), np.array(values * 30), np.array([values])):
        assert np.array_equal(exp(repeated).ravel()[: len(values)], alone, equal_nan=True)


@given(st.lists(st.floats(min_value=1e-300, max_value=1e300), min_size=1, max_size=60))
def test_log_has_the_same_bits_alone_and_in_an_array(values: list[float]) -> None:
    """Any positive float, few or many at once."""
    alone = np.array([log_of(v) for v in values])
    for repeated in (np.array(values), np.array(values * 30), np.array([values])):
        assert np.array_equal(log(repeated).ravel()[: len(values)], alone)


@pytest.mark.parametrize("n", [-700, -37, -1, 0, 1, 2, 20, 500, 709])
def test_exp_of_whole_numbers_is_exact_to_one_unit(n: int) -> None:
    """e^n by exact arithmetic."""
    wanted = float(E**n)
    assert abs(exp_of(float(n)) - wanted) <= math.ulp(wanted)


@pytest.mark.parametrize("n", [-1000, -52, -1, 1, 3, 10, 1000])
def test_log_of_powers_of_two_is_exact_to_two_units(n: int) -> None:
    """ln 2^n by exact arithmetic; ln 1 is 0."""
    wanted = float(LN2 * n)
    assert abs(log_of(2.0**n) - wanted) <= 2 * math.ulp(wanted)
    assert log_of(1.0) == 0.0


@given(st.floats(min_value=-700.0, max_value=700.0))
def test_exp_agrees_with_the_c_library_to_two_units(x: float) -> None:
    """Both are within one unit of the truth."""
    assert abs(exp_of(x) - math.exp(x)) <= 2 * math.ulp(math.exp(x))


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_log_agrees_with_the_c_library_to_three_units(x: float) -> None:
    """One is within two units of the truth, the other within one."""
    assert abs(log_of(x) - math.log(x)) <= 3 * math.ulp(math.log(x))


def test_the_ends_of_exp() -> None:
    """Below the normal numbers 0, above the largest float infinity, NaN stays NaN."""
    assert exp_of(-709.0) == exp_of(-math.inf) == 0.0
    assert exp_of(709.783) == exp_of(math.inf) == math.inf
    assert exp_of(709.782712893384) < math.inf
    assert math.isnan(exp_of(math.nan))
