"""A converted model held against the library that fitted the original."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard_convert.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.model import Predictor
    from trainyard.schema import Schema
    from trainyard_convert.converted import Answer, Converted

#: Largest difference allowed, for values beyond 1 relative.
LIMIT = 1e-6
#: The same where the library itself adds and divides in float32, which has 7 digits.
SINGLE_LIMIT = 1e-5


@dataclass(frozen=True)
class Parity:
    """What the comparison showed.

    Attributes:
        rows: rows compared, those with values taken out included.
        largest: largest difference to the library's answers, for values beyond 1 relative; ``limit`` is what it may be.
        exact: the same to the library's choice of leaves added up in float64; None where the library has no such form.
        without: rows of the above in which one value was taken out.
    """

    rows: int
    without: int
    largest: float
    limit: float
    exact: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "rows": self.rows,
            "rows_with_a_value_taken_out": self.without,
            "largest_difference": self.largest,
            "allowed": self.limit,
            "largest_difference_of_float64_sums": self.exact,
        }


def check_parity(converted: Converted, predictor: Predictor, columns: Mapping[str, Sequence[Any]]) -> Parity:
    """Compare on real rows, and on the same rows with one value each taken out, wherever the model lets one be missing.

    Args:
        converted: a conversion whose ``native`` is there.
        predictor: of the model that was made of it.
        columns: clean values (None is missing) of the features that the model reads, of at least one row.

    Raises:
        ConversionError: an answer differs by more than is allowed.
    """
    native = converted.native
    if native is None:
        raise ValueError("nobody to compare with: the conversion was made of a text")
    rows, without = _with_gaps(converted.schema, columns)
    count = len(next(iter(rows.values())))
    ours = np.asarray(predictor.predict_columns(rows))
    limit = SINGLE_LIMIT if native.single else LIMIT
    largest = _largest(converted, ours, native.answer, rows, limit)
    exact = None if native.exact is None else _largest(converted, ours, native.exact, rows, LIMIT)
    return Parity(count, without, largest, limit, exact)


def _largest(converted: Converted, ours: Any, answer: Answer, rows: Mapping[str, Sequence[Any]], limit: float) -> float:
    theirs = np.asarray(answer(rows), dtype=np.float64).reshape(ours.shape)
    apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    if not (apart <= limit).all():
        worst = int(np.nanargmax(np.where(np.isnan(apart), np.inf, apart).reshape(len(ours), -1).max(axis=1)))
        values = {name: column[worst] for name, column in rows.items()}
        raise ConversionError(
            f"parity with {converted.library[0]}", f"the converted model differs by {np.nanmax(apart):.3g}, more than"
            f" {limit:g}, in {int((~(apart <= limit)).sum())} of {apart.size} answers, most for {values!r}",
            "report the model: this is a fault of the converter",
        )  # fmt: skip
    return float(apart.max())


def _with_gaps(schema: Schema, columns: Mapping[str, Sequence[Any]]) -> tuple[dict[str, list[Any]], int]:
    """Return the rows, and once more with the value of one column after the other taken out, row by row."""
    wanted = {c.name: list(columns[c.name]) for c in schema.features}
    gaps = [c.name for c in schema.features if c.nullable]
    if not gaps:
        return wanted, 0
    count = len(next(iter(wanted.values())))
    out = {}
    for name, values in wanted.items():
        taken = [None if gaps[i % len(gaps)] == name else v for i, v in enumerate(values)]
        out[name] = values + taken
    return out, count
