"""Rows of JSON against a schema: thousands at a time where there is no doubt, one by one where there is.

msgspec reads rows into objects with a typed field for each column. It is as strict as :mod:`trainyard.strict_json` and
:meth:`Schema.check_rows` but for a few things, each of which is looked for: a key that stands twice, integers beyond 64
bits, numbers such as 3.0 for a whole number, NUL, texts that are too long, and what is a date or a time. A row with any
of these, or that msgspec refuses, is read again by strict_json, which alone decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainyard import strict_json
from trainyard.errors import Problem, ServiceError
from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES
from trainyard_ingest.domain import limits
from trainyard_ingest.domain.arrow_csv import as_csv
from trainyard_ingest.domain.cells import as_text
from trainyard_ingest.domain.json_text import too_long
from trainyard_ingest.domain.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.schema import Column, Schema
    from trainyard_ingest.domain.json_text import Lines

    Texts = Sequence[tuple[int, bytes]]

#: Where :meth:`Schema.check_rows` stops listing problems.
_MAX_PROBLEMS = 10_000
#: Bounds on what one piece becomes in memory: a row of two bytes has as many cells as there are columns.
_ROWS_AT_ONCE, _CELLS_AT_ONCE = 10_000, 1_000_000
_TYPES: dict[str, Any] = {"bool": bool, "int": int, "float": float}
_SPACED_COLON = re.compile(rb'"[ \t\r\n]+:')
_SPACE, _QUOTE, _COLON = b' ":'
_NUL = b"\\u0000"
#: Floats from here on may have been integers that do not fit 64 bits.
_LARGE = 9.2e18
_INT_SPAN = (-(2.0**63), 2.0**63)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class CheckedRows:
    """``data``: the good rows as CSV; ``problems`` of the rejected ones count rows from 1 within what was checked."""

    data: bytes
    rows: int
    rejected: int
    problems: list[Problem] = field(default_factory=list)


class RowChecker:
    """Checks rows against a schema.

    Args:
        schema: all of whose columns the CSV has.
        place: what an error calls the place of a row, ``line`` or ``row``.
        depth: how many levels of nesting there are around a row.
    """

    def __init__(self, schema: Schema, place: str, depth: int = 0) -> None:
        self._schema = schema
        self._place = place
        self._most_levels = strict_json.MAX_DEPTH - depth
        self._fields = [f"c{number}" for number in range(len(schema.columns))]
        self._get = _getter(self._fields)
        self._row = msgspec.defstruct("Row", self._fields, gc=False)
        self._quick, self._loose = _decoders(schema, self._fields, int), _decoders(schema, self._fields, int | float)
        self._moments = {c.name: Moments(c.type) for c in schema.columns if c.type in {"date", "timestamp"}}
        self.most_rows = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // len(self._fields)))

    def lines(self, piece: Lines) -> CheckedRows:
        """Check lines of NDJSON, at most ``most_rows``."""
        for decoders in (self._quick, self._loose):
            rows = decoders.lines(piece.data)
            if rows and piece.are_rows(len(rows)) and (columns := self._certain(rows, piece.data)) is not None:
                return self._finish(rows, columns, piece.split)
        return self.each(piece.split())

    def array(self, data: bytes, split: Callable[[], Texts]) -> CheckedRows | None:
        """Check elements of an array, ``data`` without brackets; None where ``split`` has to tell them apart first."""
        for decoders in (self._quick, self._loose):
            rows = decoders.array(b"[%b]" % data)
            if rows and (columns := self._certain(rows, data)) is not None:
                return self._finish(rows, columns, split)
        return None

    def each(self, texts: Texts) -> CheckedRows:
        """Check rows one by one."""
        rows: list[Any] = []
        exact: dict[int, list[Problem]] = {}
        for index, (number, text) in enumerate(texts):
            row = self._alone(text)
            if row is None:
                row, exact[index] = self._exactly(number, text)
            rows.append(row)
        return self._settle(rows, texts, exact)

    # --- without doubt ---

    def _alone(self, text: bytes) -> Any:
        row = self._loose.alone(text) if len(text) <= limits.MAX_JSON_ROW_BYTES else None
        return None if row is None or self._certain([row], text) is None else row

    def _certain(self, rows: Sequence[Any], data: bytes) -> list[Sequence[Any]] | None:
        """Return the columns when no key hides another: as many colons behind quotes as there are members.

        Within a string a quote is escaped, so such a colon can only add to the count.
        """
        if _NUL in data:
            return None
        octets = np.frombuffer(data, np.uint8)
        before = octets[np.flatnonzero(octets == _COLON) - 1]
        if (before <= _SPACE).any() and _SPACED_COLON.search(data):
            return None
        columns: list[Sequence[Any]] = list(zip(*map(self._get, rows), strict=True))
        absent = sum(column.count(msgspec.UNSET) for column in columns)
        members = len(rows) * len(columns) - absent
        return columns if np.count_nonzero(before == _QUOTE) == members else None

    # --- in doubt ---

    def _finish(self, rows: list[Any], columns: Sequence[Sequence[Any]], split: Callable[[], Texts]) -> CheckedRows:
        arrays, odd = self._arrays(columns)
        if not odd:
            return CheckedRows(as_csv(arrays, len(rows)), len(rows), 0)
        texts = split()
        exact: dict[int, list[Problem]] = {}
        for index in odd:
            rows[index], exact[index] = self._exactly(*texts[index])
        return self._settle(rows, texts, exact)

    def _settle(self, rows: list[Any], texts: Texts, exact: dict[int, list[Problem]]) -> CheckedRows:
        """Read again whatever is odd and was not; ``rows`` are None where they are rejected for ``exact`` problems."""
        while True:
            good = [index for index, row in enumerate(rows) if row is not None]
            arrays, odd = self._arrays(list(zip(*(self._get(rows[index]) for index in good), strict=True)))
            again = {good[place] for place in odd} - exact.keys()
            if not again:
                break
            for index in again:
                rows[index], exact[index] = self._exactly(*texts[index])
        problems = [Problem(index + 1, p.column, p.expected, p.got) for index in sorted(exact) for p in exact[index]]
        return CheckedRows(as_csv(arrays, len(good)), len(rows), len(rows) - len(good), problems)

    def _exactly(self, number: int, text: bytes) -> tuple[Any, list[Problem]]:
        """Return the row as an object of clean values, or None and its problems."""
        value = read_value(text, f"{self._place} {number:,}", self._most_levels)
        clean, problems = self._schema.check_rows([value])
        if clean[0] is None:
            return None, problems[:_MAX_PROBLEMS]
        values = (v if isinstance(v, bool | int | float | None) else as_text(v, missing="") for v in clean[0].values())
        return self._row(*values), []

    # --- columns ---

    def _arrays(self, columns: Sequence[Sequence[Any]]) -> tuple[list[Any], set[int]]:
        """Return arrays for :func:`as_csv`, and the places of rows that are not certainly good."""
        odd: set[int] = set()
        arrays = []
        for column, values in zip(self._schema.columns, columns, strict=bool(columns)):
            if msgspec.UNSET in values:
                values = [None if value is msgspec.UNSET else value for value in values]  # noqa: PLW2901
            arrays.append(self._array(column, values, odd))
        return arrays, odd

    def _array(self, column: Column, values: Sequence[Any], odd: set[int]) -> Any:
        if column.type in {"date", "timestamp"}:
            return self._moments[column.name].array(values, odd)
        if column.type == "int":
            return _whole_numbers(values, odd)
        if column.type == "bool":
            return pa.array(values, pa.bool_())
        if column.type == "float":
            array = pa.array(values, pa.float64())
            _note(pc.greater_equal(pc.abs(array), _LARGE), odd)
            return array
        array = pa.array(values, pa.string())
        most = MAX_TEXT_BYTES if column.type == "text" else MAX_CATEGORY_BYTES
        _note(pc.greater(pc.binary_length(array), most), odd)
        return array


class _Decoders:
    """Three ways to read rows as ``kind``; None for what they do not read, for all without a ``kind``."""

    def __init__(self, kind: Any) -> None:
        self._one = None if kind is None else msgspec.json.Decoder(kind)
        self._list = None if kind is None else msgspec.json.Decoder(list[kind])

    def alone(self, text: bytes) -> Any:
        return self._read(text, None if self._one is None else self._one.decode)

    def lines(self, data: bytes) -> Any:
        return self._read(data, None if self._one is None else self._one.decode_lines)

    def array(self, data: bytes) -> Any:
        return self._read(data, None if self._list is None else self._list.decode)

    @staticmethod
    def _read(data: bytes, decode: Callable[[bytes], Any] | None) -> Any:
        if decode is None:
            return None
        try:
            return decode(data)
        except _UNREADABLE:
            return None


def _decoders(schema: Schema, fields: Sequence[str], whole: Any) -> _Decoders:
    """Return readers of rows with these columns; ``whole`` is what a whole number may be written as."""
    types = {**_TYPES, "int": whole}
    kinds: list[Any] = []
    for name, column in zip(fields, schema.columns, strict=True):
        kind = types.get(column.type, str)
        # What has no default comes first, in an order of its own: the fields are found by name.
        kinds.append((name, kind | None | msgspec.UnsetType, msgspec.UNSET) if column.nullable else (name, kind))
    kinds.sort(key=len)
    names = dict(zip(fields, schema.names, strict=True))
    try:
        return _Decoders(msgspec.defstruct("Row", kinds, rename=names, forbid_unknown_fields=True, gc=False))
    except ValueError:  # a name with a quote or a backslash, which msgspec cannot look for
        return _Decoders(None)


def _getter(fields: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(fields) > 1:
        return attrgetter(*fields)
    (only,) = fields
    return lambda row: (getattr(row, only),)


def _whole_numbers(values: Sequence[Any], odd: set[int]) -> Any:
    if float not in set(map(type, values)):
        try:
            return pa.array(values, pa.int64())
        except OverflowError:
            pass  # some are beyond 64 bits
    return pa.array([_whole_number(place, value, odd) for place, value in enumerate(values)], pa.int64())


def _whole_number(place: int, value: Any, odd: set[int]) -> int | None:
    """Return the value when it is certainly one; pyarrow would cut 2.5 down to 2."""
    if value is None or (_INT_SPAN[0] <= value < _INT_SPAN[1] and value == int(value)):
        return None if value is None else int(value)
    odd.add(place)
    return None


def _note(mask: Any, odd: set[int]) -> None:
    if pc.any(mask).as_py():
        odd.update(pc.indices_nonzero(mask).to_pylist())


def read_value(text: bytes, place: str, most_levels: int) -> Any:
    """Return what a row's text says.

    Raises:
        ServiceError: ``bad_json`` or ``json_limit``, with ``place``.
    """
    if len(text) > limits.MAX_JSON_ROW_BYTES:
        raise too_long(place)
    if strict_json.too_deep(text, most_levels):
        raise ServiceError("json_limit", f"{place}: the JSON is nested deeper than {strict_json.MAX_DEPTH} levels")
    try:
        value = strict_json.loads(text)
    except ServiceError as e:
        message = "there is no value" if e.code == "empty_body" else e.message
        raise ServiceError("bad_json", f"{place}: {message}", e.details) from e
    if isinstance(value, dict) and len(value) > limits.MAX_JSON_KEYS:
        raise ServiceError("json_limit", f"{place} has {len(value):,} keys; at most {limits.MAX_JSON_KEYS:,} are read")
    return value
