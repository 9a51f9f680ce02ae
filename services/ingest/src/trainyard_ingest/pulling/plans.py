"""What is read of a table, and in which order: checked against the table as its database describes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from trainyard_ingest.domain.pulls import refused
from trainyard_ingest.pulling import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.schema import Column, Schema
    from trainyard_ingest.domain.pull_spec import TableSpec
    from trainyard_ingest.domain.pulls import Key

_UTC_NAMES = frozenset({"UTC", "Etc/UTC"})
_Conditions = list["sa.ColumnElement[bool]"]


@dataclass(frozen=True)
class Plan:
    """A query for one table: keys in their order, then the values for the dataset's columns."""

    table: sa.Table
    keys: tuple[sa.Column[Any], ...]
    read: tuple[tuple[sa.ColumnElement[Any], Column, ZoneInfo | None], ...]

    @property
    def key_names(self) -> str:
        """The columns that put rows in order, for people."""
        return ", ".join(f"'{column.name}'" for column in self.keys)

    @property
    def nullable_keys(self) -> list[sa.Column[Any]]:
        """Those of them that may be NULL."""
        return [column for column in self.keys if column.nullable]

    @property
    def order(self) -> tuple[sa.ColumnElement[Any], ...]:
        """What rows are ordered and compared by: exactly, so that no two places that differ count as one.

        SQLite takes the collation of the column, by which 'a' may equal 'A' though the table's key tells them apart.
        MySQL orders an ENUM by the place of its values in the list, and compares it as a text: rows between two pages
        would be skipped.
        """
        return tuple(map(_ordered, self.keys))

    def select(self) -> sa.Select[Any]:
        """Return the query for all rows in order."""
        return sa.select(*self.keys, *(column for column, _, _ in self.read)).order_by(*self.order)

    def values(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return a row of :meth:`select` by the dataset's columns."""
        given = zip(row[len(self.keys) :], self.read, strict=True)
        return {column.name: values.as_json(value, column, zone) for value, (_, column, zone) in given}

    def behind(self, after: Key | None) -> _Conditions:
        """Return the condition of rows behind a place."""
        return [] if after is None else self._beyond(after, later=True)

    def not_behind(self, upto: Key) -> _Conditions:
        """Return the condition of rows at or before a place."""
        return self._beyond(upto, later=False)

    def _beyond(self, place: Key, *, later: bool) -> _Conditions:
        """Compare rows with a place, column by column; the first column alone besides, which an index can use."""
        given = [values.from_place(value) for value in place]
        reached: sa.ColumnElement[bool] = sa.false() if later else sa.true()
        for column, value in reversed(list(zip(self.order, given, strict=True))):
            beyond = column > value if later else column < value
            reached = sa.or_(beyond, sa.and_(column == value, reached))
        first = self.order[0] >= given[0] if later else self.order[0] <= given[0]
        return [first, reached]

    def newest_time(self, bound: datetime) -> _Conditions:
        """Return the condition of a cursor that is a time not after ``bound`` (UTC); none for another cursor."""
        cursor = self.keys[0]
        if not isinstance(cursor.type, sa.DateTime):
            return []
        return [
            cursor
            <= (bound if cursor.type.timezone and not _is_mysql(cursor) else bound.astimezone(UTC).replace(tzinfo=None))
        ]


def plan(table: sa.Table, spec: TableSpec, schema: Schema) -> Plan:
    """Return the plan for a table.

    Raises:
        ServiceError: ``source_refused``: the message says what to change.
    """
    return Plan(table, _keys(table, spec), tuple(_read(table, spec, schema)))


def _keys(table: sa.Table, spec: TableSpec) -> tuple[sa.Column[Any], ...]:
    """Return cursor and tie-breakers: together they must tell any two rows apart."""
    unique: list[tuple[str, ...]] = table.info["unique"]
    cursor = _column(table, spec.cursor, "cursor")
    if isinstance(cursor.type, sa.Date | sa.Float | sa.Boolean | sa.LargeBinary):
        raise refused(f"'{spec.cursor}' cannot be a cursor: take a whole number, a time, or a text")
    if _is_naive(cursor) and spec.zone not in _UTC_NAMES:
        raise refused(
            f"the times of '{spec.cursor}' have no zone: with 'zone': \"UTC\" they are in UTC; a local time runs"
            " backwards once a year and cannot be a cursor"
        )
    if spec.tie_breakers is not None:
        names = tuple(name for name in spec.tie_breakers if name != spec.cursor)
    elif (spec.cursor,) in unique:
        names = ()
    else:
        names = tuple(name for name in next(iter(unique), ()) if name != spec.cursor)
    keys = (cursor, *(_column(table, name, "tie_breakers") for name in names))
    have = {column.name for column in keys}
    if unique and not any(set(key) <= have for key in unique):
        wanted = " or ".join(f"[{', '.join(key)}]" for key in unique[:3])
        raise refused(f"'{spec.cursor}' is not unique; add as 'tie_breakers' a key of the table: {wanted}")
    if not unique and spec.tie_breakers is None:
        raise refused(f"the table has no key; name as 'tie_breakers' what is unique together with '{spec.cursor}'")
    return keys


def _read(
    table: sa.Table, spec: TableSpec, schema: Schema
) -> list[tuple[sa.ColumnElement[Any], Column, ZoneInfo | None]]:
    """Return what is read, for which column of the dataset, and the zone of its naive times."""
    mapping = spec.columns or {name: name for name in schema.names if name in table.c}
    if not mapping:
        raise refused("the table has no column that the dataset has; say by 'columns' which is which")
    zone = None if spec.zone is None else ZoneInfo(spec.zone)
    found = []
    for source, name in mapping.items():
        if name not in schema:
            raise refused(f"'columns': the dataset has no column '{name}'")
        column = _column(table, source, "columns")
        if isinstance(column.type, sa.LargeBinary):
            raise refused(f"column '{source}' holds bytes, which no dataset can hold; leave it out by 'columns'")
        if _is_naive(column) and zone is None and schema.column(name).type == "timestamp":
            raise refused(f"the times of '{source}' have no zone; say which by 'zone'")
        found.append((_exact(column), schema.column(name), ZoneInfo("UTC") if _is_instant(column) else zone))
    missing = [c.name for c in schema.columns if not c.nullable and c.name not in mapping.values()]
    if missing:
        raise refused(f"every row must have '{missing[0]}', which the table does not give; say by 'columns' what does")
    return found


def _ordered(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if column.info["raw"]:
        return column.collate("BINARY")
    if column.info["listed"]:  # a list may hold 'a' and 'A', which the connection's own collation calls equal
        return sa.cast(column, sa.String).collate("utf8mb4_bin")
    return column


def _column(table: sa.Table, name: str, key: str) -> sa.Column[Any]:
    if name not in table.c:
        raise refused(f"'{key}': the table has no column '{name}'; it has {', '.join(list(table.c.keys())[:50])}")
    return table.c[name]


def _exact(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return the column such that its value comes whole: MySQL shows six digits of a FLOAT."""
    return column + sa.literal_column("0e0", sa.Float()) if column.info.get("short") else column


def _is_mysql(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, mysql.TIMESTAMP | mysql.DATETIME)


def _is_instant(column: sa.Column[Any]) -> bool:
    """Tell whether naive values are in UTC whatever anybody says: MySQL's TIMESTAMP, in a session that is in UTC."""
    return isinstance(column.type, mysql.TIMESTAMP)


def _is_naive(column: sa.Column[Any]) -> bool:
    return isinstance(column.type, sa.DateTime) and not column.type.timezone and not _is_instant(column)


def described(connection: sa.Connection, reflected: Sequence[Any]) -> list[sa.Column[Any]]:
    """Return columns for what an inspector has found, with types that read values exactly.

    SQLite keeps any value in any column, so its values are taken as they are kept.
    """
    raw = connection.dialect.name == "sqlite"
    return [
        sa.Column(
            column["name"],
            sa.types.NullType() if raw else _read_as(column["type"]),
            nullable=column.get("nullable", True),
            quote=True,
            info={
                "short": isinstance(column["type"], mysql.FLOAT),
                "raw": raw,
                "listed": isinstance(column["type"], mysql.ENUM),
            },
        )
        for column in reflected
    ]


def _read_as(type_: Any) -> Any:
    if isinstance(type_, mysql.DOUBLE | mysql.REAL | mysql.FLOAT | sa.Float):
        return sa.Float(53)  # as it is: Decimal would round it to ten places
    return sa.String() if isinstance(type_, sa.Enum) else type_


def unique_keys(inspector: sa.Inspector, spec: TableSpec) -> list[tuple[str, ...]]:
    """Return the keys of a table, the primary one first; a view has none."""
    keys = [tuple(inspector.get_pk_constraint(spec.table, schema=spec.schema)["constrained_columns"])]
    keys += [tuple(found["column_names"]) for found in inspector.get_unique_constraints(spec.table, schema=spec.schema)]
    for index in inspector.get_indexes(spec.table, schema=spec.schema):
        partial = any(
            name.endswith("_where") and value is not None for name, value in index.get("dialect_options", {}).items()
        )
        if index["unique"] and not partial and all(index["column_names"]):
            keys.append(tuple(str(name) for name in index["column_names"]))
    return [key for key in dict.fromkeys(keys) if key]
