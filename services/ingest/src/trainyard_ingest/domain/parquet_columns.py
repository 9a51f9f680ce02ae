"""Arrow arrays of each type as values of each type of a schema: which may be which, exactly, and which values fit.

| the column | takes |
|---|---|
| int | integers of any width; floats and decimals that are whole numbers |
| float | floats of any width, integers, decimals |
| bool | booleans |
| text, category | strings, also dictionaries of them |
| date | dates; strings as in JSON |
| timestamp | timestamps with a zone, of any unit, cut to microseconds; strings as in JSON |

A column of nothing but nulls is taken by every nullable column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from trainyard.errors import Problem
from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES, shown
from trainyard.schema.values import EXPECTED, MAX_INT, MIN_INT, NOT_NULL
from trainyard_ingest.domain.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.schema import Column

    #: Takes an array and gives one that :func:`as_csv` writes, and a mask of values that do not fit (None: all do).
    Convert = Callable[[Any], tuple[Any, Any]]

_TWO_TO_63 = 2.0**63
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_ARROW = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "date": pa.date32()}


@dataclass(frozen=True)
class Converter:
    """Reads the arrays of one column."""

    column: Column
    convert: Convert

    def read(self, array: Any) -> tuple[Any, Iterator[tuple[int, str, str]]]:
        """Return the values for :func:`as_csv`, and (place, expected, got) of each that does not fit."""
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        values, bad = self.convert(array)
        return values, self._odd(array, bad)

    def _odd(self, array: Any, bad: Any) -> Iterator[tuple[int, str, str]]:
        if not self.column.nullable and array.null_count:
            for place in pc.indices_nonzero(pc.is_null(array)).to_pylist():
                yield place, NOT_NULL, "null"
        if bad is not None and pc.any(bad).as_py():
            for place in pc.indices_nonzero(bad).to_pylist():
                yield place, EXPECTED[self.column.type], _got(array[place])


def converter(column: Column, field: Any) -> Converter | Problem:
    """Return what reads ``field`` as ``column``, or why nothing does."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    nested = no_column(field)
    if nested is not None:
        return nested
    if pa.types.is_null(kind):
        return Converter(column, lambda array: (pa.nulls(len(array), pa.string()), None))
    convert = _CONVERTERS[column.type](column, kind)
    if convert is None:
        zone = " without a zone" if pa.types.is_timestamp(kind) and kind.tz is None else ""
        return Problem(None, column.name, EXPECTED[column.type], shown(f"a column of {kind}{zone}"))
    return Converter(column, convert)


def no_column(field: Any) -> Problem | None:
    """Tell why a field cannot be a column of any dataset, or return None."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    said = str(kind)
    if field.metadata and b"ARROW:extension:name" in field.metadata:
        said = f"extension type {field.metadata[b'ARROW:extension:name'].decode(errors='replace')}"
    elif isinstance(kind, pa.BaseExtensionType):
        said = f"extension type {kind.extension_name}"
    elif pa.types.is_nested(kind):
        said = f"nested type {kind}"
    elif pa.types.is_timestamp(kind) and kind.tz is None:
        return Problem(None, shown(field.name), EXPECTED["timestamp"], shown(f"a column of {kind} without a zone"))
    elif _is_plain(kind):
        return None
    return Problem(None, shown(field.name), "a number, text, date, time with zone or true and false", shown(said))


def _is_plain(kind: Any) -> bool:
    return is_text(kind) or any(
        test(kind)
        for test in (
            pa.types.is_null,
            pa.types.is_boolean,
            pa.types.is_integer,
            pa.types.is_floating,
            pa.types.is_decimal,
            pa.types.is_date,
            pa.types.is_timestamp,
        )
    )


def is_text(kind: Any) -> bool:
    """Tell whether a type holds texts, also by way of a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _got(scalar: Any) -> str:
    """Return a value as a problem shows it."""
    try:
        value = scalar.as_py()
    except UnicodeDecodeError:
        return "bytes that are not UTF-8"
    except (ValueError, OverflowError):  # before the year 1 or after 9999
        return shown(f"{scalar.value} {getattr(scalar.type, 'unit', 'days')} since 1970")
    return shown(value if isinstance(value, str | bool | int | float) else str(value))


# --- by type of the column ---


def _to_int(_column: Column, kind: Any) -> Convert | None:
    if pa.types.is_uint64(kind):
        return lambda array: _cast_but(array, pc.greater(array, pa.scalar(MAX_INT, pa.uint64())), pa.int64())
    if pa.types.is_integer(kind):
        return lambda array: (array.cast(pa.int64()), None)
    if pa.types.is_floating(kind):
        return _whole_floats
    return _whole_decimals if pa.types.is_decimal(kind) else None


def _whole_floats(array: Any) -> tuple[Any, Any]:
    array = array.cast(pa.float64())
    within = pc.and_(pc.greater_equal(array, -_TWO_TO_63), pc.less(array, _TWO_TO_63))  # false for NaN
    return _cast_but(array, pc.invert(pc.and_(within, pc.equal(pc.trunc(array), array))), pa.int64())


def _whole_decimals(array: Any) -> tuple[Any, Any]:
    try:
        return array.cast(pa.int64()), None
    except pa.ArrowInvalid:
        values = [
            None if v is None or v != v.to_integral_value() or not MIN_INT <= v <= MAX_INT else int(v)
            for v in array.to_pylist()
        ]
        whole = pa.array(values, pa.int64())
        return whole, pc.and_(pc.is_null(whole), pc.is_valid(array))


def _to_float(_column: Column, kind: Any) -> Convert | None:
    if pa.types.is_integer(kind):
        return lambda array: (array, None)
    if pa.types.is_decimal(kind):
        return lambda array: (array.cast(pa.string()), None)  # Postgres finds the nearest double itself
    return _finite_floats if pa.types.is_floating(kind) else None


def _finite_floats(array: Any) -> tuple[Any, Any]:
    array = array.cast(pa.float64())
    return array, pc.invert(pc.is_finite(array))


def _to_bool(_column: Column, kind: Any) -> Convert | None:
    return (lambda array: (array, None)) if pa.types.is_boolean(kind) else None


def _to_text(column: Column, kind: Any) -> Convert | None:
    if not is_text(kind):
        return None
    most = MAX_TEXT_BYTES if column.type == "text" else MAX_CATEGORY_BYTES

    def convert(array: Any) -> tuple[Any, Any]:
        array = array.cast(pa.string())
        bad = pc.or_(pc.greater(pc.binary_length(array), most), pc.match_substring(array, "\0"))
        try:
            array.validate(full=True)
        except pa.ArrowInvalid:
            bad = pc.or_(bad, pa.array([not _is_utf8(v) for v in array.cast(pa.binary()).to_pylist()]))
        return array, bad

    return convert


def _is_utf8(value: bytes | None) -> bool:
    try:
        return value is None or value.decode() is not None
    except UnicodeDecodeError:
        return False


def _to_date(_column: Column, kind: Any) -> Convert | None:
    if is_text(kind):
        return _moments("date")
    return _within_calendar if pa.types.is_date(kind) else None


def _within_calendar(array: Any) -> tuple[Any, Any]:
    days = array.cast(pa.date32()).cast(pa.int32())
    bad = pc.or_(pc.less(days, _FIRST_DAY), pc.greater(days, _LAST_DAY))
    return _cast_but(days, bad, pa.date32())


def _to_timestamp(_column: Column, kind: Any) -> Convert | None:
    if is_text(kind):
        return _moments("timestamp")
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        return None
    per_second = _PER_SECOND[kind.unit]

    def convert(array: Any) -> tuple[Any, Any]:
        ticks = array.cast(pa.int64())
        if kind.unit == "ns":  # no bound of the calendar is within reach; cut, also before 1970
            cut = pc.divide(ticks, 1_000)
            micros = pc.if_else(pc.greater(pc.multiply(cut, 1_000), ticks), pc.subtract(cut, 1), cut)
            return _in_utc(micros), None
        first, last = _FIRST_SECOND * per_second, (_LAST_SECOND + 1) * per_second
        bad = pc.or_(pc.less(ticks, first), pc.greater_equal(ticks, last))
        ticks, _ = _cast_but(ticks, bad, pa.int64())
        return _in_utc(pc.multiply(ticks, 1_000_000 // per_second)), bad

    return convert


def _in_utc(micros: Any) -> Any:
    """Return microseconds since 1970 as texts; Arrow takes twenty times as long to write times that have a zone."""
    return pc.binary_join_element_wise(micros.cast(pa.timestamp("us")).cast(pa.string()), "Z", "")


def _moments(kind: str) -> Convert:
    moments = Moments(kind)

    def convert(array: Any) -> tuple[Any, Any]:
        array = array.cast(pa.string())
        odd: set[int] = set()
        texts = moments.array(array.to_pylist(), odd)
        return texts, pa.array([place in odd for place in range(len(array))]) if odd else None

    return convert


def _cast_but(array: Any, bad: Any, kind: Any) -> tuple[Any, Any]:
    """Return the array as ``kind`` with missing values where it is bad."""
    if not pc.any(bad).as_py():
        return array.cast(kind), None
    return pc.if_else(bad, pa.scalar(None, array.type), array).cast(kind), bad


_CONVERTERS: dict[str, Callable[[Column, Any], Convert | None]] = {
    "int": _to_int,
    "float": _to_float,
    "bool": _to_bool,
    "text": _to_text,
    "category": _to_text,
    "date": _to_date,
    "timestamp": _to_timestamp,
}
