"""Leakage suspects: columns that give the label away, told from the rows to learn from alone.

Every test is one that a column which is known when the answer is wanted hardly ever passes: it predicts almost
perfectly by itself, its gaps do, it is a formula of the label, or it was filled in afterwards. A strong honest feature
of an easy table can pass the first; the figure is reported so that its owner can judge, and keep it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model.features import is_missing
from trainyard_trainer.learning.univariate import Coded, Truth, coded, rank_correlation
from trainyard_trainer.learning.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Column

#: What a column alone may not reach.
MOST_AUC = 0.97
MOST_R2 = 0.95
#: Rank correlation with a numeric label from which a column is taken for a function of it.
_RANK = 0.999
_RANK_VALUES = 20
#: A run of one outcome as long as that found where a column is filled (or empty) is not luck.
_LUCK = 1e-6
_FEWEST_ROWS = 10
_LATER_SHARE = 0.5
#: A formula must hold in this share of the rows, also of those whose label is not the commonest one.
_HOLDS = 0.995
_HOLDS_ELSEWHERE = 0.95
#: Rows that a pair is tried on before it is on all of them, and the share in which it must hold: values may be missing.
_PROBES = 12
_PROBES_HOLD = 0.3
_EXACT = 1e-9
_OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda y, a: y - a,
    "-": lambda y, a: a - y,
    "*": lambda y, a: y / a,
    "/": lambda y, a: a / y,
}


@dataclass(frozen=True, eq=False)
class Sample:
    """Labelled rows to learn from, a sample of them where there are many.

    Attributes:
        columns: features by name, arrays as in :class:`~trainyard_trainer.learning.table.Table`.
        truth: their labels.
        numbers: the labels as numbers, None where classes are not numbers.
        moments: the dataset's event time, None where it has none.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    truth: Truth
    numbers: npt.NDArray[np.float64] | None
    moments: npt.NDArray[Any] | None


def suspect(column: Column, sample: Sample) -> Verdict | None:
    """Say why the column is suspected, None where it is not."""
    values = sample.columns[column.name]
    own = coded(values)
    missing = own.missing
    return (
        _later(column, values, sample.moments)
        or _function(column, own, sample)
        or _gaps(column.name, missing, sample.truth)
        or _one_outcome(column.name, missing, sample.truth)
        or _alone(column, values, own, sample.truth)
    )


def _alone(column: Column, values: npt.NDArray[Any], own: Coded, truth: Truth) -> Verdict | None:
    figure = truth.score(own, values if values.dtype.kind == "f" else None)
    if not _too_good(truth, figure):
        return None
    if truth.n_classes and _pure(own, truth):
        reason = f"each of its {own.size:,} values has one label only ({truth.measure} {figure:.3f} alone)"
        return Verdict(column.name, "function", reason, figure)
    return Verdict(column.name, "alone", f"it alone predicts the label: {truth.measure} {figure:.3f}", figure)


def _too_good(truth: Truth, figure: float) -> bool:
    return figure >= (MOST_AUC if truth.n_classes else MOST_R2)


def _pure(own: Coded, truth: Truth) -> bool:
    """Tell whether every value, each in several rows on average, goes with one class only."""
    if own.size * 2 > len(own.codes):
        return False
    pairs = np.unique(own.codes * truth.n_classes + truth.labels)
    return len(pairs) == int((own.counts > 0).sum())


def _function(column: Column, own: Coded, sample: Sample) -> Verdict | None:
    """Recognise a column that rises (or falls) with a numeric label wherever it has a value: the label in disguise."""
    label = sample.truth.as_values
    if label is None or not own.ordered or own.counts[-1] > _LATER_SHARE * len(own.codes):
        return None
    if np.count_nonzero(np.bincount(label.codes[~own.missing])) < _RANK_VALUES:
        return None
    figure = rank_correlation(own, label)
    if abs(figure) < _RANK:
        return None
    way = "rises" if figure > 0 else "falls"
    return Verdict(
        column.name, "function", f"it {way} exactly as the label does: rank correlation {figure:.4f}", figure
    )


def _gaps(name: str, missing: npt.NDArray[np.bool_], truth: Truth) -> Verdict | None:
    if missing.all() or not missing.any():
        return None
    figure = truth.score(Coded(missing.astype(np.int64), 2, ordered=False))
    if not _too_good(truth, figure):
        return None
    reason = f"whether it is missing alone predicts the label: {truth.measure} {figure:.3f}"
    return Verdict(name, "missingness", reason, figure)


def _one_outcome(name: str, missing: npt.NDArray[np.bool_], truth: Truth) -> Verdict | None:
    """Recognise a column that has a value, or has none, only where the label is one certain class."""
    if not truth.n_classes:
        return None
    shares = np.bincount(truth.labels, minlength=truth.n_classes) / len(truth.labels)
    for rows, words in ((~missing, "filled"), (missing, "missing")):
        number = int(rows.sum())
        if not _FEWEST_ROWS <= number < len(rows):
            continue
        label = int(truth.labels[rows][0])
        if (truth.labels[rows] == label).all() and number * np.log(shares[label]) < np.log(_LUCK):
            covered = number / float(shares[label] * len(truth.labels))
            reason = f"it is {words} for one outcome only: in {number:,} rows, {covered:.1%} of that outcome's"
            return Verdict(name, "one_outcome", reason, covered)
    return None


def _later(column: Column, values: npt.NDArray[Any], moments: npt.NDArray[Any] | None) -> Verdict | None:
    if moments is None or values.dtype.kind != "M":
        return None
    both = ~(is_missing(values) | is_missing(moments))
    if int(both.sum()) < _FEWEST_ROWS:
        return None
    unit = "datetime64[D]" if column.type == "date" else "datetime64[us]"
    share = float((values[both].astype(unit) > moments[both].astype(unit)).mean())
    if share <= _LATER_SHARE:
        return None
    return Verdict(column.name, "later", f"it lies after the event's time in {share:.1%} of the rows", share)


def formulas(names: Sequence[str], sample: Sample, go_on: Callable[[], bool]) -> list[Verdict]:
    """Find pairs of numeric columns whose sum, difference, product or quotient is the label; both are suspects.

    ``names`` are columns that no other test has found; ``go_on`` is asked between them whether there is time left.
    """
    numeric = [name for name in names if sample.columns[name].dtype.kind == "f"]
    y = sample.numbers
    if y is None or len(numeric) < 2:
        return []
    off = np.flatnonzero(y != _commonest(y))
    probes = off[np.unique(np.linspace(0, len(off) - 1, _PROBES).astype(np.int64))]
    if len(probes) < _FEWEST_ROWS:
        return []
    few = np.stack([sample.columns[name][probes] for name in numeric])
    found: dict[str, Verdict] = {}
    with np.errstate(all="ignore"):
        for index, name in enumerate(numeric):
            if not go_on():
                break
            for sign, needed in _OPERATIONS.items():
                close = _equal(few, needed(y[probes], few[index]))
                for other in np.flatnonzero(close.mean(axis=1) >= _PROBES_HOLD).tolist():
                    if other != index:
                        _hold((name, numeric[other]), sign, sample, off, found)
    return [found[name] for name in numeric if name in found]


def _hold(pair: tuple[str, str], sign: str, sample: Sample, off: npt.NDArray[Any], found: dict[str, Verdict]) -> None:
    """Check on all rows that the label is the one column ``sign`` the other, and note both."""
    left, right = (sample.columns[name] for name in pair)
    holds = _equal(right, _OPERATIONS[sign](sample.numbers, left))
    known = ~(np.isnan(left) | np.isnan(right))
    share = float(holds[known].mean()) if known.mean() >= _LATER_SHARE else 0.0
    elsewhere = holds[off][known[off]]
    if share < _HOLDS or len(elsewhere) < _FEWEST_ROWS or elsewhere.mean() < _HOLDS_ELSEWHERE:
        return
    reason = f"the label is '{pair[0]}' {sign} '{pair[1]}' in {share:.1%} of the rows"
    for name in pair:
        found.setdefault(name, Verdict(name, "arithmetic", reason, share))


def _equal(values: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Tell where they agree but for rounding; what divides by zero agrees with nothing."""
    return np.asarray((np.abs(values - wanted) <= _EXACT * np.maximum(1.0, np.abs(wanted))) & np.isfinite(wanted))


def _commonest(y: npt.NDArray[Any]) -> float:
    values, counts = np.unique(y, return_counts=True)
    return float(values[counts.argmax()])
