"""CSV cells against a column, thousands at a time: whole columns pass by a few C-speed tests, the rest by the schema.

The outcome is the same as checking each cell with :func:`trainyard.schema.parse_text`; only the time differs.
"""

from __future__ import annotations

from collections import deque
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from trainyard.schema import MAX_CATEGORY_BYTES, MAX_TEXT_BYTES, parse_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.schema import Column

#: Longest plain number that surely fits int64, and longest that surely is a finite double.
_PLAIN_INT_CHARS = 18
_PLAIN_FLOAT_CHARS = 40
_MAX_BYTES_PER_CHAR = 4


def check_cells(column: Column, cells: Sequence[str]) -> tuple[Sequence[str], set[int]]:
    """Check cells of one column; the empty cell is missing.

    Returns:
        The cells as a warehouse takes them ("" for missing and bad ones), and the indexes of the bad ones.
    """
    if (column.nullable or "" not in cells) and _ALL_PLAIN[column.type](cells):
        return cells, set()
    checked: dict[str, str | None] = {}
    for cell in set(cells):
        value, expected = parse_text(column, cell)
        checked[cell] = None if expected is not None else as_text(value, missing="")
    texts = [checked[cell] for cell in cells]
    bad = {index for index, text in enumerate(texts) if text is None} if None in checked.values() else set()
    return [text or "" for text in texts], bad


def as_text(value: Any, *, missing: str) -> str:
    """Return a clean value in the text form of :class:`trainyard.contracts.warehouse.Rows`."""
    if isinstance(value, str):
        return value
    if value is None:
        return missing
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, date | datetime):
        return value.isoformat()
    return repr(value)


def _numbers(characters: bytes, most_chars: int, convert: type[int] | type[float]) -> Callable[[Sequence[str]], bool]:
    """Return a test for columns of short numbers that are made of ``characters`` only.

    With these characters alone, Python reads neither spaces, underscores, NaN nor infinities, so what it reads is a
    number of the schema's grammar.
    """

    def all_plain(cells: Sequence[str]) -> bool:
        joined = "".join(cells)
        if not joined.isascii() or joined.encode().translate(None, characters) or max(map(len, cells)) > most_chars:
            return False
        try:
            deque(map(convert, filter(None, cells)), maxlen=0)
        except ValueError:
            return False
        return True

    return all_plain


def _texts(most_bytes: int) -> Callable[[Sequence[str]], bool]:
    def all_plain(cells: Sequence[str]) -> bool:
        return max(map(len, cells)) * _MAX_BYTES_PER_CHAR <= most_bytes and "\0" not in "".join(cells)

    return all_plain


def _never(cells: Sequence[str]) -> bool:  # noqa: ARG001 - the table's signature
    """Say no: these types repeat themselves, so checking each distinct cell is quick enough."""
    return False


_ALL_PLAIN: dict[str, Callable[[Sequence[str]], bool]] = {
    "bool": _never,
    "int": _numbers(b"0123456789+-", _PLAIN_INT_CHARS, int),
    "float": _numbers(b"0123456789+-.", _PLAIN_FLOAT_CHARS, float),
    "text": _texts(MAX_TEXT_BYTES),
    "category": _texts(MAX_CATEGORY_BYTES),
    "date": _never,
    "timestamp": _never,
}
