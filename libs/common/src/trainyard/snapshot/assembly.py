"""Blocks in, a snapshot out: the arrays are made once, in their size, and each block is written to its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.snapshot import BLOCK_ROWS, Snapshot, Texts, content_hash
from trainyard.snapshot.block import Block, Whole, Words
from trainyard.snapshot.latest import latest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.schema import Column, Schema
    from trainyard.snapshot import Values
    from trainyard.snapshot.block import Longs

_NAT = np.iinfo(np.int64).min
#: Whole numbers up to this size are exact as float64.
_EXACT = 1 << 53
Units = npt.NDArray[np.uint64]


class Assembler:
    """Takes the blocks of a dataset in order, all rows up to W, and makes a :class:`Snapshot` of them.

    Without key columns a block is gone once it was taken. With key columns the blocks are kept, in the narrow form in
    which :func:`~trainyard.snapshot.packing.unpack` returns them, until it is known which rows count.
    """

    def __init__(self, schema: Schema, upto_seq: int, *, capacity: int, block_rows: int = BLOCK_ROWS) -> None:
        """Make room for ``capacity`` rows, at least as many as will come; what is not used costs no memory."""
        self._schema = schema
        self._upto_seq = upto_seq
        self._block_rows = block_rows
        self._digests: list[bytes] = []
        self._kept: list[tuple[Block, Units | None]] = []
        self._columns = _Columns(schema, 0 if schema.keys else capacity)
        self.rows = 0

    def add(self, block: Block, digest: bytes, units: Units | None) -> None:
        """Take the next block, which has rows, with the SHA-256 of its bytes and its rows' unit hashes if known."""
        self._digests.append(digest)
        self.rows += block.rows
        if self._schema.keys:
            self._kept.append((block, units))
        else:
            self._columns.fill(block, units)

    def build(self) -> Snapshot:
        """Return the snapshot of everything that was taken."""
        first_seq = self._select() if self._schema.keys else self._columns.seq
        columns, names = self._columns, self._schema.names
        return Snapshot(
            schema=self._schema,
            upto_seq=self._upto_seq,
            seq=columns.seq,
            first_seq=first_seq,
            columns=columns.values(),
            sha256=content_hash(self._schema, self._digests, columns.seq, block_rows=self._block_rows),
            exact={names[index]: values[: columns.rows] for index, values in columns.exact.items()},
            known_unit=columns.units,
        )

    def _select(self) -> Longs:
        """Fill the columns with the newest row of each key; return the first number of each."""
        seq = np.concatenate([np.empty(0, np.int64), *(block.seq.values() for block, _ in self._kept)])
        indexes = [index for index, column in enumerate(self._schema.columns) if column.role == "key"]
        missing = np.zeros(len(seq), dtype=np.bool_)
        keys = [_key([block.columns[index] for block, _ in self._kept], missing) for index in indexes]
        chosen, first = latest(keys, missing)
        self._columns = _Columns(self._schema, len(chosen))
        start = 0
        while self._kept:
            block, units = self._kept.pop(0)
            low, high = np.searchsorted(chosen, [start, start + block.rows])
            rows = chosen[low:high] - start
            start += block.rows
            if len(rows) < block.rows:
                block, units = block.take(rows), None if units is None else units[rows]
            self._columns.fill(block, units)
        return seq[first]


def _key(parts: Sequence[Any], missing: npt.NDArray[np.bool_]) -> Longs:
    """Return a key column's values as numbers that are equal where they are; mark the rows where one is missing."""
    places: dict[str, int] = {}
    numbers = [np.empty(0, np.int64)]
    at = 0
    for part in parts:
        if isinstance(part, Words):
            table = np.array([0, *(places.setdefault(level, len(places) + 1) for level in part.levels)])
            numbers.append(table[part.codes])
            absent = part.codes == 0
        else:
            numbers.append(part.values())
            absent = part.missing
        if absent is not None:
            missing[at : at + len(numbers[-1])] |= absent
        at += len(numbers[-1])
    return np.concatenate(numbers)


class _Columns:
    """The arrays of a snapshot while they are filled."""

    def __init__(self, schema: Schema, capacity: int) -> None:
        self._schema = schema
        self._seq, *self._arrays = _together(capacity, [np.dtype(np.int64), *map(_dtype, schema.columns)])
        self._levels: list[dict[str, int]] = [{} for _ in schema.columns]
        self._units: Units | None = np.empty(capacity, dtype=np.uint64)
        self._has_to_be_exact = {i for i, c in enumerate(schema.columns) if c.role in ("key", "group")}
        self.exact: dict[int, Longs] = {}
        self.rows = 0

    @property
    def seq(self) -> Longs:
        """Numbers of the rows."""
        return self._seq[: self.rows]

    @property
    def units(self) -> Units | None:
        """Unit hashes of the rows, None if one block came without."""
        return None if self._units is None else self._units[: self.rows]

    def values(self) -> dict[str, Values]:
        """Return the columns by name."""
        columns: dict[str, Values] = {}
        for column, array, levels in zip(self._schema.columns, self._arrays, self._levels, strict=True):
            part = array[: self.rows]
            columns[column.name] = Texts(part, tuple(levels)) if part.dtype == np.int32 else part
        return columns

    def fill(self, block: Block, units: Units | None) -> None:
        """Write the next rows."""
        place = slice(self.rows, self.rows + block.rows)
        self._seq[place] = block.seq.values()
        for index, column in enumerate(block.columns):
            out = self._arrays[index][place]
            if isinstance(column, Words):
                levels = self._levels[index]
                codes = [-1, *(levels.setdefault(level, len(levels)) for level in column.levels)]
                out[:] = np.array(codes, dtype=np.int32)[column.codes]
            elif not isinstance(column, Whole):
                out[:] = column
            elif out.dtype.kind == "M":
                numbers = out.view(np.int64)
                numbers[:] = column.values()
                if column.missing is not None:
                    np.copyto(numbers, _NAT, where=column.missing)
            else:
                column.into(out)
                if index in self._has_to_be_exact:
                    self._keep_exact(index, column, place)
        if units is None:
            self._units = None
        elif self._units is not None:
            self._units[place] = units
        self.rows = place.stop

    def _keep_exact(self, index: int, column: Whole, place: slice) -> None:
        """Keep a column as int64 as well, from the first block on whose numbers float64 cannot hold."""
        rounded = self._arrays[index][place]
        if index not in self.exact:
            if not (np.abs(rounded) >= _EXACT).any():
                return
            self.exact[index] = np.empty(len(self._seq), dtype=np.int64)
            earlier = self._arrays[index][: place.start]
            self.exact[index][: place.start] = np.where(np.isnan(earlier), 0, earlier)
        self.exact[index][place] = column.values()


def _together(length: int, dtypes: Sequence[np.dtype[Any]]) -> list[npt.NDArray[Any]]:
    """Return arrays in one piece of memory: the system gives large pieces in large pages, which is much faster."""
    whole = np.empty(length * sum(dtype.itemsize for dtype in dtypes), dtype=np.uint8)
    arrays: dict[int, npt.NDArray[Any]] = {}
    at = 0
    for index in sorted(range(len(dtypes)), key=lambda i: -dtypes[i].itemsize):  # so that each lies at a multiple
        size = length * dtypes[index].itemsize
        arrays[index] = whole[at : at + size].view(dtypes[index])
        at += size
    return [arrays[index] for index in range(len(dtypes))]


def _dtype(column: Column) -> np.dtype[Any]:
    if column.type in ("category", "text"):
        return np.dtype(np.int32)
    return np.dtype("datetime64[us]" if column.type in ("date", "timestamp") else np.float64)
