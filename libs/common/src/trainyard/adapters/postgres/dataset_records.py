"""The table ``core.dataset``: which datasets there are, and what their tables look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.contracts.warehouse import Dataset
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError
from trainyard.schema import Schema

if TYPE_CHECKING:
    from typing import Literal

    #: Against each other and against loading; the second lets whoever refers to the record go on.
    Lock = Literal["", "FOR UPDATE", "FOR NO KEY UPDATE"]

FIELDS = "id, name, columns, last_seq, created_at, settings, removed_rows, revision"
_SELECT = f"SELECT {FIELDS} FROM core.dataset WHERE deleted_at IS NULL"  # noqa: S608 - of constants


def columns_json(schema: Schema) -> list[dict[str, Any]]:
    """Return the schema as ``core.dataset.columns`` holds it: with the physical name of each column."""
    return [{**c.to_dict(), "physical": f"c{n}"} for n, c in enumerate(schema.columns, start=1)]


def schema_of(columns: list[dict[str, Any]]) -> Schema:
    """Return the schema that ``core.dataset.columns`` holds."""
    return Schema.from_dict({"columns": [{k: v for k, v in c.items() if k != "physical"} for c in columns]})


def of_row(row: Any) -> Dataset:
    """Return the dataset that a row of :data:`FIELDS` describes."""
    return Dataset(
        row.id,
        row.name,
        schema_of(row.columns),
        row.last_seq,
        row.created_at,
        DatasetSettings.stored(row.settings),
        row.removed_rows,
        row.revision,
    )


def by_id(connection: sa.Connection, dataset_id: int, lock: Lock = "") -> Dataset:
    """Return the dataset as it is now; a ``lock`` is held until the transaction ends.

    Raises:
        ServiceError: ``unknown_dataset``: it was deleted meanwhile.
    """
    row = connection.execute(sa.text(f"{_SELECT} AND id = :id {lock}"), {"id": dataset_id}).one_or_none()
    if row is None:
        raise ServiceError("unknown_dataset", "the dataset was deleted meanwhile")
    return of_row(row)


def by_name(connection: sa.Connection, name: str, lock: Lock = "") -> Dataset:
    """Return the dataset of that name; a ``lock`` is held until the transaction ends.

    Raises:
        ServiceError: ``unknown_dataset``.
    """
    row = connection.execute(sa.text(f"{_SELECT} AND name = :name {lock}"), {"name": name}).one_or_none()
    if row is None:
        raise ServiceError("unknown_dataset", f"there is no dataset '{name}'")
    return of_row(row)


def listed(connection: sa.Connection, *, limit: int, after: str) -> list[Dataset]:
    """Return at most ``limit`` datasets whose names come behind ``after``, by name."""
    found = connection.execute(
        sa.text(f'{_SELECT} AND name COLLATE "C" > :after ORDER BY name COLLATE "C" LIMIT :limit'),
        {"after": after, "limit": limit},
    )
    return [of_row(row) for row in found]
