"""The functions of :mod:`trainyard.model.elementary` for whole arrays: the same operations, so the same bits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.elementary import (
    COSINE_TERMS,
    EXP_TERMS,
    HIGHEST,
    LN2_HIGH,
    LN2_LOW,
    LOG_TERMS,
    LOWEST,
    PER_LN2,
    ROUNDER,
    SINE_TERMS,
    SQRT_HALF,
    exp_of,
    log_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import FloatArray

_FEW = 24  # values that are faster one by one


def exp(x: FloatArray) -> FloatArray:
    """Return e^x of an array of any shape; NaN stays NaN."""
    if x.size <= _FEW:
        return np.array([exp_of(v) for v in x.ravel().tolist()]).reshape(x.shape)
    bounded = np.minimum(np.maximum(x, LOWEST), HIGHEST)
    k = bounded * PER_LN2
    k += ROUNDER
    k -= ROUNDER
    bounded -= k * LN2_HIGH
    bounded -= k * LN2_LOW
    total = _series(EXP_TERMS, bounded)
    total *= bounded
    total *= bounded
    total += bounded
    total += 1.0
    np.copyto(k, 0.0, where=np.isnan(k))
    total = np.ldexp(total, k.astype(np.int32))
    np.copyto(total, 0.0, where=x < LOWEST)
    np.copyto(total, np.inf, where=x > HIGHEST)
    return np.asarray(total)


def log(x: FloatArray) -> FloatArray:
    """Return ln x of an array of positive, finite numbers, of any shape."""
    if x.size <= _FEW:
        return np.array([log_of(v) for v in x.ravel().tolist()]).reshape(x.shape)
    m, k = np.frexp(x)
    low = m < SQRT_HALF
    m = np.where(low, m + m, m)
    k = (k - low).astype(np.float64)
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    total = _series(LOG_TERMS, square)
    total *= square
    total *= s
    total += k * LN2_LOW
    total += s + s
    total += k * LN2_HIGH
    return np.asarray(total)


def sine(turn: FloatArray) -> FloatArray:
    """Return the sine of 2 pi ``turn``, 0 <= turn <= 1."""
    quarter, r = _quarters(turn)
    part = np.where(quarter % 2 == 1, _cosine(r), _sine(r))
    return np.asarray(np.where(quarter % 4 >= 2, -part, part))


def cosine(turn: FloatArray) -> FloatArray:
    """Return the cosine of 2 pi ``turn``, 0 <= turn <= 1."""
    quarter, r = _quarters(turn)
    part = np.where(quarter % 2 == 1, _sine(r), _cosine(r))
    return np.asarray(np.where((quarter % 4 == 1) | (quarter % 4 == 2), -part, part))


def _quarters(turn: FloatArray) -> tuple[FloatArray, FloatArray]:
    quarter = np.floor(turn * 4.0 + 0.5)
    return quarter, (turn - quarter / 4.0) * math.tau


def _sine(r: FloatArray) -> FloatArray:
    square = r * r
    return np.asarray(_series(SINE_TERMS, square) * square * r + r)


def _cosine(r: FloatArray) -> FloatArray:
    square = r * r
    return np.asarray(_series(COSINE_TERMS, square) * square + 1.0)


def _series(terms: Sequence[float], x: FloatArray) -> FloatArray:
    """Return ``(((t0 x + t1) x + t2) x ...) + tn``."""
    total = np.full_like(x, terms[0])
    for term in terms[1:]:
        total *= x
        total += term
    return total
