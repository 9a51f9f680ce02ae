"""Which interval between sorted cuts a value falls into: what ``searchsorted`` says, several times as fast for many.

A binary search jumps about and the processor guesses half of the jumps wrong. Here a first step in plain arithmetic
leads to one of many equally wide buckets, and what few cuts are within it are tried without a jump.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from trainyard.model.dto import FloatArray

Indexes = npt.NDArray[np.intp]

_BUCKETS_PER_CUT = 8
_FEW = 256  # below, a few calls of numpy cost more than wrong guesses


@dataclass(frozen=True)
class Intervals:
    """Sorted, different, finite cuts and their buckets.

    Exact for any double whatever the rounding: ``_bucket`` never decreases with the value and the cuts go through it
    too, so a cut in a lower bucket than a value's is below the value.

    Shapes: cuts (n,); padded (n + steps[0],), the cuts and infinities; below (buckets + 1,), the number of cuts in
    lower buckets; steps are descending powers of two that add up to at least the most cuts within a bucket.
    """

    cuts: FloatArray
    padded: FloatArray
    start: float
    scale: float
    below: Indexes
    steps: list[int]

    @classmethod
    def of(cls, cuts: FloatArray) -> Intervals:
        """Return the buckets for cuts (n,), n > 0."""
        # outlying cuts (a split off of missing values is at the largest double) share the first and the last bucket
        tries = [_buckets(cuts, trim) for trim in {0, 1, len(cuts) // 16, len(cuts) // 4} if 2 * trim < len(cuts)]
        start, scale, bucket = min(tries, key=lambda tried: int(np.bincount(tried[2]).max()))
        below = np.searchsorted(bucket, np.arange(_BUCKETS_PER_CUT * len(cuts) + 1)).astype(np.intp, copy=False)
        most = int(np.bincount(bucket).max())
        steps = [1 << power for power in reversed(range(most.bit_length()))]
        padded = np.concatenate([cuts, np.full(steps[0], np.inf)])
        return cls(cuts, padded, start, scale, below, steps)

    def of_values(self, values: FloatArray, missing: int, out: Indexes) -> None:
        """Put the number of cuts below each value into ``out`` (rows,), and ``missing`` where it is NaN."""
        if len(values) < _FEW:
            out[:] = np.searchsorted(self.cuts, values)
        else:
            self._look_up(values, out)
        is_missing = np.isnan(values)
        if is_missing.any():
            np.copyto(out, missing, where=is_missing)

    def _look_up(self, values: FloatArray, out: Indexes) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            bucket = _bucket(values, self.start, self.scale, len(self.below) - 1)
        self.below.take(bucket, out=out, mode="clip")
        for step in self.steps:
            # the cuts beyond those of the bucket are above the value: a step too far is never taken
            above = np.less(self.padded[step - 1 :].take(out, mode="clip"), values)
            np.add(out, above if step == 1 else np.multiply(above, step, dtype=np.intp), out=out)


def _buckets(cuts: FloatArray, trim: int) -> tuple[float, float, Indexes]:
    """Return the start and the scale of equally wide buckets from one cut to another, and the bucket of each cut."""
    n_buckets = _BUCKETS_PER_CUT * len(cuts)
    start, end = float(cuts[trim]), float(cuts[-1 - trim])
    with np.errstate(over="ignore", invalid="ignore"):
        scale = float(np.divide(n_buckets, np.subtract(end, start))) if end > start else 0.0
        return start, scale, _bucket(cuts, start, scale, n_buckets)


def _bucket(values: FloatArray, start: float, scale: float, last: int) -> Indexes:
    """Return the bucket (0 .. last) of each value; for NaN the first."""
    place = np.subtract(values, start)
    np.multiply(place, scale, out=place)
    np.fmax(place, 0.0, out=place)  # also for what is not a number
    np.fmin(place, last, out=place)
    return place.astype(np.intp)
