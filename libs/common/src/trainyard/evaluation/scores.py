"""Metrics with bootstrap intervals (:mod:`trainyard.metrics.bootstrap`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trainyard.metrics.bootstrap import draws_for, resampled
from trainyard.metrics.plain import number
from trainyard.metrics.statistics import REPORTED, statistic

if TYPE_CHECKING:
    from trainyard.evaluation.sample import FloatArray, Sample

CONFIDENCE = 0.95


def scores(sample: Sample, *, seed: int = 0) -> dict[str, dict[str, float | None]]:
    """Return each metric that has a value on these rows as ``{"value", "low", "high"}``.

    The ends are those of a 95 % interval, None where resampling shows nothing: fewer than two rows, or a metric that
    most samples give no value to (an area under the curve with a handful of positives).
    """
    statistics = {
        metric: statistic(metric, sample.task, sample.labels, sample.told) for metric in REPORTED[sample.task]
    }
    values = {metric: each.exact() for metric, each in statistics.items() if sample.rows}
    statistics = {metric: statistics[metric] for metric, value in values.items() if math.isfinite(value)}
    drawn = resampled(statistics, seed=seed)
    return {metric: _interval(values[metric], drawn[metric], draws_for(sample.rows)) for metric in statistics}


def _interval(value: float, drawn: FloatArray, draws: int) -> dict[str, float | None]:
    if 2 * len(drawn) <= draws:
        return {"value": number(value), "low": None, "high": None}
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1.0 - tail]).tolist()
    return {"value": number(value), "low": number(low), "high": number(high)}
