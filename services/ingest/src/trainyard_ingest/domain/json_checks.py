"""Rows of JSON against a schema: thousands at a time where there is no doubt, one by one where there is.

msgspec reads rows into objects with a typed field for each column. It is as strict as :mod:`trainyard.strict_json` and
:meth:`Schema.check_rows` but for a few things, each of which is looked for: a key that stands twice, integers beyond 64
bits, numbers such as 3.0 for a whole number, NUL, texts that are too long, and what is a date or a time. A row with any
of these, or that msgspec refuses, is read again by strict_json, which alone decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from trainyard import strict_json
from trainyard.errors import Problem, ServiceError
from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES
from trainyard.schema.values import FIRST_ROUNDED
from trainyard_ingest.domain import limits
from trainyard_ingest.domain.arrow_csv import as_csv
from trainyard_ingest.domain.cells import as_text
from trainyard_ingest.domain.json_decoders import Decoders, most_keys
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
_NUL = b"\\u0000"
#: Floats from here on may have been integers that do not fit 64 bits.
_LARGE = 9.2e18
_INT_SPAN = (-(2.0**63), 2.0**63)
_FLOAT_SPAN = (1 - FIRST_ROUNDED, FIRST_ROUNDED)


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
        self._decoders = Decoders(schema)
        self._moments = {c.name: Moments(c.type) for c in schema.columns if c.type in {"date", "timestamp"}}
        self.most_rows = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // len(schema.columns)))

    def lines(self, piece: Lines) -> CheckedRows:
        """Check lines of NDJSON, at most ``most_rows``."""
        rows = self._decoders.lines(piece.data)
        if rows and piece.are_rows(len(rows)) and (columns := self._certain(rows, piece.data)) is not None:
            return self._finish(rows, columns, piece.split)
        return self.each(piece.split())

    def array(self, data: bytes, split: Callable[[], Texts]) -> CheckedRows | None:
        """Check elements of an array, ``data`` without brackets; None where ``split`` has to tell them apart first."""
        rows = self._decoders.array(b"[%b]" % data)
        if rows and (columns := self._certain(rows, data)) is not None:
            return self._finish(rows, columns, split)
        return None

    def each(self, texts: Texts) -> CheckedRows:
        """Check rows each of which is read by itself."""
        rows = [self._alone(text) for _, text in texts]
        read = [index for index, row in enumerate(rows) if row is not None]
        # Mostly it is not those which msgspec reads that are in doubt.
        if self._certain([rows[index] for index in read], b"\n".join(texts[index][1] for index in read)) is None:
            for index in read:
                if self._certain([rows[index]], texts[index][1]) is None:
                    rows[index] = None
        exact: dict[int, list[Problem]] = {}
        for index, (number, text) in enumerate(texts):
            if rows[index] is None:
                rows[index], exact[index] = self._exactly(number, text)
        return self._settle(rows, texts, exact)

    # --- without doubt ---

    def _alone(self, text: bytes) -> Any:
        return None if len(text) > limits.MAX_JSON_ROW_BYTES or _NUL in text else self._decoders.alone(text)

    def _certain(self, rows: Sequence[Any], data: bytes) -> list[list[Any]] | None:
        """Return the columns when no key hides another: there are as many keys as values."""
        if b"\\" in data and _NUL in data:  # one byte is found ten times as quickly as several
            return None
        columns, absent = self._decoders.columns(rows)
        return columns if most_keys(data) == len(rows) * len(columns) - absent else None

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
            columns, _ = self._decoders.columns([rows[index] for index in good])
            arrays, odd = self._arrays(columns)
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
        return self._decoders.row(*values), []

    # --- columns ---

    def _arrays(self, columns: Sequence[Sequence[Any]]) -> tuple[list[Any], set[int]]:
        """Return arrays for :func:`as_csv`, and the places of rows that are not certainly good."""
        odd: set[int] = set()
        pairs = zip(self._schema.columns, columns, strict=True)
        return [self._array(column, values, odd) for column, values in pairs], odd

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


def _whole_numbers(values: Sequence[Any], odd: set[int]) -> Any:
    try:
        array = pa.array(values)
    except (OverflowError, pa.ArrowInvalid):
        array = None  # some are beyond 64 bits
    if array is not None and array.type in {pa.int64(), pa.null()}:  # or else there are floats, or larger numbers
        return array.cast(pa.int64())
    return pa.array([_whole_number(place, value, odd) for place, value in enumerate(values)], pa.int64())


def _whole_number(place: int, value: Any, odd: set[int]) -> int | None:
    """Return the value when it is certainly one; pyarrow would cut 2.5 down to 2."""
    if value is None:
        return None
    first, last = _FLOAT_SPAN if isinstance(value, float) else _INT_SPAN
    if first <= value < last and value == int(value):
        return int(value)
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
