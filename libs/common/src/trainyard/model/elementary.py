"""e^x, ln x and the sine and cosine of a turn with the same bits on every machine and with every numpy.

What a C library or numpy returns differs in the last bit between versions and processors, and with it every
probability. Here all are made of additions, multiplications and divisions alone, which IEEE 754 rounds in one way. This
module has them for single floats, :mod:`trainyard.model.elementary_arrays` for arrays, with the same bits.

Method (Cody and Waite 1980, chapters 5, 6 and 8, with series in place of their quotients). e^x: x = k ln 2 + r with
|r| <= ln 2 / 2, so e^x = 2^k e^r; k ln 2 is taken off in two parts, of which the first is exact; the series to r^13 is
below 1e-17 off. ln x: x = 2^k m with m between sqrt(1/2) and sqrt(2), s = (m - 1) / (m + 1), ln m = 2 atanh(s); the
series to s^23 is below 1e-18 off. With the rounding of terms the results are within 1 and 2 units in the last place.
Sine and cosine: the nearest quarter of a turn is taken off, which is exact; the series of both to r^17 and r^16 are
below 1e-19 off for the eighth of a turn that is left on either side.
"""

from __future__ import annotations

import math

PER_LN2 = 1.4426950408889634
LN2_HIGH = 0.693147180369123816490  # its last 32 bits are 0: a multiple of it by k < 2^20 is exact
LN2_LOW = 1.90821492927058770002e-10
ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding and subtracting it rounds to a whole number, halves to even
#: 1 / n! for n = 13 .. 2
EXP_TERMS = tuple(1.0 / math.factorial(n) for n in range(13, 1, -1))
#: 2 / n for n = 23, 21 .. 3
LOG_TERMS = tuple(2.0 / n for n in range(23, 1, -2))
#: (-1)^i / n! for n = 17, 15 .. 3 and n = 16, 14 .. 2
SINE_TERMS = tuple((-1.0) ** (n // 2) / math.factorial(n) for n in range(17, 1, -2))
COSINE_TERMS = tuple((-1.0) ** (n // 2) / math.factorial(n) for n in range(16, 1, -2))
#: Below, e^x would leave the normal numbers: it is 0. Above, it is more than a float holds: infinity.
LOWEST, HIGHEST = -708.0, 709.782712893384
SQRT_HALF = 0.7071067811865476
#: Probabilities are kept so far away from 0 and 1 before a logarithm is taken of them.
TINY = 1e-15


def exp_of(x: float) -> float:
    """Return e^x of one float."""
    if not LOWEST <= x <= HIGHEST:
        return x if math.isnan(x) else (0.0 if x < LOWEST else math.inf)
    k = x * PER_LN2 + ROUNDER - ROUNDER
    r = x - k * LN2_HIGH - k * LN2_LOW
    total = EXP_TERMS[0]
    for term in EXP_TERMS[1:]:
        total = total * r + term
    return math.ldexp(total * r * r + r + 1.0, int(k))


def log_of(x: float) -> float:
    """Return ln x of one positive, finite float."""
    m, k = math.frexp(x)
    if m < SQRT_HALF:
        m, k = m + m, k - 1
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = LOG_TERMS[0]
    for term in LOG_TERMS[1:]:
        total = total * square + term
    return total * square * s + k * LN2_LOW + (s + s) + k * LN2_HIGH


def sine_of(turn: float) -> float:
    """Return the sine of 2 pi ``turn``, 0 <= turn <= 1."""
    quarter = math.floor(turn * 4.0 + 0.5)
    r = (turn - quarter / 4.0) * math.tau
    part = _cosine(r) if quarter % 2 else _sine(r)
    return -part if quarter % 4 >= 2 else part


def cosine_of(turn: float) -> float:
    """Return the cosine of 2 pi ``turn``, 0 <= turn <= 1."""
    quarter = math.floor(turn * 4.0 + 0.5)
    r = (turn - quarter / 4.0) * math.tau
    part = _sine(r) if quarter % 2 else _cosine(r)
    return -part if quarter % 4 in (1, 2) else part


def _sine(r: float) -> float:
    square = r * r
    total = SINE_TERMS[0]
    for term in SINE_TERMS[1:]:
        total = total * square + term
    return total * square * r + r


def _cosine(r: float) -> float:
    square = r * r
    total = COSINE_TERMS[0]
    for term in COSINE_TERMS[1:]:
        total = total * square + term
    return total * square + 1.0
