"""What a snapshot is, once more and without a single array: slow, plain, from the specification alone."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

from trainyard.schema import Column, Schema
from trainyard.snapshot import Snapshot, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000, 1)
_ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


@dataclass(frozen=True)
class Reference:
    """A snapshot as lists."""

    seq: list[int]
    first_seq: list[int]
    unit: list[int]
    columns: dict[str, list[Any]]
    sha256: str


def reference(schema: Schema, stored: Mapping[int, Row], upto_seq: int, block_rows: int) -> Reference:
    """Return the snapshot of the rows in ``stored``, given by their numbers."""
    rows = {seq: stored[seq] for seq in sorted(stored) if seq <= upto_seq}
    spans: dict[Any, list[int]] = {}
    for number, row in rows.items():
        key = tuple(row[c.name] for c in schema.keys)
        spans.setdefault(number if not key or None in key else key, []).append(number)
    latest = sorted((numbers[-1], numbers[0]) for numbers in spans.values())
    seq = [last for last, _ in latest]
    return Reference(
        seq=seq,
        first_seq=[first for _, first in latest],
        unit=[_unit(schema, number, rows[number]) for number in seq],
        columns={c.name: [_seen(c, rows[number][c.name]) for number in seq] for c in schema.columns},
        sha256=_sha256(schema, rows, seq, block_rows),
    )


def listed(snapshot: Snapshot) -> Reference:
    """Return a snapshot's arrays as lists; floats so that they compare by their bits."""
    columns: dict[str, list[Any]] = {}
    for name, values in snapshot.columns.items():
        if isinstance(values, Texts):
            assert list(values.levels) == [v for v in dict.fromkeys(values.values().tolist()) if v is not None]
            columns[name] = values.values().tolist()
        elif values.dtype.kind == "M":
            numbers = values.astype("datetime64[us]").astype(np.int64).tolist()
            columns[name] = [None if n == np.iinfo(np.int64).min else n for n in numbers]
        else:
            columns[name] = [None if math.isnan(v) else struct.pack("<d", v) for v in values.tolist()]
    return Reference(
        snapshot.seq.tolist(), snapshot.first_seq.tolist(), snapshot.unit.tolist(), columns, snapshot.sha256
    )


def _seen(column: Column, value: Any) -> Any:
    if value is None or column.type in ("category", "text"):
        return value
    if column.type in ("date", "timestamp"):
        return _whole(value)
    return struct.pack("<d", float(value))


def _whole(value: Any) -> int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days * 86_400_000_000
    return int(value)


def _sha256(schema: Schema, rows: Mapping[int, Row], seq: Sequence[int], block_rows: int) -> str:
    columns = [[c.name, c.type] for c in schema.columns]
    head = ["trainyard snapshot", 2, block_rows, columns, [c.name for c in schema.keys]]
    whole = json.dumps(head, separators=(",", ":")).encode() + b"\n"
    for block in sorted({(number - 1) // block_rows for number in rows}):
        inside = [number for number in rows if (number - 1) // block_rows == block]
        whole += hashlib.sha256(_packed(schema, inside, [rows[number] for number in inside])).digest()
    if schema.keys:
        whole += hashlib.sha256(b"".join(struct.pack("<q", number) for number in seq)).digest()
    return hashlib.sha256(whole).hexdigest()


def _packed(schema: Schema, numbers: list[int], rows: list[Row]) -> bytes:
    data = b"TYB2" + struct.pack("<I", len(rows)) + _whole_section(list(numbers), times=False)
    for column in schema.columns:
        values = [row[column.name] for row in rows]
        if column.type == "float":
            data += b"".join(bytes.fromhex("000000000000f87f") if v is None else struct.pack("<d", v) for v in values)
        elif column.type in ("category", "text"):
            data += _text_section(values)
        else:
            whole = [None if v is None else _whole(v) for v in values]
            data += _whole_section(whole, times=column.type in ("date", "timestamp"))
    return data


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _width(largest: int) -> int:
    return next(w for w in (0, 1, 2, 4, 8) if largest < 256**w)


def _whole_section(values: Sequence[int | None], *, times: bool) -> bytes:
    present = [v for v in values if v is not None]
    step = next(s for s in _STEPS if all(v % s == 0 for v in present)) if times and present else 1
    base = min(present) // step if present else 0
    numbers = [0 if v is None else v // step - base for v in values]
    width = _width(max(numbers, default=0))
    missing = len(present) < len(values)
    data = struct.pack("<qqqq", width, missing, base, step)
    if missing:
        bits = bytearray(-(-len(values) // 8))
        for index, value in enumerate(values):
            bits[index // 8] |= (value is None) << (index % 8)
        data += _padded(bytes(bits))
    return data + _padded(b"".join(n.to_bytes(width, "little") for n in numbers))


def _text_section(values: Sequence[str | None]) -> bytes:
    levels = list(dict.fromkeys(v for v in values if v is not None))
    text = "\0".join(levels).encode()
    width = _width(len(levels))
    codes = [0 if v is None else levels.index(v) + 1 for v in values]
    head = struct.pack("<qqq", width, len(levels), len(text)) + _padded(text)
    return head + _padded(b"".join(code.to_bytes(width, "little") for code in codes))


def _unit(schema: Schema, seq: int, row: Row) -> int:
    group = schema.group
    if group is not None and row[group.name] is not None:
        return _hash("group", [_cell(row[group.name])])
    key = [row[c.name] for c in schema.keys]
    return _hash("key", [_cell(v) for v in key]) if key and None not in key else _hash("row", [str(seq)])


def _hash(kind: str, cells: list[str]) -> int:
    parts = b"".join(len(p.encode()).to_bytes(4, "big") + p.encode() for p in (kind, *cells))
    return int.from_bytes(hashlib.blake2b(parts, digest_size=8).digest(), "big")


def _cell(value: Any) -> str:
    """Write a value as COPY does; a float as Python does."""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, datetime):
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
        return (text.rstrip("0") if value.microsecond else text) + "+00"
    return re.sub(r"[\\\b\f\n\r\t\v]", lambda m: _ESCAPES[m[0]], str(value))


# --- any rows ---

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53 + 1, -(2**53) - 1])),
    "float": st.one_of(st.sampled_from([0.0, -0.0, 0.1, 5e-324]), st.floats(allow_nan=False, allow_infinity=False)),
    "text": st.one_of(st.sampled_from(["", "\\N", "NULL", "a\tb", "\\", "\n", '"', "\r\n", "\x85"]), _TEXT),
    "category": st.sampled_from(["Bern", "Genf", "Zürich"]),
    "date": st.dates(),
    "timestamp": st.one_of(
        st.sampled_from([_EPOCH, _EPOCH + timedelta(hours=5), _EPOCH + timedelta(minutes=1)]),
        st.datetimes(timezones=st.just(UTC)),
    ),
}


@st.composite
def tables(draw: st.DrawFn, *, most_rows: int = 24) -> tuple[Schema, list[Row]]:
    """Draw a schema, with keys and a group or without, and clean rows of it; keys repeat and miss now and then."""
    types = draw(st.lists(st.sampled_from(sorted(_VALUES)), min_size=1, max_size=5))
    columns = []
    for number, kind in enumerate(types):
        roles = ["feature", *(["key"] if kind != "float" else []), *(["group"] if number == 0 else [])]
        if number == 1 and kind in ("date", "timestamp"):
            roles.append("event_time")
        columns.append(Column(f"é{number}", kind, role=draw(st.sampled_from(roles))))
    schema = Schema(columns)
    pools = {
        c.name: draw(st.lists(_VALUES[c.type], min_size=1, max_size=4)) if c.role == "key" else None for c in columns
    }
    count = draw(st.integers(0, most_rows))
    rows = []
    for _ in range(count):
        row: Row = {}
        for column in columns:
            pool = pools[column.name]
            value = _VALUES[column.type] if pool is None else st.sampled_from(pool)
            row[column.name] = draw(st.none() | value)
        rows.append(row)
    return schema, rows
