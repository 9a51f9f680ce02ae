"""Which rows count where rows correct each other: the newest of each key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

Longs = npt.NDArray[np.int64]
#: A table of this many places for each row is cheaper than sorting.
_PLACES_A_ROW = 4


def latest(keys: Sequence[Longs], missing: npt.NDArray[np.bool_]) -> tuple[Longs, Longs]:
    """Return the indexes of the newest row of each key, ascending, and the index of the first row of each of these.

    Args:
        keys: the key columns, shape (rows,) each, in the order of the rows' numbers.
        missing: rows whose key is not whole; each stands alone.
    """
    alone = np.flatnonzero(missing)
    rows = np.flatnonzero(~missing)
    code = np.zeros(len(rows), dtype=np.int64)
    for values in keys:
        one = _dense(values[rows])
        code = _dense(code * (int(one.max(initial=0)) + 1) + one)  # both are below the number of rows: no overflow
    count = int(code.max(initial=-1)) + 1
    last = np.full(count, -1, dtype=np.int64)
    first = np.full(count, -1, dtype=np.int64)
    last[code] = rows  # of several assignments to one place the last one stays
    first[code[::-1]] = rows[::-1]
    used = last >= 0
    chosen = np.concatenate([last[used], alone])
    firsts = np.concatenate([first[used], alone])
    order = np.argsort(chosen, kind="stable")
    return chosen[order], firsts[order]


def _dense(values: Longs) -> Longs:
    """Return numbers from 0 that are equal where ``values`` are, not many more than there are rows."""
    if not len(values):
        return values
    low, high = int(values.min()), int(values.max())
    if high - low < _PLACES_A_ROW * len(values):
        return values - low
    return np.unique(values, return_inverse=True)[1].astype(np.int64)
