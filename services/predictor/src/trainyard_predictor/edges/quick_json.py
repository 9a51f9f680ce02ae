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
_SIGNS = (b":", b"{", b"[")
#: From so many bytes on numpy counts what is frequent in less time than bytes do.
_MANY_BYTES = 8 * 1024


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
    many = len(data) >= _MANY_BYTES
    colons, braces, brackets = _counts(data) if many else map(data.count, _SIGNS)
    members = len(value) + sum(map(len, rows))
    if (colons, braces, brackets) != (members, len(rows) + 1, 1):
        if b"\\" in data:  # what an escape spells does not stand in the text
            return False
        text = _text(rows) + "".join(value)
        inside = [text.count(sign) for sign in ":{["]
        if [colons, braces, brackets] != [members + inside[0], len(rows) + 1 + inside[1], 1 + inside[2]]:
            return False
    if (many and not _may_have_long_numbers(data)) or _LONG_NUMBER not in data.translate(_DIGITS):
        return True
    return not _has_large_integer(value, rows)


def _counts(data: bytes) -> list[int]:
    """Return how often each of _SIGNS stands in the text."""
    import numpy as np  # noqa: PLC0415 - few rows do without

    text = np.frombuffer(data, dtype=np.uint8)
    return [int(np.count_nonzero(text == ord(sign))) for sign in _SIGNS]


def _may_have_long_numbers(data: bytes) -> bool:
    """Tell whether 8 digits stand where 8 bytes are one word, as of 15 digits in a row some must."""
    import numpy as np  # noqa: PLC0415 - as above

    digits = np.frombuffer(data, dtype=np.uint8) - np.uint8(ord("0")) < 10
    words = digits[: len(digits) // 8 * 8].view(np.uint64)
    return bool((words == np.uint64(0x0101010101010101)).any())


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
