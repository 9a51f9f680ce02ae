"""Bytes of a model file to plain objects and back: envelope, checksum, limits. Knows nothing of models.

A file is one msgpack map with four entries in fixed order, ``format``, ``version``, ``sha256`` and ``body``; the
body is a byte string that holds msgpack again. So the checksum is verified before anything is parsed, and the
limits before any memory is taken (docs/model-format.md).
"""

from __future__ import annotations

import hashlib
import struct

import msgpack

from trainyard.errors import ArtifactError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: The versions that this release reads; all of them for ever.
VERSIONS = (1, 2)
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_DEPTH = 32
MAX_ITEMS = 350_000
MAX_ARRAY_LEN = 10_000
MAX_MAP_LEN = 2_000
MAX_STRING_BYTES = 65_536

_MAGIC = b"\x84\xa6format\xaftrainyard.model\xa7version"
_SHA_KEY = b"\xa6sha256\xc4\x20"
_BODY_KEY = b"\xa4body\xc6"
_VERSION_AT = len(_MAGIC)
_SHA_KEY_AT = _VERSION_AT + 1
_SHA_AT = _SHA_KEY_AT + len(_SHA_KEY)
_BODY_KEY_AT = _SHA_AT + 32
_LENGTH_AT = _BODY_KEY_AT + len(_BODY_KEY)
HEADER_BYTES = _LENGTH_AT + 4


def seal(tree: Any, version: int) -> bytes:
    """Return the file that holds ``tree``, in a form of this version.

    Raises:
        ArtifactError: when the file would break a limit.
    """
    body = pack(tree)
    scan(memoryview(body))
    if HEADER_BYTES + len(body) > MAX_FILE_BYTES:
        raise ArtifactError("too_large", f"the model is over the limit of {MAX_FILE_BYTES} bytes")
    return envelope(body, version)


def envelope(body: bytes, version: int = VERSIONS[-1]) -> bytes:
    """Return the file around ``body``: format, version, checksum, length."""
    length = struct.pack(">I", len(body))
    digest = hashlib.sha256(body).digest()
    return b"".join([_MAGIC, bytes([version]), _SHA_KEY, digest, _BODY_KEY, length, body])


def pack(tree: Any) -> bytes:
    """Return ``tree`` as msgpack: each value in its shortest form, floats always in 64 bits."""
    try:
        packed: bytes = msgpack.packb(tree, use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError, UnicodeEncodeError) as e:
        raise ArtifactError("wrong_type", f"a value cannot be written: {e}") from e
    return packed


def unseal(data: bytes) -> tuple[int, Any]:
    """Check the envelope of a file and return its version and the tree in it.

    Raises:
        ArtifactError: the code names the first rule that the bytes break.
    """
    body = _open_envelope(data)
    scan(body)
    try:
        tree = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=False,  # the hook sees every key and says better what is wrong with it
            object_pairs_hook=_unique,
            max_array_len=MAX_ARRAY_LEN,
            max_map_len=MAX_MAP_LEN,
            max_str_len=MAX_STRING_BYTES,
            max_bin_len=len(body),
            max_ext_len=0,
        )
    except UnicodeDecodeError as e:
        raise ArtifactError("bad_string", "a string is not UTF-8") from e
    except (ValueError, msgpack.exceptions.UnpackException) as e:  # the scan has passed: a limit of the library
        raise ArtifactError("not_msgpack", f"the body cannot be read: {e}") from e
    return data[_VERSION_AT], tree


def _open_envelope(data: bytes) -> memoryview:
    if len(data) > MAX_FILE_BYTES:
        raise ArtifactError("too_large", f"{len(data)} bytes are over the limit of {MAX_FILE_BYTES}")
    if data[:_VERSION_AT] != _MAGIC[: len(data)]:
        raise ArtifactError("bad_magic", "this is not a Trainyard model")
    if len(data) < HEADER_BYTES:
        raise ArtifactError("truncated", "the file ends within its header")
    if data[_VERSION_AT] not in VERSIONS:
        raise ArtifactError("unsupported_version", f"format version {data[_VERSION_AT]} is none of {VERSIONS}")
    if data[_SHA_KEY_AT:_SHA_AT] != _SHA_KEY or data[_BODY_KEY_AT:_LENGTH_AT] != _BODY_KEY:
        raise ArtifactError("bad_header", "the header's fields are not as prescribed")
    body = memoryview(data)[HEADER_BYTES:]
    (length,) = struct.unpack_from(">I", data, _LENGTH_AT)
    if len(body) < length:
        raise ArtifactError("truncated", f"{len(body)} bytes of body instead of {length}")
    if len(body) > length:
        raise ArtifactError("trailing_bytes", f"{len(body) - length} bytes after the body")
    if hashlib.sha256(body).digest() != data[_SHA_AT:_BODY_KEY_AT]:
        raise ArtifactError("bad_checksum", "the body does not have the SHA-256 that the header states")
    return body


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    if any(type(key) is not str for key, _ in pairs):
        raise ArtifactError("bad_key", "a key is not a string")
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ArtifactError("duplicate_key", "a map has the same key twice")
    return out


# --- the scan: walks over the tokens without building anything ---------------------------------------------------

#: first byte -> (bytes of the length that follows, what it is, the smallest length that needs this form)
_SIZED = {
    0xC4: (1, "bin", 0),
    0xC5: (2, "bin", 1 << 8),
    0xC6: (4, "bin", 1 << 16),
    0xD9: (1, "str", 32),
    0xDA: (2, "str", 1 << 8),
    0xDB: (4, "str", 1 << 16),
    0xDC: (2, "array", 16),
    0xDD: (4, "array", 1 << 16),
    0xDE: (2, "map", 16),
    0xDF: (4, "map", 1 << 16),
}
#: first byte of an integer -> (its bytes, the number nearest to zero that needs this form)
_INTEGERS = {
    0xCC: (1, 1 << 7),
    0xCD: (2, 1 << 8),
    0xCE: (4, 1 << 16),
    0xCF: (8, 1 << 32),
    0xD0: (1, -(1 << 5) - 1),
    0xD1: (2, -(1 << 7) - 1),
    0xD2: (4, -(1 << 15) - 1),
    0xD3: (8, -(1 << 31) - 1),
}
#: nil, false, true, float 64 -> bytes that follow
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCB: 8}
_EXT = frozenset({0xC7, 0xC8, 0xC9, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8})


def _skips() -> tuple[int, ...]:
    """Return for each first byte how many bytes follow in a value that needs no further look, else -1."""
    skips = [-1] * 256
    for first in (*range(0x80), *range(0xE0, 0x100)):
        skips[first] = 0
    for first, size in _FIXED.items():
        skips[first] = size
    for length in range(32):
        skips[0xA0 + length] = length
    return tuple(skips)


_SKIPS = _skips()


def scan(body: memoryview) -> None:
    """Walk over all tokens of ``body``: one value, whole, within the limits of depth, items, lengths and types.

    Raises:
        ArtifactError: the code names the first rule that the bytes break.
    """
    size, at, items = len(body), 0, 0
    left = 1  # values still to come in the innermost list or map
    outer: list[int] = []  # the same of those around it
    while left or outer:
        if left == 0:
            left = outer.pop()
            continue
        left -= 1
        items += 1
        if items > MAX_ITEMS:
            raise ArtifactError("too_many_items", f"more than {MAX_ITEMS} values")
        skip = _SKIPS[body[at]] if at < size else -1
        if skip >= 0:
            at += 1 + skip
        else:
            kind, length, at = _token(body, at)
            if kind in ("array", "map"):
                _within(length, MAX_ARRAY_LEN if kind == "array" else MAX_MAP_LEN, "too_many_items", f"a {kind}")
                outer.append(left)
                left = length if kind == "array" else 2 * length
            else:
                if kind == "str":
                    _within(length, MAX_STRING_BYTES, "string_too_long", "a string")
                at += length
            if len(outer) > MAX_DEPTH:
                raise ArtifactError("too_deep", f"more than {MAX_DEPTH} levels")
        if at + left > size:  # every value takes a byte at least
            raise ArtifactError("truncated", "the body ends within a value")
    if at != size:
        raise ArtifactError("trailing_bytes", f"{size - at} bytes after the value in the body")


def _token(body: memoryview, at: int) -> tuple[str, int, int]:
    """Return what starts at ``at``: (kind, length, offset of what follows the head)."""
    if at >= len(body):
        raise ArtifactError("truncated", "the body ends within a value")
    first = body[at]
    at += 1
    if first <= 0x9F:  # the shorter ones have been skipped
        return ("map" if first <= 0x8F else "array"), first & 0x0F, at
    if first in _INTEGERS:
        _check_integer(body, first, at)
        return "number", _INTEGERS[first][0], at
    if first in _SIZED:
        size, kind, smallest = _SIZED[first]
        length = int.from_bytes(_bytes(body, at, size), "big")
        if length < smallest:
            raise ArtifactError("not_canonical", f"the length of a {kind} is written longer than needed")
        return kind, length, at + size
    if first in _EXT:
        raise ArtifactError("ext_type", "extension types are not allowed")
    raise ArtifactError("not_msgpack", f"byte 0x{first:02x} starts no allowed value")


def _check_integer(body: memoryview, first: int, at: int) -> None:
    """Refuse an integer that a shorter form could hold; what is not negative takes the unsigned forms."""
    size, nearest = _INTEGERS[first]
    value = int.from_bytes(_bytes(body, at, size), "big", signed=nearest < 0)
    if value > nearest if nearest < 0 else value < nearest:
        raise ArtifactError("not_canonical", "an integer is written longer than needed")


def _bytes(body: memoryview, at: int, size: int) -> memoryview:
    if at + size > len(body):
        raise ArtifactError("truncated", "the body ends within a value")
    return body[at : at + size]


def _within(length: int, limit: int, code: str, what: str) -> None:
    if length > limit:
        raise ArtifactError(code, f"{what} of {length} is over the limit of {limit}")
