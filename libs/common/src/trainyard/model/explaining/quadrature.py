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


def settled(contributions: FloatArray, difference: FloatArray) -> FloatArray:
    """Return contributions (K, F, rows) that sum to ``difference`` (K, rows): the gap is shared out by their sizes."""
    size = np.abs(contributions).sum(axis=1)
    gap = difference - contributions.sum(axis=1)
    share = np.where(size > 0, gap / np.where(size > 0, size, 1.0), 0.0)
    return np.asarray(contributions + np.abs(contributions) * share[:, None])
