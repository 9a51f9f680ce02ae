"""One value against one column: JSON values (``check_value``) and CSV cells (``parse_text``, by column
``parse_text_column``).

What comes out, by column type: ``bool``, ``int``, ``float``, ``text`` and ``category`` give the Python type (str
for both texts), ``date`` a ``datetime.date``, ``timestamp`` a ``datetime.datetime`` in UTC, missing ``None``.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from trainyard.schema.columns import Column

MAX_CATEGORY_BYTES = 256
MAX_TEXT_BYTES = 65_536
MIN_INT = -(2**63)
MAX_INT = 2**63 - 1
#: From here on a float may be another whole number than the one that was written.
FIRST_ROUNDED = 2**53
_MAX_SHOWN_CHARS = 80

#: type -> what an error says was expected
EXPECTED = {
    "bool": "true or false",
    "int": "a whole number from -2^63 to 2^63-1",
    "float": "a finite number",
    "text": f"a string of at most {MAX_TEXT_BYTES} UTF-8 bytes without NUL",
    "category": f"a string of at most {MAX_CATEGORY_BYTES} UTF-8 bytes without NUL",
    "date": "a date YYYY-MM-DD",
    "timestamp": "an ISO 8601 time with zone, such as 2024-05-01T12:00:00Z",
}
_UNCERTAIN = "a whole number without point and exponent, which are exact below 2^53 only"
NOT_NULL = "a value (the column is not nullable)"

_TRUE = frozenset({"true", "1", "t", "yes"})
_FALSE = frozenset({"false", "0", "f", "no"})
_INT = r"[+-]?[0-9]{1,18}"
_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIMESTAMP = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-5][0-9])?)"
)
_FRACTION = r"\.([0-9]+)"


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return the pattern compiled: at its first use, as a cold start pays for each and uses few."""
    return re.compile(text, re.ASCII)


class _RefusedError(Exception):
    """The value does not fit; never leaves this module. It may say what was expected."""


def check_value(column: Column, value: object) -> tuple[Any, str | None]:
    """Check a JSON value: ``(clean value, None)`` when it fits, ``(None, what was expected)`` when not."""
    if value is None:
        return None, (None if column.nullable else NOT_NULL)
    try:
        return _FROM_JSON[column.type](value), None
    except _RefusedError as e:
        return None, str(e) or EXPECTED[column.type]


def parse_text(column: Column, text: str) -> tuple[Any, str | None]:
    """Check one CSV cell, as :func:`check_value`; the empty string is the only missing value."""
    if text == "":
        return None, (None if column.nullable else NOT_NULL)
    try:
        return _FROM_TEXT[column.type](text), None
    except _RefusedError:
        return None, EXPECTED[column.type]


def parse_text_column(column: Column, cells: Sequence[str]) -> tuple[list[Any], list[int]]:
    """Parse one CSV column: the values (None where missing or bad) and the indexes of the bad cells.

    Built for batches of many thousand rows: about a million cells a second.
    """
    if column.type in ("int", "float"):
        try:
            return _numbers_at_once(column, cells), []
        except (_RefusedError, ValueError):
            pass  # some cell is odd; the loop below finds which
    parse = _FROM_TEXT[column.type]
    nullable = column.nullable
    values: list[Any] = []
    bad: list[int] = []
    seen: dict[str, Any] = {}  # columns repeat themselves: carriers, days, flags
    for index, cell in enumerate(cells):
        value = None
        if cell in seen:
            value = seen[cell]
        elif cell:
            try:
                value = parse(cell)
            except _RefusedError:
                bad.append(index)
            else:
                if len(seen) < 4096 and len(cell) <= 64:
                    seen[cell] = value
        elif not nullable:
            bad.append(index)
        values.append(value)
    return values, bad


def _numbers_at_once(column: Column, cells: Sequence[str]) -> list[Any]:
    """Parse a clean numeric column in one pass, or refuse it as a whole."""
    pattern, convert = (_INT, int) if column.type == "int" else (_FLOAT, float)
    match = _pattern(pattern).fullmatch
    nullable = column.nullable
    values = [convert(cell) if match(cell) else _none_if_empty(cell, nullable) for cell in cells]
    if column.type == "float" and (math.inf in values or -math.inf in values):
        raise _RefusedError
    return values


def _none_if_empty(cell: str, nullable: bool) -> Any:
    if cell or not nullable:
        raise _RefusedError
    return None


def shown(value: object) -> str:
    """Return ``value`` as an error shows it: at most 80 printable characters."""
    text = value if isinstance(value, str) else _json_word(value)
    if len(text) <= _MAX_SHOWN_CHARS and text.isprintable():
        return text
    clean = "".join(c if c.isprintable() else "�" for c in text[: _MAX_SHOWN_CHARS + 1])
    return clean if len(clean) <= _MAX_SHOWN_CHARS else clean[: _MAX_SHOWN_CHARS - 1] + "…"


def _json_word(value: object) -> str:
    """Return a short name for ``value`` without walking into a large structure."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 4096 else "a number of more than 1200 digits"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return repr(value)


# --- JSON values -----------------------------------------------------------------------------------------------


def _bool_from_json(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _RefusedError


def _int_from_json(value: object) -> int:
    if isinstance(value, bool):
        raise _RefusedError
    if isinstance(value, float) and value.is_integer():
        if FIRST_ROUNDED <= abs(value) <= -MIN_INT:
            raise _RefusedError(_UNCERTAIN)
        value = int(value)
    if isinstance(value, int) and MIN_INT <= value <= MAX_INT:
        return value
    raise _RefusedError


def _float_from_json(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _RefusedError
    try:
        number = float(value)
    except OverflowError:
        raise _RefusedError from None
    if not math.isfinite(number):
        raise _RefusedError
    return number


def _string_of(limit: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or "\0" in value or len(value) > limit:
            raise _RefusedError
        if not value.isascii():
            try:
                size = len(value.encode("utf-8"))
            except UnicodeEncodeError:  # a lone surrogate, which JSON can spell and UTF-8 cannot
                raise _RefusedError from None
            if size > limit:
                raise _RefusedError
        return value

    return check


def _date_from_json(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _pattern(_DATE).fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise _RefusedError from None
    raise _RefusedError


def _timestamp_from_json(value: object) -> datetime:
    try:
        if isinstance(value, datetime):
            moment = value
        elif isinstance(value, str) and _pattern(_TIMESTAMP).fullmatch(value):
            # Python reads at most six fractional digits; what is finer than a microsecond is cut
            moment = datetime.fromisoformat(
                _pattern(_FRACTION).sub(lambda m: "." + m[1][:6].ljust(6, "0"), value).upper()
            )
        else:
            raise _RefusedError
        if moment.tzinfo is None:
            raise _RefusedError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _RefusedError from None


_text = _string_of(MAX_TEXT_BYTES)
_category = _string_of(MAX_CATEGORY_BYTES)

_FROM_JSON: dict[str, Callable[[object], Any]] = {
    "bool": _bool_from_json,
    "int": _int_from_json,
    "float": _float_from_json,
    "text": _text,
    "category": _category,
    "date": _date_from_json,
    "timestamp": _timestamp_from_json,
}

# --- CSV cells: spaces around anything but texts are harmless ---------------------------------------------------


def _bool_from_text(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _RefusedError


def _int_from_text(text: str) -> int:
    word = text.strip()
    if _pattern(_INT).fullmatch(word):
        return int(word)
    if not _pattern(_FLOAT).fullmatch(word):
        raise _RefusedError
    try:
        number = Decimal(word)  # a float would make another whole number of one beyond 2^53
    except ArithmeticError:  # an exponent of more digits than any number has
        raise _RefusedError from None
    # Compared first: int() of 1e999999 would write all of its digits.
    if not MIN_INT <= number <= MAX_INT or number != number.to_integral_value():
        raise _RefusedError
    return int(number)


def _float_from_text(text: str) -> float:
    word = text.strip()
    if not _pattern(_FLOAT).fullmatch(word):
        raise _RefusedError
    return _float_from_json(float(word))


_FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "bool": _bool_from_text,
    "int": _int_from_text,
    "float": _float_from_text,
    "text": _text,
    "category": _category,
    "date": lambda text: _date_from_json(text.strip()),
    "timestamp": lambda text: _timestamp_from_json(text.strip()),
}
