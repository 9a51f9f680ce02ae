"""Rows of JSON as msgspec reads them: objects with a typed field for each column, and those as columns."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.schema import Schema

#: A whole number may be written as 3.0; whether it is one is for the caller to say.
_TYPES: dict[str, Any] = {"bool": bool, "int": int | float, "float": float}
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEY_END = re.compile(rb'(?<!\\)"[ \t\r\n]*+:')
_SPACE, _QUOTE, _COLON, _BACKSLASH = b' ":\\'


class Decoders:
    """Read rows of a schema, whose fields are in the order of its columns; None stands for what is not read.

    Rows that name every column are read by a kind of their own: quicker, and nothing need be looked for that is absent.
    """

    def __init__(self, schema: Schema) -> None:
        self._fields = [f"c{number}" for number in range(len(schema.columns))]
        #: Makes a row of clean values.
        self.row: Callable[..., Any] = msgspec.defstruct("Row", self._fields, gc=False)
        self._full: type | None = None
        try:
            self._full = self._kind(schema, may_be_absent=False)
            kinds = [self._full, self._kind(schema, may_be_absent=True)]
        except ValueError:  # a name with a quote or a backslash, which msgspec cannot look for
            kinds = []
        self._rows: list[Any] = [msgspec.json.Decoder(kind) for kind in kinds]
        self._lists: list[Any] = [msgspec.json.Decoder(list[kind]) for kind in kinds]  # type: ignore[valid-type]

    def _kind(self, schema: Schema, *, may_be_absent: bool) -> type:
        fields: list[Any] = []
        for name, column in zip(self._fields, schema.columns, strict=True):
            kind = _TYPES.get(column.type, str)
            if column.nullable and may_be_absent:
                fields.append((name, kind | None | msgspec.UnsetType, msgspec.UNSET))
            else:
                fields.append((name, kind | None if column.nullable else kind))
        names = dict(zip(self._fields, schema.names, strict=True))
        return msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False, kw_only=True)

    def alone(self, text: bytes) -> Any:
        """Return the row that ``text`` says."""
        return _first(text, [decoder.decode for decoder in self._rows[-1:]])

    def lines(self, data: bytes) -> Any:
        """Return the rows of values that may stand on lines of their own, which is not looked at."""
        return _first(data, [decoder.decode_lines for decoder in self._rows])

    def array(self, data: bytes) -> Any:
        """Return the elements of an array."""
        return _first(data, [decoder.decode for decoder in self._lists])

    def columns(self, rows: Sequence[Any]) -> tuple[list[list[Any]], int]:
        """Return the values of each column, None where they are absent, and how many are absent.

        ``rows``: all read at once, or of :attr:`row` and of :meth:`alone` in any order.
        """
        # One list and slices of it: zip(*rows) would go back and forth between thousands of rows for each value.
        cells: list[Any] = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
        absent = 0 if rows and type(rows[0]) is self._full else cells.count(msgspec.UNSET)
        if absent:
            cells = [None if cell is msgspec.UNSET else cell for cell in cells]
        return [cells[number :: len(self._fields)] for number in range(len(self._fields))], absent


def _first(data: bytes, ways: Sequence[Callable[[bytes], Any]]) -> Any:
    for decode in ways:
        try:
            return decode(data)
        except _UNREADABLE:
            continue
    return None


def most_keys(data: bytes) -> int:
    """Return how many members the objects in ``data`` have at most, when :class:`Decoders` have read it.

    A key ends in a quote with a colon behind it. Quotes within a string do not count, as each has a backslash before
    it; that of a key has none, as no name with a backslash is read. The quote that opens a text counts if a colon comes
    first in that text: so there may be more than there are members, but never fewer.
    """
    octets = np.frombuffer(data, np.uint8)
    colons, before = octets[1:] == _COLON, octets[:-1]
    if (colons & (before <= _SPACE)).any():
        return len(_KEY_END.findall(data))
    keys = colons & (before == _QUOTE)
    if b"\\" in data:
        keys[1:] &= octets[:-2] != _BACKSLASH
    return int(np.count_nonzero(keys))
