"""Ratios, differences and products of two numbers that tell more than the two do: found on rows to learn from alone.

What a model without pairs leaves over is searched: a pair is worth something where it foretells the residuals of rows
that neither the model nor the pair's own effect was fitted on, better than either of its columns. The best is taken,
what it tells is taken off the residuals, and so on, until the next one gains no more than noise.

*Trees* see any curve of a number. The model is a sum of curves, one of each column, and a pair's effect one more curve:
a mean for each of its bins (as GA2M looks for interactions: Lou et al., "Accurate Intelligible Models with Pairwise
Interactions", 2013). What deep trees make of two columns by many steps it says at once. *Linear* models see lines: the
model is linear, and a pair's effect is a slope, beside those of its columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trainyard.model import Pair
from trainyard.model.features import matrix
from trainyard_trainer.learning import scales
from trainyard_trainer.learning.encoders import NUMBERS
from trainyard_trainer.learning.residuals import Sample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Learning

#: What sees the pairs.
TREES, LINEAR = "trees", "linear"
MOST_PAIRS = 8
#: Columns that pairs are made of: those that small trees have gained most by.
_MOST_COLUMNS = 8
#: Columns that the model without pairs sees, which is to be quick on a wide table too.
_MOST_SEEN = 30
#: Pairs that are looked at again after the best one was taken: what tells little alone tells little beside it.
_MOST_AGAIN = 24
_LEAST_ROWS = 60  # below so few nothing is searched
_BINS = 32
_SMOOTHING = 10.0  # rows that "no effect" counts as in a bin
_MARGIN = 2.0  # standard errors that a pair must gain; whether that was luck the folds tell


class Derived(NamedTuple):
    """One number made of two, as lineages have it; ``operation`` is one of the model format's."""

    left: str
    operation: str
    right: str

    @property
    def read(self) -> tuple[str, str, str]:
        """The arguments of :class:`trainyard.model.Pair`."""
        return self.left, self.right, self.operation


def find(learning: Learning, view: str, budget: Budget) -> tuple[Derived, ...]:
    """Return at most 8 pairs, the best first; the same for the same rows and seed, where the budget cuts nothing off.

    Args:
        learning: the rows to learn from; at most 10,000 of them are looked at.
        view: :data:`TREES` or :data:`LINEAR`.
        budget: looked at between boosting rounds and between pairs; when it is spent, what was found is returned.
    """
    names = [column.name for column in learning.table.schema.features if column.type in NUMBERS]
    if len(names) < 2 or learning.table.rows < _LEAST_ROWS:
        return ()
    sample = Sample(learning)
    telling = sample.ranked(budget)[:_MOST_SEEN]
    ranked = [name for name in telling if name in names][:_MOST_COLUMNS]
    if budget.spent or len(ranked) < 2:
        return ()
    residuals = sample.after_linear(telling) if view == LINEAR else sample.after_curves(telling, budget)
    own = {} if view == LINEAR else {name: _Bins(_numbers(sample, name), sample.half) for name in ranked}
    able: dict[Derived, _Effect] = {}
    for pair in _pairs_of(ranked):
        if budget.spent:
            return ()
        effect = _slope(pair, sample) if view == LINEAR else _bins(pair, sample)
        if effect is not None:
            able[pair] = effect
    return _chosen(able, own, residuals, budget)


def _pairs_of(columns: list[str]) -> Iterator[Derived]:
    for left, right in combinations(columns, 2):
        yield Derived(left, "ratio", right)
        yield Derived(right, "ratio", left)
        yield Derived(left, "difference", right)
        yield Derived(left, "product", right)


def _chosen(
    able: Mapping[Derived, _Effect], own: Mapping[str, _Effect], residuals: FloatArray, budget: Budget
) -> tuple[Derived, ...]:
    """Return the pairs that tell most of the residuals beyond their columns' ``own`` effects, and each other's."""
    found: list[Derived] = []
    while able and len(found) < MOST_PAIRS and not budget.spent:
        alone = {name: effect.gains(residuals) for name, effect in own.items()}
        gained = {pair: _beyond(able[pair].gains(residuals), pair, alone) for pair in able}
        first, *others = sorted(able, key=lambda pair: -float(gained[pair].mean()))
        best = gained[first]
        if not best.mean() > _MARGIN * best.std(ddof=1) / np.sqrt(len(best)):
            break
        found.append(first)
        residuals = residuals - able[first].told(residuals)
        able = {pair: able[pair] for pair in others[:_MOST_AGAIN]}
    return tuple(found)


def _beyond(gained: FloatArray, pair: Derived, alone: Mapping[str, FloatArray]) -> FloatArray:
    """Return what a pair gains in each row beyond the better one of its columns, where that gains anything."""
    for name in (pair.left, pair.right):
        if name in alone and alone[name].mean() > 0.0:
            gained = min(gained, gained - alone[name], key=np.mean)
    return gained


class _Effect(ABC):
    """What a number tells of residuals of one half, by the other half."""

    @abstractmethod
    def told(self, residuals: FloatArray) -> FloatArray:
        """Return what is foretold, of the same shape (rows, K)."""

    def gains(self, residuals: FloatArray) -> FloatArray:
        """Return by how much each row's squared residuals fall, shape (rows,)."""
        told = self.told(residuals)
        return np.asarray((told * (2.0 * residuals - told)).sum(axis=1))


class _Bins(_Effect):
    """As trees see it: a mean of the residuals for each of 32 bins, and for missing values."""

    def __init__(self, values: FloatArray, half: npt.NDArray[np.int64]) -> None:
        known = np.sort(values[~np.isnan(values)])
        at = np.linspace(0, max(0, len(known) - 1), _BINS + 1).astype(np.int64)[1:-1]
        bins = np.where(np.isnan(values), _BINS, np.searchsorted(np.unique(known[at]) if len(known) else known, values))
        self._here, self._there = bins + (_BINS + 1) * half, bins + (_BINS + 1) * (1 - half)
        self._rows = np.bincount(self._here, minlength=2 * (_BINS + 1)) + _SMOOTHING

    def told(self, residuals: FloatArray) -> FloatArray:
        sums = [np.bincount(self._here, weights=r, minlength=len(self._rows)) for r in residuals.T]
        return np.stack([(one / self._rows)[self._there] for one in sums], axis=1)


class _Slope(_Effect):
    """As linear models see it: a straight line through zero."""

    def __init__(self, values: FloatArray, half: npt.NDArray[np.int64]) -> None:
        self._values, self._half = values, half

    def told(self, residuals: FloatArray) -> FloatArray:
        out = np.empty_like(residuals)
        for half in (0, 1):
            here, there = self._half == half, self._half != half
            known = self._values[there]
            slope = known @ residuals[there] / (known @ known + _SMOOTHING)
            out[here] = self._values[here, None] * slope
        return out


def _bins(pair: Derived, sample: Sample) -> _Effect | None:
    """Return a pair's effect on trees; None where it is missing more often than not."""
    values = matrix((Pair(*pair.read),), sample.table.columns, sample.table.rows)[0]
    return _Bins(values, sample.half) if np.isnan(values).mean() < 0.5 else None


def _slope(pair: Derived, sample: Sample) -> _Effect | None:
    """Return its effect on linear models beside those of its columns: the slope it would have in a model of all."""
    columns, rows = sample.table.columns, sample.table.rows
    given = scales.of_pair(pair, columns, rows)
    if not given:
        return None
    steps = [step for name in (pair.left, pair.right) for step in scales.standardised(name, _numbers(sample, name))]
    seen = matrix(given, columns, rows)[0]
    own = np.vstack([np.ones(rows), matrix(steps, columns, rows)]).T
    return _Slope(seen - own @ np.linalg.lstsq(own, seen, rcond=None)[0], sample.half)


def _numbers(sample: Sample, name: str) -> FloatArray:
    return np.asarray(sample.table.columns[name], dtype=np.float64)
