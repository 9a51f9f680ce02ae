"""Values of other databases as JSON: exactly, or as a text that the schema then rejects by row and column."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from trainyard_ingest.domain.pulls import refused

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from trainyard.schema import Column

_EXACT_FLOAT = 1 << 53


def as_place(value: object) -> Any:
    """Return a value of a cursor or tie-breaker as JSON that :func:`from_place` reads back exactly.

    Raises:
        ServiceError: ``source_refused`` for a value that has no exact order, or none at all.
    """
    match value:
        case bool() | None:
            raise refused("a column that puts rows in order holds neither true, false nor nothing")
        case str() if "\0" in value:
            raise refused("a text with a NUL in it cannot be noted as a place; choose another cursor or tie-breaker")
        case int() | str():
            return value
        case Decimal() if value.is_finite():
            return {"decimal": str(value)}
        case datetime():
            return {"timestamp": value.isoformat()}
        case date():
            return {"date": value.isoformat()}
        case uuid.UUID():
            return {"uuid": str(value)}
    raise refused(f"a value of type {type(value).__name__} has no exact order; choose another cursor or tie-breaker")


def from_place(place: Any) -> Any:
    """Return the value that a place holds."""
    match place:
        case {"decimal": text}:
            return Decimal(text)
        case {"timestamp": text}:
            return datetime.fromisoformat(text)
        case {"date": text}:
            return date.fromisoformat(text)
        case {"uuid": text}:
            return uuid.UUID(text)
    return place


def as_json(value: object, column: Column, zone: ZoneInfo | None) -> Any:
    """Return a value for a column of the dataset, as JSON.

    Raises:
        ServiceError: ``source_refused`` for bytes, and for what no column can hold.
    """
    match value:
        case None:
            return value
        case str():
            return _local(value, zone) if column.type == "timestamp" and zone is not None else value
        case int() | float() | Decimal():
            return _number(value, column)
        case datetime():
            return _moment(value, column, zone)
        case date() | time() | uuid.UUID():
            return str(value)
    what = "bytes" if isinstance(value, bytes | bytearray | memoryview) else type(value).__name__
    raise refused(f"column '{column.name}' would get {what}, which no dataset can hold; leave it out by 'columns'")


def _is_text(column: Column) -> bool:
    return column.type in {"text", "category"}


def _number(value: float | Decimal, column: Column) -> Any:
    if isinstance(value, Decimal):
        return _decimal(value, column)
    if isinstance(value, int) and not isinstance(value, bool):
        return _whole(value, column)
    if _is_text(column):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return value if math.isfinite(value) else repr(value)


def _whole(value: int, column: Column) -> Any:
    if _is_text(column):
        return str(value)
    if column.type == "bool" and value in {0, 1}:  # what MySQL and SQLite have for true and false
        return bool(value)
    if column.type == "float" and abs(value) > _EXACT_FLOAT and int(float(value)) != value:
        return str(value)  # no float is this number: the row is rejected rather than changed
    return value


def _decimal(value: Decimal, column: Column) -> Any:
    if _is_text(column) or not value.is_finite():
        return str(value)
    if value == value.to_integral_value():
        return _whole(int(value), column)
    return float(value) if column.type == "float" else str(value)


def _local(value: str, zone: ZoneInfo) -> str:
    """Return a time that was kept as text, as SQLite does, with its zone."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value  # its row is rejected
    return _in_utc(moment, zone).isoformat()


def _moment(value: datetime, column: Column, zone: ZoneInfo | None) -> str:
    """Return a time with its zone; one that a clock change makes ambiguous stays without, and its row is rejected."""
    if value.tzinfo is None and zone is None:
        if column.type == "timestamp":
            raise refused(f"column '{column.name}' would get times without a zone; say which by 'zone'")
        return value.isoformat()
    return _in_utc(value, zone).isoformat()


def _in_utc(value: datetime, zone: ZoneInfo | None) -> datetime:
    if value.tzinfo is None:
        if zone is None or not _certain(value, zone):
            return value
        value = value.replace(tzinfo=zone)
    return value.astimezone(UTC)


def _certain(value: datetime, zone: ZoneInfo) -> bool:
    """Tell whether the local time happened once: not in the hour that is skipped, nor in the one that comes twice."""
    first, second = value.replace(tzinfo=zone, fold=0), value.replace(tzinfo=zone, fold=1)
    return first.utcoffset() == second.utcoffset()
