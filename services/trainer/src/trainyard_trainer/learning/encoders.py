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

from trainyard.model import DateParts, IsMissing, Number, OneHot, TableEncoding
from trainyard.model.features import level_codes, matrix
from trainyard_trainer.learning.table import count_levels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.model.dto import FloatArray
    from trainyard.model.steps import Step
    from trainyard.schema import Column
    from trainyard_trainer.learning.table import Table

_FOLDS = 5
_SMOOTHING = 20.0  # rows that the prior counts as
_FREQUENT = 20  # rows from which on a level's own mean tells trees no row's label
_MOST_LEVELS = 2_000
_MOST_ONE_HOT = 50
_ONE_HOT_ROWS = 10
_MOST_CLASS_MEANS = 6
_CLIP = 8.0
_SKEWED = 2.0  # skewness from which on a number may be seen by its logarithm; that of an exponential distribution
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

    def for_trees(self, *, coded: bool = False) -> Encoded:
        """Numbers as they are (missing stays missing), categories as target means, dates as calendar parts.

        With ``coded`` categories are numbered instead, for trees that split them by sets of levels.
        """
        parts: list[tuple[Step, FloatArray | None]] = []
        for column in self._features:
            if column.type in ("bool", "int", "float"):
                parts.append((Number(column.name), None))
            elif column.type in _TREE_PARTS:
                parts.append((DateParts(column.name, _TREE_PARTS[column.type]), None))
            else:
                parts.append((self._numbered(column), None) if coded else self._ordered(column))
        encoded = self._encoded(parts)
        if not coded:
            return encoded
        begins = np.cumsum([0, *(step.width for step in encoded.steps)]).tolist()
        at = tuple(i for i, step in zip(begins, encoded.steps, strict=False) if isinstance(step, TableEncoding))
        return replace(encoded, coded=at)

    def for_linear(self) -> Encoded:
        """Everything filled in and on one scale: numbers standardised, few levels one-hot, many as target means."""
        parts: list[tuple[Step, FloatArray | None]] = []
        for column in self._features:
            values = self._table.columns[column.name]
            if column.type in ("bool", "int", "float"):
                parts += self._standardised(column, values)
            elif column.type in _WAVES:
                waves = _WAVES[column.type]
                parts.append((DateParts(column.name, waves, impute=np.zeros(len(waves))), None))
                parts += _missing_flag(column, bool(np.isnat(values).any()))
            else:
                parts += self._levels(column, values)
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

    def _standardised(self, column: Column, values: npt.NDArray[Any]) -> list[tuple[Step, FloatArray | None]]:
        missing = np.isnan(values)
        flag = _missing_flag(column, bool(missing.any()))
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
        return [(Number(column.name, middle, center, scale, _CLIP, transform), None), *flag]

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
        return [(scaled, (out_of_fold - center[:, None]) / scale[:, None]), *_missing_flag(column, missing)]

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


def _missing_flag(column: Column, any_missing: bool) -> list[tuple[Step, FloatArray | None]]:
    return [(IsMissing(column.name), None)] if any_missing else []
