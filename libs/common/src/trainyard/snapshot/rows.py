"""Snapshots from clean Python rows, as ``schema.check_value`` gives values: for whatever has its rows in memory."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.snapshot import BLOCK_ROWS, Snapshot
from trainyard.snapshot.assembly import Assembler
from trainyard.snapshot.block import Block, Whole, words
from trainyard.snapshot.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.schema import Column, Schema

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def snapshot_of(
    schema: Schema,
    rows: Sequence[Mapping[str, Any]],
    upto_seq: int | None = None,
    *,
    block_rows: int = BLOCK_ROWS,
) -> Snapshot:
    """Return the snapshot of ``rows``, which are numbered from 1."""
    upto = len(rows) if upto_seq is None else upto_seq
    numbered = list(enumerate(rows, start=1))[:upto]
    assembler = Assembler(schema, upto, capacity=len(numbered), block_rows=block_rows)
    for start in range(0, len(numbered), block_rows):
        packed = pack(schema, block_of(schema, numbered[start : start + block_rows]))
        assembler.add(unpack(schema, packed), hashlib.sha256(packed).digest(), None)
    return assembler.build()


def block_of(schema: Schema, numbered: Sequence[tuple[int, Mapping[str, Any]]]) -> Block:
    """Return the block of these rows, given with their numbers."""
    seq = Whole(np.array([number for number, _ in numbered], dtype=np.int64))
    columns = (_column(column, [row.get(column.name) for _, row in numbered]) for column in schema.columns)
    return Block(seq, tuple(columns))


def _column(column: Column, values: Sequence[Any]) -> Any:
    if column.type == "float":
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if column.type in ("category", "text"):
        levels = {level: code for code, level in enumerate(dict.fromkeys(v for v in values if v is not None), start=1)}
        codes = np.array([0 if v is None else levels[v] for v in values], dtype=np.uint32)
        return words(codes, list(levels))
    missing = np.array([v is None for v in values], dtype=np.bool_)
    return Whole(np.array([0 if v is None else _number(v) for v in values], dtype=np.int64), missing)


def _number(value: Any) -> int:
    if isinstance(value, datetime):
        return (value - _EPOCH) // _MICROSECOND
    if isinstance(value, date):
        return (value.toordinal() - _EPOCH.toordinal()) * 86_400_000_000
    return int(value)
