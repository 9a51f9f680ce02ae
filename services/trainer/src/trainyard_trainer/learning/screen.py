"""Which columns a model may learn from: each feature is kept, or left out with a stated reason.

Only rows to learn from are looked at, never those that choose or test. What nothing can be learnt from (constants,
identifiers, free text, copies) is left out first; the rest is searched for columns that give the label away
(:mod:`~trainyard_trainer.learning.leakage`), on a sample of the rows that is the same every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard_trainer.domain import DataError
from trainyard_trainer.learning.leakage import Sample, formulas, suspect
from trainyard_trainer.learning.univariate import Truth
from trainyard_trainer.learning.useless import copies, useless
from trainyard_trainer.learning.verdicts import Screening, Verdict

if TYPE_CHECKING:
    from trainyard.policy import ColumnPolicy
    from trainyard.schema import Column
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.table import Table
    from trainyard_trainer.learning.target import Target

#: Rows that leakage is searched in, and cells of all columns together: fewer rows of a wide table.
_MOST_ROWS = 50_000
_FEWEST_ROWS = 4_000
_MOST_CELLS = 2_000_000
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Rules:
    """What the policy says: whether suspects are left out, and which columns in any case, or in no case."""

    leave_out: bool
    columns: ColumnPolicy


def screen(
    table: Table,
    target: Target,
    rows: npt.NDArray[Any],
    moments: npt.NDArray[Any] | None,
    *,
    rules: Rules,
    budget: Budget,
) -> Screening:
    """Screen the features.

    Args:
        table: all features of the dataset, for all rows.
        target: the label of the same rows.
        rows: indexes of the labelled rows to learn from.
        moments: the dataset's event time for all rows, None where it has none.
        rules: what the policy says.
        budget: for the search for leaks; columns that it does not suffice for are kept, and named.

    Raises:
        DataError: no column is left.
    """
    known = table.take(rows)
    out = {name: Verdict(name, "excluded", "the policy excludes it") for name in rules.columns.exclude}
    for column in known.schema.features:
        verdict = None if column.name in out else useless(column, known.columns[column.name])
        if verdict is not None:
            out[column.name] = verdict
    remaining = [c for c in known.schema.features if c.name not in out]
    suspects, unscreened = _suspects(remaining, _sample(known, target, rows, moments), budget)
    if rules.leave_out:
        out |= suspects
    for name in rules.columns.include:
        out.pop(name, None)
    remaining = [c for c in known.schema.features if c.name not in out]
    for copy in copies(remaining, known.columns):
        if copy.column not in rules.columns.include:
            out[copy.column] = copy
    names = [c.name for c in known.schema.features]
    left_out = tuple(out[name] for name in names if name in out)
    if len(left_out) == len(names):
        raise DataError(_nothing_left(left_out))
    return Screening(left_out, tuple(suspects[n] for n in names if n in suspects), tuple(unscreened))


def _sample(known: Table, target: Target, rows: npt.NDArray[Any], moments: npt.NDArray[Any] | None) -> Sample:
    """Return rows spread evenly over those to learn from."""
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, _MOST_CELLS // max(1, len(known.columns))))
    chosen = (
        np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64)) if len(rows) > most else np.arange(len(rows))
    )
    labels = target.values[rows[chosen]]
    return Sample(
        known.take(chosen).columns,
        Truth(labels, len(target.classes)),
        _numbers(target, labels),
        None if moments is None else np.asarray(moments)[rows[chosen]],
    )


def _numbers(target: Target, labels: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """Return the labels as numbers, None where they are names."""
    if not target.classes:
        return np.asarray(labels, dtype=np.float64)
    if any(isinstance(c, str) for c in target.classes):
        return None
    return np.asarray(np.array([float(c) for c in target.classes])[labels])


def _suspects(columns: list[Column], sample: Sample, budget: Budget) -> tuple[dict[str, Verdict], list[str]]:
    """Return the suspects by name, and the columns that there was no time for."""
    found: dict[str, Verdict] = {}
    for index, column in enumerate(columns):
        if budget.spent:
            return found, [c.name for c in columns[index:]]
        verdict = suspect(column, sample)
        if verdict is not None:
            found[column.name] = verdict
    others = [c.name for c in columns if c.name not in found]
    return found | {v.column: v for v in formulas(others, sample, lambda: not budget.spent)}, []


def _nothing_left(left_out: tuple[Verdict, ...]) -> str:
    named = "; ".join(f"'{verdict.column}': {verdict.reason}" for verdict in left_out[:_NAMED])
    more = f"; and {len(left_out) - _NAMED:,} more" if len(left_out) > _NAMED else ""
    return (
        f"no feature column is left to learn from ({named}{more}); the policy's 'columns' includes what is left out"
        " by mistake"
    )
