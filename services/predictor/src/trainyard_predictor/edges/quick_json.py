"""JSON for the HTTP road, by msgspec: several times faster than :mod:`trainyard.strict_json`, and the same.

msgspec reads what is JSON, but keeps the last of equal keys and takes integers of any length. What it has read counts
only when counting shows that the text has neither, nor any nesting beyond rows of plain values; for anything else the
strict reader is asked, and says what is wrong. A test compares both on texts of all kinds.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import msgspec

from trainyard import strict_json

_decode = msgspec.json.Decoder().decode
#: Finite numbers, texts, lists and objects as compact JSON.
dumps = msgspec.json.Encoder().encode
#: Each digit becomes a 0, so that a long number can be found as one string.
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
#: One digit more than any integer of 64 bits is sure to have room for.
_LONG_NUMBER, _LARGE_INTEGER = b"0" * 19, 10**18


def loads(data: bytes) -> Any:
    """Parse one JSON document; the result, or what is raised, is that of :func:`trainyard.strict_json.loads`."""
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return strict_json.loads(data)
    return value if _is_plain(data, value) else strict_json.loads(data)


def _is_plain(data: bytes, value: Any) -> bool:
    """Tell whether the text is an object with one list of flat objects, no key twice, no integer beyond 18 digits.

    Outside its strings a text has one colon for each key and one bracket for each list and object. So when there are
    no more of them than ``value`` has members, lists and objects, no member was lost and nothing else is nested.
    """
    rows = value.get("rows") if type(value) is dict else None
    if type(rows) is not list or set(map(type, rows)) != {dict}:
        return False
    colons, braces, brackets = data.count(b":"), data.count(b"{"), data.count(b"[")
    members = len(value) + sum(map(len, rows))
    if (colons, braces, brackets) != (members, len(rows) + 1, 1):
        if b"\\" in data:  # what an escape spells does not stand in the text
            return False
        text = _text(rows) + "".join(value)
        inside = [text.count(sign) for sign in ":{["]
        if [colons, braces, brackets] != [members + inside[0], len(rows) + 1 + inside[1], 1 + inside[2]]:
            return False
    return _LONG_NUMBER not in data.translate(_DIGITS) or not _has_large_integer(value, rows)


def _has_large_integer(value: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
    """Tell whether an integer has more than 18 digits; those of a fraction do not count."""
    members = [*value.values(), *chain.from_iterable(map(dict.values, rows))]
    if int not in set(map(type, members)):
        return False
    return any(type(one) is int and abs(one) >= _LARGE_INTEGER for one in members)


def _text(rows: list[dict[str, Any]]) -> str:
    """Return all keys and all strings of the rows as one text."""
    strings = [value for value in chain.from_iterable(map(dict.values, rows)) if type(value) is str]
    return "".join(map("".join, rows)) + "".join(strings)
