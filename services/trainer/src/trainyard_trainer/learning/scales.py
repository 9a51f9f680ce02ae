"""Numbers as linear models and networks see them: filled in and on one scale, as the model's own steps.

*Standardised*: heavily skewed ones by their logarithm where that halves the skewness, then mean 0 and deviation 1. *By
quantiles*: the share of rows below, put on the scale of a normal distribution; it takes any tail away, and with it what
distances in a tail may say.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from trainyard.model import IsMissing, Number, Pair, Quantile
from trainyard.model.features import matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from trainyard.model.dto import FloatArray
    from trainyard.model.steps import Step
    from trainyard_trainer.learning.pairs import Derived

_CLIP = 8.0
_SKEWED = 2.0  # skewness from which on a number may be seen by its logarithm; that of an exponential distribution
_POINTS = 100  # of a scale by quantiles, at most
_TAIL_SHARE = 0.01  # of the values of a pair, on each side: its centre and scale do not see them


def missing_flag(column: str, values: npt.NDArray[np.generic]) -> list[Step]:
    """Return a step that tells missing values of numbers or moments, where there are any."""
    missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    return [IsMissing(column)] if missing.any() else []


def standardised(column: str, values: FloatArray) -> list[Step]:
    """Return the steps for a number: itself, and its missing flag; the flag alone where it does not vary."""
    missing = np.isnan(values)
    flag = missing_flag(column, values)
    if missing.all():  # in these rows, though not in all to learn from
        return flag
    with np.errstate(over="ignore", invalid="ignore"):
        transform = _transform(values[~missing])
        known = _signed_log(values) if transform == "log" else values
        middle = float(np.median(known[~missing]))
        filled = np.where(missing, middle, known)
        center, scale = float(filled.mean()), float(filled.std())
    if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
        return flag
    return [Number(column, middle, center, scale, _CLIP, transform), *flag]


def by_quantiles(column: str, values: FloatArray) -> list[Step]:
    """Return the same by quantiles; standardised where there are too few values, or they are too far apart."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return missing_flag(column, values)
    at, first = np.unique(known, return_index=True)
    last = np.append(first[1:], len(known))
    if len(at) > _POINTS:
        share = np.linspace(0, len(known) - 1, _POINTS).astype(np.int64)
        chosen = np.unique(np.searchsorted(at, known[share]))
        at, first, last = at[chosen], first[chosen], last[chosen]
    with np.errstate(over="ignore"):
        apart = np.diff(at)
        # neighbours in the last bits would make a line that is too steep to be told from a step
        sound = len(at) > 2 and bool(np.isfinite(apart).all()) and apart.min() > (at[-1] - at[0]) * 1e-12
    if not sound:
        return standardised(column, values)
    normal = NormalDist()
    # the middle rank of the rows that share a value: never 0 or 1
    to = np.array([normal.inv_cdf(share) for share in ((first + last) / 2 / len(known)).tolist()])
    return [Quantile(column, at, to, 0.0), *missing_flag(column, values)]


def of_pair(pair: Derived, columns: Mapping[str, npt.NDArray[np.generic]], rows: int) -> list[Step]:
    """Return the step for two numbers made one, none where it does not vary; its tails do not decide its scale."""
    values = matrix((Pair(*pair.read),), columns, rows)[0]
    known = np.sort(values[~np.isnan(values)])
    cut = int(len(known) * _TAIL_SHARE)
    inner = known[cut : len(known) - cut]
    if not len(inner):
        return []
    with np.errstate(over="ignore", invalid="ignore"):
        center, scale = float(inner.mean()), float(inner.std())
    if not (np.isfinite(center) and np.isfinite(scale) and scale > 0):
        return []
    return [Pair(*pair.read, impute=float(np.median(inner)), center=center, scale=scale, clip=_CLIP)]


def _transform(values: FloatArray) -> str:
    """Return how a linear model sees a number: by its logarithm where that makes a skewed one much less so."""
    plain = _skewness(values)
    return "log" if plain > _SKEWED and _skewness(_signed_log(values)) < plain / 2 else "identity"


def _signed_log(values: FloatArray) -> FloatArray:
    return np.copysign(np.log1p(np.abs(values)), values)


def _skewness(values: FloatArray) -> float:
    """Return the absolute third standardised moment; 0 where it cannot be told."""
    apart = values - values.mean()
    spread = float(apart.std())
    found = abs(float(((apart / spread) ** 3).mean())) if spread > 0 else 0.0
    return found if np.isfinite(found) else 0.0
