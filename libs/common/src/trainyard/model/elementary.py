"""e^x and ln x with the same bits on every machine and with every numpy, for arrays and for single floats.

What a C library or numpy returns differs in the last bit between versions and processors, and with it every
probability. Here both are made of additions, multiplications and divisions alone, which IEEE 754 rounds in one way.

Method (Cody and Waite 1980, chapters 5 and 6, with series in place of their quotients). e^x: x = k ln 2 + r with
|r| <= ln 2 / 2, so e^x = 2^k e^r; k ln 2 is taken off in two parts, of which the first is exact; the series to r^13 is
below 1e-17 off. ln x: x = 2^k m with m between sqrt(1/2) and sqrt(2), s = (m - 1) / (m + 1), ln m = 2 atanh(s); the
series to s^23 is below 1e-18 off. With the rounding of terms the results are within 1 and 2 units in the last place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray

_PER_LN2 = 1.4426950408889634
_LN2_HIGH = 0.693147180369123816490  # its last 32 bits are 0: a multiple of it by k < 2^20 is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding and subtracting it rounds to a whole number, halves to even
#: 1 / n! for n = 13 .. 2
_EXP_TERMS = tuple(1.0 / math.factorial(n) for n in range(13, 1, -1))
#: 2 / n for n = 23, 21 .. 3
_LOG_TERMS = tuple(2.0 / n for n in range(23, 1, -2))
#: Below, e^x would leave the normal numbers: it is 0. Above, it is more than a float holds: infinity.
_LOWEST, _HIGHEST = -708.0, 709.782712893384
_SQRT_HALF = 0.7071067811865476
_FEW = 24  # values that are faster one by one


def exp(x: FloatArray) -> FloatArray:
    """Return e^x of an array of any shape; NaN stays NaN."""
    if x.size <= _FEW:
        return np.array([exp_of(v) for v in x.ravel().tolist()]).reshape(x.shape)
    bounded = np.minimum(np.maximum(x, _LOWEST), _HIGHEST)
    k = bounded * _PER_LN2
    k += _ROUNDER
    k -= _ROUNDER
    bounded -= k * _LN2_HIGH
    bounded -= k * _LN2_LOW
    total = np.full_like(bounded, _EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        total *= bounded
        total += term
    total *= bounded
    total *= bounded
    total += bounded
    total += 1.0
    np.copyto(k, 0.0, where=np.isnan(k))
    total = np.ldexp(total, k.astype(np.int32))
    np.copyto(total, 0.0, where=x < _LOWEST)
    np.copyto(total, np.inf, where=x > _HIGHEST)
    return np.asarray(total)


def exp_of(x: float) -> float:
    """Return e^x of one float, the same bits as :func:`exp`."""
    if not _LOWEST <= x <= _HIGHEST:
        return x if math.isnan(x) else (0.0 if x < _LOWEST else math.inf)
    k = x * _PER_LN2 + _ROUNDER - _ROUNDER
    r = x - k * _LN2_HIGH - k * _LN2_LOW
    total = _EXP_TERMS[0]
    for term in _EXP_TERMS[1:]:
        total = total * r + term
    return math.ldexp(total * r * r + r + 1.0, int(k))


def log(x: FloatArray) -> FloatArray:
    """Return ln x of an array of positive, finite numbers, of any shape."""
    if x.size <= _FEW:
        return np.array([log_of(v) for v in x.ravel().tolist()]).reshape(x.shape)
    m, k = np.frexp(x)
    low = m < _SQRT_HALF
    m = np.where(low, m + m, m)
    k = (k - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = np.full_like(s, _LOG_TERMS[0])
    for term in _LOG_TERMS[1:]:
        total *= square
        total += term
    total *= square
    total *= s
    total += k * _LN2_LOW
    total += s + s
    total += k * _LN2_HIGH
    return np.asarray(total)


def log_of(x: float) -> float:
    """Return ln x of one positive, finite float, the same bits as :func:`log`."""
    m, k = math.frexp(x)
    if m < _SQRT_HALF:
        m, k = m + m, k - 1
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = _LOG_TERMS[0]
    for term in _LOG_TERMS[1:]:
        total = total * square + term
    return total * square * s + k * _LN2_LOW + (s + s) + k * _LN2_HIGH
