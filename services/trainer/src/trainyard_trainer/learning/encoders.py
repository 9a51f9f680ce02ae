"""Our own encodings of columns as floats, one set for trees and one for linear models and networks.

What is learnt here becomes the model's preprocessing steps. Target means of a category are smoothed. Where a level has
few rows, the matrix an estimator is fitted on holds *out-of-fold* means: a row does not see its own label through
them. Trees are given a frequent level's mean over all its rows: they use nothing but the order of the levels, in which
a row hardly counts, while a mean that differs by fold would be a column to split the folds of a level by.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model import DateParts, IsMissing, Number, OneHot, Pair, TableEncoding
from trainyard.model.features import level_codes, matrix
from trainyard_trainer.learning import scales
from trainyard_trainer.learning.table import count_levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.model.dto import FloatArray
    from trainyard.model.steps import Step
    from trainyard.schema import Column
    from trainyard_trainer.learning.pairs import Derived
    from trainyard_trainer.learning.table import Table

NUMBERS = ("bool", "int", "float")
#: How linear models and networks see numbers.
STANDARD, QUANTILE = "standard", "quantile"
_LARGEST = 1e30  # what a forest, which computes in single precision, still takes
_FOLDS = 5
_SMOOTHING = 20.0  # rows that the prior counts as
_FREQUENT = 20  # rows from which on a level's own mean tells trees no row's label
_MOST_LEVELS = 2_000
_MOST_ONE_HOT = 50
_ONE_HOT_ROWS = 10
_MOST_CLASS_MEANS = 6
_TREE_PARTS = {"date": ("month", "day", "weekday"), "timestamp": ("month", "day", "weekday", "hour", "minute")}
_WAVES = {
    "date": ("month_sin", "month_cos", "weekday_sin", "weekday_cos"),
    "timestamp": ("month_sin", "month_cos", "weekday_sin", "weekday_cos", "hour_sin", "hour_cos"),
}


@dataclass(frozen=True, eq=False)
class Encoded:
    """Learnt steps, the matrix (rows, D) to fit an estimator on, and which of its columns hold codes of categories."""

    steps: tuple[Step, ...]
    x: FloatArray
    coded: tuple[int, ...] = ()


class Encoder:
    """Learns the steps for one table of rows to learn from and their labels."""

    def __init__(self, table: Table, labels: npt.NDArray[Any], n_classes: int, seed: int) -> None:
        """Take the rows; ``labels`` are class indexes (``n_classes`` of them) or values (``n_classes`` = 0)."""
        self._table = table
        self._features = table.schema.features
        self._targets = _targets(labels, n_classes)
        self._folds = np.random.default_rng(seed).permutation(table.rows) % _FOLDS

    def for_trees(self, *, coded: bool = False, pairs: Sequence[Derived] = ()) -> Encoded:
        """Numbers as they are (missing stays missing), categories as target means, dates as calendar parts; pairs.

        With ``coded`` categories are numbered instead, for trees that split them by sets of levels.
        """
        parts: list[tuple[Step, FloatArray | None]] = []
        for column in self._features:
            if column.type in NUMBERS:
                parts.append((Number(column.name), None))
            elif column.type in _TREE_PARTS:
                parts.append((DateParts(column.name, _TREE_PARTS[column.type]), None))
            else:
                parts.append((self._numbered(column), None) if coded else self._ordered(column))
        parts += [(Pair(*pair.read, clip=_LARGEST), None) for pair in pairs]
        encoded = self._encoded(parts)
        if not coded:
            return encoded
        begins = np.cumsum([0, *(step.width for step in encoded.steps)]).tolist()
        at = tuple(i for i, step in zip(begins, encoded.steps, strict=False) if isinstance(step, TableEncoding))
        return replace(encoded, coded=at)

    def for_linear(self, *, scaling: str = STANDARD, pairs: Sequence[Derived] = ()) -> Encoded:
        """Everything filled in and on one scale: few levels one-hot, many as target means; with the pairs behind.

        ``scaling``: how numbers are (:mod:`~trainyard_trainer.learning.scales`), :data:`STANDARD` or :data:`QUANTILE`.
        """
        parts: list[tuple[Step, FloatArray | None]] = []
        for column in self._features:
            values = self._table.columns[column.name]
            if column.type in NUMBERS:
                scale = scales.by_quantiles if scaling == QUANTILE else scales.standardised
                parts += [(step, None) for step in scale(column.name, values)]
            elif column.type in _WAVES:
                waves = _WAVES[column.type]
                steps = [DateParts(column.name, waves, impute=np.zeros(len(waves)))]
                parts += [(step, None) for step in (*steps, *scales.missing_flag(column.name, values))]
            else:
                parts += self._levels(column, values)
        for pair in pairs:
            parts += [(step, None) for step in scales.of_pair(pair, self._table.columns, self._table.rows)]
        return self._encoded(parts)

    def _encoded(self, parts: list[tuple[Step, FloatArray | None]]) -> Encoded:
        steps = tuple(step for step, _ in parts)
        x = matrix(steps, self._table.columns, self._table.rows)
        at = 0
        for step, out_of_fold in parts:
            if out_of_fold is not None:
                x[at : at + step.width] = out_of_fold
            at += step.width
        return Encoded(steps, np.ascontiguousarray(x.T))

    def _levels(self, column: Column, values: npt.NDArray[Any]) -> list[tuple[Step, FloatArray | None]]:
        counts = count_levels(values)
        missing = counts.pop(None, 0) > 0
        common = sorted(level for level, count in counts.items() if count >= _ONE_HOT_ROWS)
        if len(counts) <= _MOST_ONE_HOT:
            return [(OneHot(column.name, tuple(common), other=True, missing=missing), None)]
        step, out_of_fold, _ = self._means(column)
        center, scale = out_of_fold.mean(axis=1), out_of_fold.std(axis=1)
        scale = np.where(scale > 0, scale, 1.0)
        scaled = TableEncoding(
            column.name,
            step.levels,
            *((np.asarray(rows) - center) / scale for rows in (step.table, step.unknown, step.missing)),
        )
        flag: list[tuple[Step, FloatArray | None]] = [(IsMissing(column.name), None)] if missing else []
        return [(scaled, (out_of_fold - center[:, None]) / scale[:, None]), *flag]

    def _ordered(self, column: Column) -> tuple[TableEncoding, FloatArray]:
        """Return the table of target means, and what trees are fitted on: out-of-fold means of rare levels."""
        step, out_of_fold, frequency = self._means(column)
        whole = matrix((step,), self._table.columns, self._table.rows)
        return step, np.where(frequency >= _FREQUENT, whole, out_of_fold)

    def _numbered(self, column: Column) -> TableEncoding:
        """Return the levels' numbers, the commonest first; unknown ones are as good as missing."""
        levels = _common(count_levels(self._table.columns[column.name]))
        codes = np.arange(len(levels), dtype=np.float64)[:, None]
        return TableEncoding(column.name, levels, codes, None, None)

    def _means(self, column: Column) -> tuple[TableEncoding, FloatArray, npt.NDArray[np.int64]]:
        """Return the table of smoothed target means, the out-of-fold ones (width, rows), and the rows of each level."""
        values = self._table.columns[column.name]
        counts = count_levels(values)
        levels = tuple(sorted(_common(counts)))
        codes = level_codes(levels, values)
        codes = np.where(codes == -2, len(levels) + 1, np.where(codes == -1, len(levels), codes))
        size = len(levels) + 2  # the levels, unknown, missing
        prior = self._targets.mean(axis=1)

        def table_of(rows: npt.NDArray[np.bool_] | slice) -> FloatArray:
            number = np.bincount(codes[rows], minlength=size)[:, None]
            sums = np.stack([np.bincount(codes[rows], weights=t[rows], minlength=size) for t in self._targets], axis=1)
            return np.asarray((sums + _SMOOTHING * prior) / (number + _SMOOTHING))

        out_of_fold = np.empty((len(self._targets), len(codes)))
        for fold in range(_FOLDS):
            inside = self._folds == fold
            out_of_fold[:, inside] = table_of(~inside)[codes[inside]].T
        whole = table_of(slice(None))
        step = TableEncoding(column.name, levels, whole[: len(levels)], whole[-2], whole[-1])
        return step, out_of_fold, np.bincount(codes, minlength=size)[codes]


def _common(counts: Mapping[str | None, int]) -> tuple[str, ...]:
    """Return the levels that are told apart, the commonest first: those of more than one row, up to a limit."""
    ranked = sorted((level for level in counts if level is not None), key=lambda level: (-counts[level], level))
    return tuple(level for level in ranked[:_MOST_LEVELS] if counts[level] > 1)


def _targets(labels: npt.NDArray[Any], n_classes: int) -> FloatArray:
    """Return what means are taken of, shape (width, rows): the value, or indicators of the (commonest) classes."""
    if n_classes == 0:
        return np.asarray(labels, dtype=np.float64)[None, :]
    if n_classes == 2:
        return np.asarray((labels == 1).astype(np.float64)[None, :])
    common = np.argsort(-np.bincount(labels, minlength=n_classes), kind="stable")[:_MOST_CLASS_MEANS]
    return np.stack([(labels == c).astype(np.float64) for c in np.sort(common)])
