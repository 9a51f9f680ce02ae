"""Integrals from 0 to 1, and what is done about what they leave open."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray


@cache
def quadrature(n_points: int) -> tuple[FloatArray, FloatArray]:
    """Return the points and weights (n_points,) of the Gauss-Legendre rule; exact up to degree 2 n_points - 1."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    found = (points + 1.0) / 2.0, weights / 2.0
    for array in found:
        array.setflags(write=False)
    return found


def settled(contributions: FloatArray, difference: FloatArray, distance: FloatArray) -> FloatArray:
    """Return contributions (K, F, rows) that sum to ``difference`` (K, rows): the gap is shared out by their sizes.

    Where all are 0, as between two points of the rule that both miss a step of the score, it is shared out by
    ``distance`` (F, rows), how far each column is from where it started, and equally where that is 0 too.
    """
    gap = difference - contributions.sum(axis=1)
    share = _shares(np.abs(contributions))
    empty = (gap != 0) & ~share.any(axis=1)
    if empty.any():
        far = _shares(np.abs(distance))
        far = np.where(far.any(axis=0), far, 1.0 / max(1, len(far)))
        share = np.where(empty[:, None], far, share)
    return np.asarray(contributions + share * gap[:, None])


def _shares(sizes: FloatArray) -> FloatArray:
    """Return sizes (…, F, rows) as shares of their sum over F; zeros where all are 0."""
    largest = sizes.max(axis=-2, keepdims=True, initial=0.0)  # whose multiples neither overflow nor vanish
    relative = sizes / np.where(largest > 0, largest, 1.0)
    total = relative.sum(axis=-2, keepdims=True)
    return np.asarray(relative / np.where(total > 0, total, 1.0))
