"""How the fit part is cut to choose with: which rows a candidate learns from, and which it is measured on.

Small tables are cut several times, because one small validation part says little; every row of a table without an event
time is then answered once by a model that has not learnt from it. Large tables are cut once: their one validation part
says enough, and each further cut would cost a whole fit.

*Without an event time* the cuts are folds: the units (group, else key, else row) are dealt out class by class, so
every fold has its share of each class and no group is on both sides. *With one* the folds follow the order of time:
learn from what came before, measure on what came next, three times. Pure, and the same for the same rows and seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainyard.holdout import mixed

Indexes = npt.NDArray[np.int64]

#: Rows above which one cut is enough, whatever the budget.
MOST_ROWS = 20_000
#: Cells (rows x columns x scores) that a second of budget allows to be cut three and five times.
_CELLS_A_SECOND = ((5, 3_000.0), (3, 10_000.0))
#: Rows below which cuts in time would leave too little in front of the first.
_LEAST_ROWS_IN_TIME = 200
_TIME_CUTS = 3
_TIME_SHARE = 0.1  # of the rows: what each cut in time is measured on


@dataclass(frozen=True, eq=False)
class Fold:
    """Indexes of rows to learn from and to measure on, both ascending; they share none."""

    train: Indexes
    validation: Indexes


def how_many(rows: int, columns: int, n_outputs: int, budget_seconds: float) -> int:
    """Return how often to cut: 5, 3 or 1. It depends on what was asked for only, not on what is left of the budget."""
    cells = float(rows) * columns * n_outputs
    if rows > MOST_ROWS:
        return 1
    return next((k for k, allowed in _CELLS_A_SECOND if cells <= allowed * budget_seconds), 1)


def by_unit(unit: npt.NDArray[np.uint64], classes: npt.NDArray[np.int64] | None, seed: int, count: int) -> list[Fold]:
    """Return ``count`` folds of whole units, each with its share of every class.

    Args:
        unit: shape (rows,), the hash of each row's unit.
        classes: shape (rows,), class indexes; None for regression.
        seed: the request's.
    """
    units, inverse, sizes = np.unique(unit, return_inverse=True, return_counts=True)
    kind = np.zeros(len(units), dtype=np.int64) if classes is None else _commonest(inverse, classes, len(units))
    order = np.lexsort((mixed(units, seed), -sizes, kind))
    fold_of_unit = np.empty(len(units), dtype=np.int64)
    fold_of_unit[order] = np.arange(len(units)) % count
    fold = fold_of_unit[inverse]
    return [Fold(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(count)]


def by_time(rows: int) -> list[Fold]:
    """Return forward-chaining cuts of rows in order of time: the last three tenths, each behind all before it."""
    size = round(rows * _TIME_SHARE)
    starts = [rows - size * (_TIME_CUTS - i) for i in range(_TIME_CUTS)]
    return [Fold(np.arange(start), np.arange(start, start + size)) for start in starts]


def cut(
    single: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int64] | None,
    *,
    n_classes: int,
    unit: npt.NDArray[np.uint64] | None,
    seed: int,
    count: int,
) -> list[Fold]:
    """Return the folds of the fit part.

    Args:
        single: shape (rows,), the rows of the one validation part that the split has set aside.
        labels: class indexes; None for regression.
        n_classes: every part to learn from must have all of them, else there is one cut.
        unit: hashes of the rows' units, None where the rows are in order of time.
        seed: the request's.
        count: from :func:`how_many`.
    """
    alone = [Fold(np.flatnonzero(~single), np.flatnonzero(single))]
    if count == 1 or (unit is None and len(single) < _LEAST_ROWS_IN_TIME):
        return alone
    folds = by_time(len(single)) if unit is None else by_unit(unit, labels, seed, count)
    whole = all(len(fold.validation) and _has_all(labels, fold.train, n_classes) for fold in folds)
    return folds if whole else alone


def _has_all(labels: npt.NDArray[np.int64] | None, rows: Indexes, n_classes: int) -> bool:
    return labels is None or len(np.unique(labels[rows])) == n_classes


def _commonest(inverse: Indexes, classes: npt.NDArray[np.int64], n_units: int) -> Indexes:
    """Return each unit's most frequent class (of equals the largest)."""
    width = int(classes.max()) + 1
    pairs, counts = np.unique(inverse * width + classes, return_counts=True)
    order = np.lexsort((counts, pairs // width))  # a later entry of a unit overwrites a rarer one
    found = np.zeros(n_units, dtype=np.int64)
    found[pairs[order] // width] = pairs[order] % width
    return found
