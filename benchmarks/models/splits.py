"""Which rows a method learns from and which it is asked, by seed: fixed before anything was tuned. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

#: The seeds of the full table; with fewer, the first of them.
SEEDS = (0, 1, 2, 3, 4)
_TEST_SHARE = 0.2
#: Time-ordered tables: where the learnt part ends for seed 0, and how much later for each next seed.
_FIRST_CUT = 0.6
_CUT_STEP = 0.05

Rows = npt.NDArray[np.int64]


def split(rule: str, labels: npt.NDArray[Any], seed: int, *, classes: bool) -> tuple[Rows, Rows]:
    """Return the row numbers to learn from and those to be asked, each ascending.

    Args:
        rule: "random" or "time", as the list says.
        labels: shape (rows,).
        seed: one of :data:`SEEDS`.
        classes: whether labels are classes, of which a random split puts the same share on both sides.
    """
    if rule == "time":
        return _by_time(len(labels), seed)
    rng = np.random.default_rng(seed)
    asked = np.zeros(len(labels), dtype=np.bool_)
    for members in _strata(labels) if classes else [np.arange(len(labels))]:
        asked[rng.permutation(members)[: round(len(members) * _TEST_SHARE)]] = True
    return np.flatnonzero(~asked), np.flatnonzero(asked)


def _by_time(rows: int, seed: int) -> tuple[Rows, Rows]:
    cut = round(rows * (_FIRST_CUT + _CUT_STEP * seed))
    return np.arange(cut), np.arange(cut, min(rows, cut + round(rows * _TEST_SHARE)))


def _strata(labels: npt.NDArray[Any]) -> list[Rows]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
