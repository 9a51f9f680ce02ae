"""A block as canonical bytes (:mod:`trainyard.snapshot` is the specification) and back."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.errors import TrainyardError
from trainyard.snapshot.block import Block, Whole, Words

if TYPE_CHECKING:
    from trainyard.schema import Schema
    from trainyard.snapshot.block import Column

_MAGIC = b"TYB2"
_STEPS = (86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000, 1_000)
_UNSIGNED: dict[int, np.dtype[Any]] = {1: np.dtype("<u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: np.dtype("<u8")}
_TIMES = ("date", "timestamp")
_TEXTS = ("category", "text")


class BadBlockError(TrainyardError):
    """The bytes are no block of these columns."""


def pack(schema: Schema, block: Block) -> bytes:
    """Return the block's canonical bytes."""
    parts: list[Any] = [_MAGIC + struct.pack("<I", block.rows)]
    _pack_whole(parts, block.seq, times=False)
    for column, values in zip(schema.columns, block.columns, strict=True):
        if isinstance(values, Whole):
            _pack_whole(parts, values, times=column.type in _TIMES)
        elif isinstance(values, Words):
            _pack_words(parts, values)
        else:
            _append(parts, np.where(np.isnan(values), np.nan, values).astype("<f8", copy=False))
    return b"".join(parts)


def _append(parts: list[Any], array: npt.NDArray[Any]) -> None:
    parts.extend((array.data, bytes(-array.nbytes % 8)))


def _width(largest: int) -> int:
    return next(w for w in (0, 1, 2, 4, 8) if largest < 1 << (8 * w))


def _pack_whole(parts: list[Any], column: Whole, *, times: bool) -> None:
    missing = column.missing if column.missing is not None and column.missing.any() else None
    values = column.values()
    if missing is not None:
        if missing.all():
            values = np.zeros_like(values)
        else:
            values[missing] = values[np.argmin(missing)]  # any value that is there
    present = len(values) > 0 and (missing is None or not missing.all())
    step = _step_of(values) if times and present else 1
    if step != 1:
        values //= step
    base = int(values.min()) if present else 0
    width = _width(int(values.max()) - base) if present else 0
    parts.append(struct.pack("<qqqq", width, missing is not None, base, step))
    if missing is not None:
        _append(parts, np.packbits(missing, bitorder="little"))
    if width:
        values -= np.int64(base)  # beyond 2^63 it wraps round, and is right again as an unsigned number
        numbers = values.view(np.uint64).astype(_UNSIGNED[width])
        if missing is not None:
            numbers[missing] = 0
        _append(parts, numbers)


def _step_of(values: npt.NDArray[np.int64]) -> int:
    for step in _STEPS:
        if int(values[0]) % step == 0 and not (values % step).any():
            return step
    return 1


def _pack_words(parts: list[Any], column: Words) -> None:
    text = "\0".join(column.levels).encode()
    width = _width(len(column.levels))
    parts.append(struct.pack("<qqq", width, len(column.levels), len(text)))
    parts.append(text + bytes(-len(text) % 8))
    if width:
        _append(parts, column.codes.astype(_UNSIGNED[width], copy=False))


def unpack(schema: Schema, data: bytes) -> Block:
    """Return the block; its arrays are views of ``data`` and cannot be written to.

    Raises:
        BadBlockError: it is none, or not one of these columns.
    """
    reader = _Reader(data)
    try:
        seq = reader.whole()
        columns = tuple(reader.column(column.type) for column in schema.columns)
    except (ValueError, KeyError, struct.error) as e:
        raise BadBlockError(f"the bytes are no block: {e}") from e
    if reader.at != len(data):
        raise BadBlockError("the block has other columns")
    return Block(seq, columns)


class _Reader:
    """Reads section by section."""

    def __init__(self, data: bytes) -> None:
        if data[:4] != _MAGIC:
            raise BadBlockError("the bytes do not begin like a block")
        self._data = data
        self._rows: int = struct.unpack_from("<I", data, 4)[0]
        self.at = 8

    def column(self, kind: str) -> Column:
        """Return the next column."""
        if kind == "float":
            return self._array(np.dtype("<f8"), self._rows)
        return self._words() if kind in _TEXTS else self.whole()

    def whole(self) -> Whole:
        """Return the next whole numbers."""
        width, some_missing, base, step = self._numbers("<qqqq")
        missing = None
        if some_missing:
            bits = self._array(np.dtype("<u1"), -(-self._rows // 8))
            missing = np.unpackbits(bits, count=self._rows, bitorder="little").view(np.bool_)
        return Whole(self._unsigned(width), missing, base, step)

    def _words(self) -> Words:
        width, count, length = self._numbers("<qqq")
        text = str(memoryview(self._data)[self.at : self.at + length], "utf-8")
        self.at += length + -length % 8
        levels = text.split("\0") if count else []
        if len(levels) != count:
            raise ValueError("another number of levels")
        return Words(self._unsigned(width), levels)

    def _numbers(self, layout: str) -> tuple[int, ...]:
        numbers = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return numbers

    def _unsigned(self, width: int) -> npt.NDArray[Any]:
        return self._array(_UNSIGNED[width], self._rows) if width else np.zeros(self._rows, dtype=np.uint8)

    def _array(self, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        array = np.frombuffer(self._data, dtype, count, self.at)
        self.at += array.nbytes + -array.nbytes % 8
        return array
