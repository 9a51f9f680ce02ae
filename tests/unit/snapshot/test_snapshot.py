"""Snapshots from blocks, against the plain reference."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.holdout import unit_hash
from trainyard.schema import Column, Schema
from trainyard.snapshot.assembly import Assembler
from trainyard.snapshot.block import join
from trainyard.snapshot.packing import BadBlockError, pack, unpack
from trainyard.snapshot.rows import block_of, snapshot_of
from trainyard.snapshot.units import units_of_block
from trainyard.testing.snapshot_reference import Row, listed, reference, tables

if TYPE_CHECKING:
    from trainyard.snapshot import Snapshot


@given(tables(), st.integers(1, 9), st.integers(0, 30))
def test_any_rows(table: tuple[Schema, list[Row]], block_rows: int, upto: int) -> None:
    """Any rows, cut into blocks of any size and anywhere, give the arrays, units and hash of the reference."""
    schema, rows = table
    expected = reference(schema, dict(enumerate(rows, start=1)), upto, block_rows)
    assert listed(snapshot_of(schema, rows, upto, block_rows=block_rows)) == expected


@given(tables(), st.integers(1, 9), st.data())
def test_any_way_to_a_block(table: tuple[Schema, list[Row]], block_rows: int, data: st.DataObject) -> None:
    """A block that was put together of pieces, cut off a longer one or unpacked is the same block."""
    schema, rows = table
    removed = data.draw(st.sets(st.integers(1, max(len(rows), 1)), max_size=5))
    stored = {seq: row for seq, row in enumerate(rows, start=1) if seq not in removed}
    snapshot = _assembled(schema, stored, block_rows, data)
    assert listed(snapshot) == reference(schema, stored, len(rows), block_rows)


def _assembled(schema: Schema, stored: dict[int, Row], block_rows: int, data: st.DataObject) -> Snapshot:
    numbered = sorted(stored.items())
    last = max(stored, default=0)
    assembler = Assembler(schema, last, capacity=last, block_rows=block_rows)
    for begin in range(1, last + 1, block_rows):
        inside = [pair for pair in numbered if begin <= pair[0] < begin + block_rows]
        if not inside:
            continue
        at = data.draw(st.integers(0, len(inside)))
        parts = [block_of(schema, part) for part in (inside[:at], inside[at:]) if part]
        if data.draw(st.booleans()):
            parts = [unpack(schema, pack(schema, part)) for part in parts]
        block = parts[0] if len(parts) == 1 else join(*parts)
        if data.draw(st.booleans()) and numbered[-1] != inside[-1]:
            longer = join(block, block_of(schema, [numbered[-1]]))
            block = longer.upto(inside[-1][0])
        packed = pack(schema, block)
        units = units_of_block(schema, block) if data.draw(st.booleans()) else None
        assembler.add(unpack(schema, packed), hashlib.sha256(packed).digest(), units)
    return assembler.build()


SCHEMA = Schema([Column("n", "int"), Column("at", "timestamp"), Column("city", "text")])


def rows(count: int) -> list[dict[str, Any]]:
    """Return rows with something missing."""
    hour = datetime(2024, 5, 1, tzinfo=UTC)
    return [{"n": n if n % 3 else None, "at": hour.replace(hour=n % 24), "city": f"c{n % 5}"} for n in range(count)]


def test_known_hash() -> None:
    """The hash of these rows is written down here: who changes it changes what every record of a version says."""
    assert snapshot_of(SCHEMA, rows(100)).sha256 == "3a52157f22ff7f24619b6e382e449dc45fad8966653eea3ac72cef95f7de5500"


def test_narrow() -> None:
    """Hours take two bytes at most, small numbers one, whatever their types hold."""
    packed = pack(SCHEMA, block_of(SCHEMA, list(enumerate(rows(10_000), start=1))))
    assert len(packed) < 10_000 * 7


@pytest.mark.parametrize("change", ["empty", "magic", "short", "long", "columns"])
def test_no_block(change: str) -> None:
    """Bytes that are no block of these columns are refused, never read as something."""
    packed = pack(SCHEMA, block_of(SCHEMA, list(enumerate(rows(50), start=1))))
    bad = {"empty": b"", "magic": b"NOPE" + packed[4:], "short": packed[:-8], "long": packed + bytes(8)}
    schema = Schema(SCHEMA.columns[:2]) if change == "columns" else SCHEMA
    with pytest.raises(BadBlockError):
        unpack(schema, bad.get(change, packed))


def test_units_are_those_of_ever() -> None:
    """The hold-out of a row does not change with a release: these are the hashes of the first one."""
    schema = Schema([Column("id", "int", role="key"), Column("who", "text", role="group")])
    given_rows = [{"id": 2**60 + 1, "who": None}, {"id": 7, "who": "a\tb"}, {"id": None, "who": None}]
    unit = snapshot_of(schema, given_rows).unit
    assert unit.tolist() == [
        unit_hash("key", [str(2**60 + 1)]),
        unit_hash("group", ["a\\tb"]),
        unit_hash("row", ["3"]),
    ]


def test_removed_rows_change_the_hash() -> None:
    """A snapshot from which a row was erased is another one."""
    whole = reference(SCHEMA, dict(enumerate(rows(9), start=1)), 9, 4)
    less = reference(SCHEMA, dict(enumerate(rows(9)[:-1], start=1)), 9, 4)
    assert whole.sha256 != less.sha256


def test_large_keys_stay_apart() -> None:
    """Keys that float64 cannot tell apart are different keys."""
    schema = Schema([Column("id", "int", role="key")])
    snapshot = snapshot_of(schema, [{"id": 2**53}, {"id": 2**53 + 1}, {"id": 2**53}])
    assert snapshot.seq.tolist() == [2, 3]
    assert snapshot.first_seq.tolist() == [2, 1]
    assert len(np.unique(snapshot.unit)) == 2
