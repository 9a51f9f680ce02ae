"""Feature columns of some rows, in the form that the model's own preprocessing reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.schema import Column, Schema
from trainyard.snapshot import Texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.snapshot import Snapshot


@dataclass(frozen=True, eq=False)
class Table:
    """``columns``: numbers (NaN = missing), datetime64[us] or strings (None = missing), all of the same length."""

    schema: Schema
    columns: Mapping[str, npt.NDArray[Any]]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values())))

    def take(self, rows: npt.NDArray[Any]) -> Table:
        """Return these rows (indexes or mask)."""
        return Table(self.schema, {name: values[rows] for name, values in self.columns.items()})


def table_of(snapshot: Snapshot, schema: Schema, rows: npt.NDArray[Any] | slice = slice(None)) -> Table:
    """Return the features of ``schema`` for the snapshot's ``rows`` (all of them by default)."""

    def values(name: str) -> npt.NDArray[Any]:
        column = snapshot.columns[name]
        return column.take(rows).values() if isinstance(column, Texts) else np.asarray(column[rows])

    return Table(schema, {column.name: values(column.name) for column in schema.features})


def model_schema(schema: Schema, label: str) -> Schema:
    """Return the dataset's schema as the model sees it: ``label`` is the label, a different one is ignored."""

    def role(column: Column) -> str:
        if column.name == label:
            return "label"
        return "ignore" if column.role == "label" else column.role

    return Schema(Column(c.name, c.type, role(c), c.nullable, c.categories) for c in schema.columns)


def count_levels(values: npt.NDArray[Any]) -> dict[Any, int]:
    """Return how often each string (or None) occurs."""
    counts: dict[Any, int] = {}
    for value in values.tolist():
        counts[value] = counts.get(value, 0) + 1
    return counts
