"""From contributions to a score to contributions to the probability or value that an output makes of it.

The members of a blend are averaged after their outputs, so their contributions have to follow. From the base to the
score of a row the features' contributions are taken to grow together, on a straight line; what the output's slope
makes of each on the way is its contribution: integrated gradients again, in the space of the scores. For one score
that is the rescale rule of Shrikumar, Greenside and Kundaje (2017): each contribution times (f(s) - f(b)) / (s - b).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.estimators import to_output
from trainyard.model.explaining.quadrature import quadrature, settled

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray

_POINTS = 32
# measured on one core, rounded up: at a point a score's output, and a contribution
_OUTPUT_SECONDS, _POINT_SECONDS = 40e-9, 10e-9
#: Scores that are closer than this have no quotient of differences worth having: the slope between them is taken.
_CLOSE = 1e-5


def through_output(
    output: str, task: str, base: FloatArray, score: FloatArray, contributions: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return score (K, rows) and contributions (K, F, rows) after an output; they and the base (K,) are before it."""
    if output == "identity" and task == "regression":
        return score, contributions
    after = to_output(output, task, score)
    change = after - to_output(output, task, base[:, None])
    if len(base) == 1:
        moved = contributions * _slope(output, base[0], score[0], change[0])
    else:
        moved = _along(output, task, base, score, contributions)
        # scores so far apart that the points miss where the output changes: the rescale rule by each one's own score
        missed = ~moved.any(axis=1, keepdims=True)
        moved = np.where(missed, contributions * _quotient(change, score - base[:, None])[:, None], moved)
    return after, settled(moved, change, np.abs(contributions).max(axis=0))


def seconds(n_outputs: int, n_columns: int) -> float:
    """Return about how long a row takes on its way through an output."""
    return n_outputs * (_OUTPUT_SECONDS + n_columns * _POINT_SECONDS) * (1 if n_outputs == 1 else _POINTS)


def _quotient(change: FloatArray, distance: FloatArray, limit: FloatArray | float = 0.0) -> FloatArray:
    """Return change / distance, the limit where the distance is too small."""
    far = np.abs(distance) > _CLOSE
    return np.where(far, change / np.where(far, distance, 1.0), limit)


def _slope(output: str, base: float, score: FloatArray, change: FloatArray) -> FloatArray:
    """Return (f(s) - f(b)) / (s - b) for each row (rows,), its limit where s is b."""
    distance = score - base
    middle = base + distance / 2.0
    if output == "identity":  # clipped to 0 .. 1
        limit = ((middle > 0.0) & (middle < 1.0)).astype(np.float64)
    else:
        value = to_output(output, "binary", middle[None, :])[0]
        limit = value if output == "exp" else value * (1.0 - value)
    return _quotient(change, distance, limit)


def _along(output: str, task: str, base: FloatArray, score: FloatArray, contributions: FloatArray) -> FloatArray:
    """Return the mean derivative of the output on the way from the base, times contributions (K, F, rows).

    The matrix of derivatives is never made: with p the probabilities and c a column's contributions, softmax gives
    p_k (c_k - sum_l p_l c_l), shares of the whole t give (c_k - p_k sum_l c_l) / t, where l is not clipped.
    """
    total = np.zeros_like(contributions)
    for point, weight in zip(*quadrature(_POINTS), strict=True):
        at = base[:, None] + point * (score - base[:, None])
        value = to_output(output, task, at)
        if output == "softmax":
            mean = np.einsum("lr,lfr->fr", value, contributions)
            total += (weight * value)[:, None] * (contributions - mean)
        else:
            inside = (at > 0.0) & (at < 1.0)
            whole = np.clip(at, 0.0, 1.0).sum(axis=0)
            scale = weight / np.where(whole > 0, whole, np.inf)
            own = np.where(inside[:, None], contributions, 0.0)
            total += scale * (own - value[:, None] * own.sum(axis=0))
    return total
