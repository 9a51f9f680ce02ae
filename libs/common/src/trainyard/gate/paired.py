"""The gain of one model over another on the same rows, with a bootstrap interval. Pure numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainyard.metrics.bootstrap import resampled

if TYPE_CHECKING:
    from trainyard.metrics.bootstrap import Statistic


@dataclass(frozen=True)
class Interval:
    """A gain with its bounds, in the metric's own unit; more is better for the challenger, whatever the metric.

    ``lower`` is exceeded with ``confidence`` (one-sided), and so is the gain by ``upper``.
    """

    metric: str
    gain: float
    lower: float
    upper: float
    confidence: float
    draws: int


def interval_of(metric: str, gain: Statistic, *, confidence: float, seed: int) -> Interval | None:
    """Return the gain and its percentile interval; None where the rows have no such gain (or are fewer than two).

    Args:
        metric: for the words.
        gain: what is compared.
        confidence: one-sided, from 0.5 to below 1.
        seed: of the draws.
    """
    if gain.rows < 2:
        return None
    with np.errstate(all="ignore"):
        value = gain.exact()
    if not np.isfinite(value):
        return None
    drawn = resampled({metric: gain}, seed=seed)[metric]
    if not len(drawn):
        return None
    lower, upper = np.quantile(drawn, [1.0 - confidence, confidence])
    return Interval(metric, value, float(lower), float(upper), confidence, len(drawn))
