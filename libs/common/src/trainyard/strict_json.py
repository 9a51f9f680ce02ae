"""JSON as the services take it: RFC 8259 and nothing else, with limits that hold before memory is taken.

The standard library accepts NaN, lets 1e999 become infinity, keeps the last of duplicate keys and runs out of stack
on deep nesting; all of these are refused here with ``bad_json``.
"""

from __future__ import annotations

import codecs
import json
import math
import re

from trainyard.errors import ServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

MAX_DEPTH = 16
_MAX_DIGITS = 400
_INT64 = (-(2**63), 2**63 - 1)
#: Possessive, so that a long string takes no memory for ways back.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"')
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
#: Every digit becomes a 0 and every exponent an e: what is suspicious can then be found by searching for one string.
_NUMBER_SHAPES = bytes.maketrans(b"123456789E", b"000000000e")
#: Fewer digits in a row are an integer of 64 bits for sure, or a finite number.
_LONG_INTEGER, _LONG_FLOAT = b"0" * 19, b"0" * 300
_LARGE_EXPONENTS = (b"e000", b"e+000")


def _refuse(message: str) -> NoReturn:
    raise ServiceError("bad_json", message)


def too_deep(data: bytes, most: int = MAX_DEPTH) -> bool:
    """Tell whether JSON text is nested deeper than ``most`` levels, before anything parses it."""
    opened = data.count(b"[") + data.count(b"{")
    if opened <= most:
        return False
    if b"\\" not in data and data.count(b'"') % 2 == 0:  # quotes in pairs: two that touch enclose nothing that counts
        data = data.translate(None, _NOT_STRUCTURE).replace(b'""', b"")
    depth = 0
    for bracket in _STRING.sub(b"", data).translate(None, _NOT_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > most:
            return True
    return False


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"the key {twice[:80]!r} stands twice in one object")
    return result


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS or not _INT64[0] <= (value := int(text)) <= _INT64[1]:
        _refuse(f"the integer {text[:40]} does not fit 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(f"the number {text[:40]} is too large")
    return value


def _constant(text: str) -> NoReturn:
    _refuse(f"{text} is not JSON; send null for a missing value")


def _missing(text: str) -> None:
    if text != "NaN":
        _constant(text)


def _decoder(constant: Callable[[str], None] = _constant, **checks: Any) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=_pairs, parse_constant=constant, strict=True, **checks)


#: A check is a call into Python for each number, so only documents where it may find something have it.
_DECODER, _INTEGERS_DECODER, _PLAIN_DECODER = (
    _decoder(parse_int=_integer, parse_float=_float),
    _decoder(parse_int=_integer),
    _decoder(),
)
_NAN_DECODER = _decoder(_missing, parse_int=_integer, parse_float=_float)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _decoder_for(data: bytes) -> json.JSONDecoder:
    """Return the fastest decoder that lets no number pass which is out of range."""
    shapes = data.translate(_NUMBER_SHAPES)
    if _LONG_FLOAT in shapes or any(exponent in shapes for exponent in _LARGE_EXPONENTS):
        return _DECODER
    # where digits are many, they most often are those of a fraction
    return _INTEGERS_DECODER if _LONG_INTEGER in shapes else _PLAIN_DECODER


def refuse_mark(data: bytes) -> None:
    """Refuse a byte order mark, which JSON does not take (RFC 8259); raises ``ServiceError``: ``bad_json``."""
    if data.startswith(codecs.BOM_UTF8):
        _refuse("the JSON begins with a byte order mark; send it without")


def loads(data: bytes, *, nan_is_missing: bool = False) -> Any:
    """Parse one JSON document.

    Args:
        data: as it was sent.
        nan_is_missing: whether ``NaN`` is read as null, for protocols whose clients write it.

    Raises:
        ServiceError: ``empty_body`` or ``bad_json``; the message says where it breaks.
    """
    if not data.strip():
        raise ServiceError("empty_body", "the body is empty; send JSON")
    if too_deep(data):
        _refuse(f"the JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as e:
        _refuse(f"the body is not UTF-8 at byte {e.start}")
    refuse_mark(data)
    try:
        value = (_NAN_DECODER if nan_is_missing and b"NaN" in data else _decoder_for(data)).decode(text)
    except json.JSONDecodeError as e:
        _refuse(f"{e.msg} at line {e.lineno}, column {e.colno}")
    if "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            _refuse("the text holds half of a surrogate pair")
    return value


def dumps(value: Any) -> bytes:
    """Return compact UTF-8 JSON; NaN and infinities are a fault of the caller."""
    return _ENCODER.encode(value).encode("utf-8")
