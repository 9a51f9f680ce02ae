"""From JSON rows to clean values: many rows a whole column at a time, few rows a whole row at a time.

Both functions take what is plainly good and answer None for anything else; the caller then has the schema check value
by value, which finds what is wrong or converts what is merely unusual. Both ways give the same values (a test compares
them): these are for the rows that are as they should be.
"""

from __future__ import annotations

import math
from operator import itemgetter

from trainyard.model.arrays import numpy_is_loaded
from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES, check_value
from trainyard_predictor.rows import Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date, datetime
    from typing import Any

    from trainyard.schema import Column, Schema

_NONE = type(None)
#: From so many rows on arrays are worth making.
_MANY_ROWS = 16
_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
#: What a string of so many characters takes in UTF-8 at most is within the limit.
_MAX_CHARS = {"text": MAX_TEXT_BYTES // 4, "category": MAX_CATEGORY_BYTES // 4}


def clean_columns(features: Schema, rows: Sequence[Any]) -> dict[str, Any] | None:
    """Return the columns of ``rows`` by name as ``Schema.check_rows`` would, or None when it must be asked.

    Columns of floats are arrays (rows,), NaN where one is missing, in a process that has numpy; all others are lists.
    """
    if isinstance(rows, Table):
        return _clean_table(features, rows)
    names = features.names
    if not names:
        return None
    take: Callable[[Any], Any] = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    try:
        values = [take(row) for row in rows if type(row) is dict and len(row) == len(names)]
    except KeyError:  # a column is left out, and another one is too many
        return None
    if len(values) != len(rows):
        return None
    columns = {}
    arrays = len(rows) >= _MANY_ROWS and numpy_is_loaded()
    for column, given in zip(features.columns, zip(*values, strict=True), strict=True):
        clean = _float_array(column, given) if arrays and column.type == "float" else _clean(column, list(given))
        if clean is None:
            return None
        columns[column.name] = clean
    return columns


def _clean_table(features: Schema, table: Table) -> dict[str, Any] | None:
    """Return the columns of a table if they are floats where floats are wanted."""
    if len(table) < _MANY_ROWS:
        return clean_columns(features, list(table))
    if len(table.columns) != len(features.names):
        return None
    columns = {}
    for column in features.columns:
        given = table.columns.get(column.name)
        if given is None or column.type != "float" or not _may_be(column, given):
            return None
        columns[column.name] = given
    return columns


def _float_array(column: Column, given: Sequence[Any]) -> Any:
    """Return the values as an array of float64 (rows,); None where one is no number, or too large for a float."""
    import numpy as np  # noqa: PLC0415 - it is loaded

    kinds = set(map(type, given))
    if not kinds <= {float, int, _NONE} or (_NONE in kinds and not column.nullable):
        return None
    try:
        array = np.array(given, dtype=np.float64)  # of None numpy makes NaN
    except OverflowError:
        return None
    return array if not np.isinf(array).any() else None


def _may_be(column: Column, array: Any) -> bool:
    """Tell whether an array of float64 is a column of floats: NaN means that a value is missing."""
    import numpy as np  # noqa: PLC0415 - it is loaded

    if np.isfinite(array).all():
        return True
    return column.nullable and not np.isinf(array).any()


def clean_rows(features: Schema, rows: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Return the rows as ``Schema.check_rows`` would, or None when it must be asked."""
    found = []
    for row in rows:
        clean = _clean_row(features, row)
        if clean is None:
            return None
        found.append(clean)
    return found


def _clean_row(features: Schema, row: Any) -> dict[str, Any] | None:
    """Clean one row, values of columns with the same checks together as if they were one column."""
    if type(row) is not dict or len(row) != len(features.names):
        return None
    clean = row
    for column, names in features.alike:
        try:
            given = [row[name] for name in names]
        except KeyError:  # a column is left out, and another one is too many
            return None
        values = _clean(column, given)
        if values is None:
            return None
        if values is not given:
            clean = {**clean, **dict(zip(names, values, strict=True))}
    return clean


def _clean(column: Column, values: list[Any]) -> list[Any] | None:
    kinds = set(map(type, values))
    if _NONE in kinds:
        if not column.nullable:
            return None
        kinds.discard(_NONE)
        present = [value for value in values if value is not None]
    else:
        present = values
    if column.type == "float":
        return _floats(values, present, kinds)
    if column.type in ("date", "timestamp"):
        return _moments(column, values)
    if column.type == "bool":
        good = kinds <= {bool}
    elif column.type == "int":
        good = kinds <= {int} and (not present or (min(present) >= _MIN_INT and max(present) <= _MAX_INT))
    else:
        good = kinds <= {str} and _plain(present, _MAX_CHARS[column.type])
    return values if good else None


def _floats(values: list[Any], present: list[Any], kinds: set[type]) -> list[float | None] | None:
    if not kinds <= {float, int}:
        return None
    try:
        if not math.isfinite(sum(present)):  # also where the values are finite and their sum is not: the slow way then
            return None
        if int not in kinds:
            return values
        return [value if value is None else float(value) for value in values]
    except OverflowError:
        return None


def _plain(present: list[str], most_chars: int) -> bool:
    if present and max(map(len, present)) > most_chars:
        return False
    text = "".join(present)
    if "\0" in text:
        return False
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def _moments(column: Column, values: list[Any]) -> list[date | datetime | None] | None:
    clean = []
    for value in values:
        moment, expected = check_value(column, value)
        if expected is not None:
            return None
        clean.append(moment)
    return clean
