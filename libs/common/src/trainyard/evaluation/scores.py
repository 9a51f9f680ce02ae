"""Metrics with bootstrap intervals: the percentiles of what other samples of the same rows would have shown.

Efron, "Bootstrap methods: another look at the jackknife" (1979): rows are drawn with replacement, as many as there are,
:data:`SAMPLES` times, from a fixed seed. Every metric is computed from the *counts* of the rows in a sample, many
samples at once, so no row is copied. Above :data:`MOST_ROWS` rows as many are drawn from a part of the rows, and the
distances to the value are shortened by the root of the share (Bickel, Götze and van Zwet, "Resampling fewer than n
observations", 1997): the time has a bound whatever the hold-out's size.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.evaluation.plain import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.evaluation.sample import FloatArray, Sample

SAMPLES = 400
CONFIDENCE = 0.95
MOST_ROWS = 20_000
_BLOCK_CELLS = 1 << 21  # counts at once: bounds the memory at some tens of MB
_CLIP = 1e-15


def scores(sample: Sample, *, seed: int = 0) -> dict[str, dict[str, float | None]]:
    """Return each metric that has a value on these rows as ``{"value", "low", "high"}``.

    The ends are those of a 95 % interval, None where resampling shows nothing: fewer than two rows, or a metric that
    most samples give no value to (an area under the curve with a handful of positives).
    """
    if not sample.rows:
        return {}
    values = sample.figures()
    if sample.task == "binary" and (sample.labels >= 0).any():
        values["brier"] = float(_brier(sample)[sample.labels >= 0].mean())
    drawn = _resampled(sample, seed)
    share = math.sqrt(min(1.0, MOST_ROWS / sample.rows))
    return {
        metric: _interval(value, drawn.get(metric), share) for metric, value in values.items() if math.isfinite(value)
    }


def _interval(value: float, drawn: FloatArray | None, share: float) -> dict[str, float | None]:
    found = {"value": number(value), "low": None, "high": None}
    if drawn is None:
        return found
    usable = drawn[np.isfinite(drawn)]
    if 2 * len(usable) <= SAMPLES:
        return found
    tail = (1.0 - CONFIDENCE) / 2
    low, high = np.quantile(value + share * (usable - value), [tail, 1.0 - tail]).tolist()
    return {"value": found["value"], "low": number(low), "high": number(high)}


def _resampled(sample: Sample, seed: int) -> dict[str, FloatArray]:
    """Return what each metric is on every sample, shape (SAMPLES,); not finite: it has no value there."""
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = np.arange(sample.rows)
    if sample.rows > MOST_ROWS:
        rows = np.sort(generator.choice(sample.rows, MOST_ROWS, replace=False))
    if len(rows) < 2:
        return {}
    statistics = _statistics(sample, rows)
    found: dict[str, list[FloatArray]] = {metric: [] for metric in statistics}
    block = max(1, _BLOCK_CELLS // len(rows))
    for begin in range(0, SAMPLES, block):
        counts = np.empty((min(block, SAMPLES - begin), len(rows)))
        for line in counts:
            line[:] = np.bincount(generator.integers(0, len(rows), len(rows)), minlength=len(rows))
        for metric, statistic in statistics.items():
            found[metric].append(statistic(counts))
    return {metric: np.concatenate(parts) for metric, parts in found.items()}


def _statistics(sample: Sample, rows: npt.NDArray[Any]) -> dict[str, Callable[[FloatArray], FloatArray]]:
    """Return each metric as a function of the rows' counts, shape (samples, rows)."""
    labels, answers = sample.labels[rows], sample.answers[rows]
    every = np.ones(len(rows))
    found = {"loss": _mean_of(sample.losses[rows], every)}
    if sample.task == "regression":
        apart = labels - answers
        squared = _mean_of(apart**2, every)
        found["mae"] = _mean_of(np.abs(apart), every)
        found["rmse"] = lambda counts: np.sqrt(squared(counts))
        found["r2"] = _r2_of(labels, apart)
        return found
    known = (labels >= 0).astype(np.float64)
    of_truth = np.clip(answers[np.arange(len(rows)), np.maximum(labels, 0)], _CLIP, 1.0 - _CLIP)
    found["log_loss"] = _mean_of(-np.log(of_truth), known)
    found["accuracy"] = _mean_of((sample.decided[rows] == labels).astype(np.float64), every)
    if sample.task == "binary":
        found["brier"] = _mean_of(_brier(sample)[rows], known)
        found["roc_auc"] = _auc_of(labels, answers[:, 1])
    return found


def _brier(sample: Sample) -> FloatArray:
    """Return each row's squared distance of the positive class's probability from what was true."""
    return np.asarray((sample.answers[:, 1] - (sample.labels == 1)) ** 2)


def _mean_of(values: FloatArray, mask: FloatArray) -> Callable[[FloatArray], FloatArray]:
    weighted = values * mask
    return lambda counts: np.asarray((counts @ weighted) / (counts @ mask))


def _r2_of(labels: FloatArray, apart: FloatArray) -> Callable[[FloatArray], FloatArray]:
    centred = labels - labels.mean()

    def statistic(counts: FloatArray) -> FloatArray:
        total = counts @ centred**2 - (counts @ centred) ** 2 / counts.sum(axis=1)
        return np.asarray(1.0 - (counts @ apart**2) / np.where(total > 0, total, np.nan))

    return statistic


def _auc_of(labels: npt.NDArray[Any], given: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Return the area under the ROC curve: each positive's share of the negatives below it, ties counting half."""
    order = np.argsort(given, kind="stable")
    ranked = given[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    positive, negative = (labels[order] == 1).astype(np.float64), (labels[order] == 0).astype(np.float64)

    def statistic(counts: FloatArray) -> FloatArray:
        drawn = counts[:, order]
        over = np.add.reduceat(drawn * positive, starts, axis=1)
        under = np.add.reduceat(drawn * negative, starts, axis=1)
        below = np.cumsum(under, axis=1) - under / 2
        pairs = over.sum(axis=1) * under.sum(axis=1)
        return np.asarray((over * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))

    return statistic
