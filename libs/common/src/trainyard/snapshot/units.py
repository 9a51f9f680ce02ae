"""The hash of what must not be split between training and hold-out, for many rows at once.

A value counts as the text that Postgres' COPY writes for it (a float as Python writes it): whether a row is in the
hold-out must never change, whoever reads it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.holdout import unit_hash
from trainyard.snapshot import Texts
from trainyard.snapshot.block import Whole, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.schema import Column, Schema
    from trainyard.snapshot import Values
    from trainyard.snapshot.block import Block

_ESCAPES = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
_ESCAPABLE = re.compile(r"[\\\b\f\n\r\t\v]")


def units_of(
    schema: Schema,
    seq: npt.NDArray[np.int64],
    columns: Mapping[str, Values],
    exact: Mapping[str, npt.NDArray[np.int64]],
) -> npt.NDArray[np.uint64]:
    """Return the unit hash of each row: of its group, else of its whole key, else of its number.

    Args:
        seq: the rows' numbers.
        columns: at least the key and group columns.
        exact: the values of those whose whole numbers float64 has to round.
    """
    units = np.empty(len(seq), dtype=np.uint64)
    left = np.ones(len(seq), dtype=np.bool_)
    group = schema.group
    if group is not None:
        codes, cells = _cells(group, columns[group.name], exact.get(group.name))
        hashes = np.array([*(unit_hash("group", [cell]) for cell in cells), 0], dtype=np.uint64)
        units, left = hashes[codes], codes < 0
    keys = [_cells(column, columns[column.name], exact.get(column.name)) for column in schema.keys]
    if keys:
        whole = left.copy()
        for codes, _ in keys:
            whole &= codes >= 0
        rows = np.flatnonzero(whole)
        texts = [[cells[code] for code in codes[rows].tolist()] for codes, cells in keys]
        units[rows] = np.fromiter((unit_hash("key", key) for key in zip(*texts, strict=True)), np.uint64, len(rows))
        left &= ~whole
    rows = np.flatnonzero(left)
    units[rows] = np.fromiter((unit_hash("row", [str(number)]) for number in seq[rows].tolist()), np.uint64, len(rows))
    return units


def _cells(
    column: Column, values: Values, exact: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return a code for each row, -1 where missing, and the text of each code."""
    if isinstance(values, Texts):
        escaped = [_ESCAPABLE.sub(lambda m: _ESCAPES[m[0]], level) for level in values.levels]
        return values.codes.astype(np.int64), escaped
    missing = np.isnat(values) if values.dtype.kind == "M" else np.isnan(values)
    distinct, codes = np.unique((values if exact is None else exact)[~missing], return_inverse=True)
    all_codes = np.full(len(values), -1, dtype=np.int64)
    all_codes[~missing] = codes
    if column.type == "float" and len(distinct) and (distinct == 0).any():
        return _signed_zeros(values, all_codes, distinct)
    return all_codes, [_text(column.type, value) for value in distinct]


def _signed_zeros(
    values: npt.NDArray[Any], codes: npt.NDArray[np.int64], distinct: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Give the negative zero, which equals the other one, a code of its own: its text is another."""
    cells = [_text("float", value + 0.0) for value in distinct]
    codes[(values == 0) & np.signbit(values)] = len(cells)
    return codes, [*cells, "-0.0"]


def _text(kind: str, value: Any) -> str:
    if kind == "bool":
        return "t" if value else "f"
    if kind == "int":
        return str(int(value))
    if kind == "float":
        return repr(float(value))
    microseconds = value.astype(np.int64) if isinstance(value, np.datetime64) else value
    text = str(np.datetime64(int(microseconds), "us"))
    day, _, time = text.partition("T")
    era = ""
    year, month, date = day.rsplit("-", 2)
    if int(year) <= 0:
        year, era = f"{1 - int(year):04d}", " BC"
    day = f"{year.lstrip('+')}-{month}-{date}"
    if kind == "date":
        return day + era
    clock, _, fraction = time.partition(".")
    fraction = fraction.rstrip("0")
    return f"{day} {clock}{'.' if fraction else ''}{fraction}+00{era}"


def units_of_block(schema: Schema, block: Block) -> npt.NDArray[np.uint64]:
    """Return the unit hash of each row of a block."""
    columns: dict[str, Values] = {}
    exact: dict[str, npt.NDArray[np.int64]] = {}
    for column, values in zip(schema.columns, block.columns, strict=True):
        if column.role not in ("key", "group"):
            continue
        if isinstance(values, Words):
            columns[column.name] = Texts(values.codes.astype(np.int32) - 1, tuple(values.levels))
        elif isinstance(values, Whole):
            exact[column.name] = values.values()
            rounded = np.empty(block.rows, dtype=np.float64)
            values.into(rounded)
            columns[column.name] = rounded
        else:
            columns[column.name] = values
    return units_of(schema, block.seq.values(), columns, exact)
