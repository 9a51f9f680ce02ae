"""UBJSON (ubjson.org, draft 12) as XGBoost writes it: objects, counted, open or typed arrays, numbers and strings."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from trainyard_convert.errors import ConversionError

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_LENGTHS = frozenset((b"i", b"U", b"I", b"l", b"L"))
_WORDS = {b"Z": None, b"T": True, b"F": False}
_MOST_DEPTH = 64
#: Values that stand alone, not in a typed array: a model of 5,000 trees has some 100,000.
_MOST_VALUES = 1_000_000


def read(data: bytes) -> Any:
    """Return the document; typed arrays are numpy arrays.

    Raises:
        ConversionError: these bytes are none.
    """
    reader = _Reader(data)
    try:
        value = reader.value(reader.take(1), 0)
    except (KeyError, ValueError, struct.error) as e:
        raise ConversionError("XGBoost .ubj file", f"it is not UBJSON from byte {reader.at} on") from e
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values = 0
        self.at = 0

    def take(self, count: int) -> bytes:
        end = self.at + count
        if count < 0 or end > len(self._data):
            raise ValueError("it ends too early")
        part = self._data[self.at : end]
        self.at = end
        return part

    def value(self, marker: bytes, depth: int) -> Any:
        if depth > _MOST_DEPTH:
            raise ValueError("it is too deep")
        self._values += 1
        if self._values > _MOST_VALUES:
            raise ValueError("it has too many values")
        if marker in _NUMBERS:
            return self._numbers(marker, 1)[0].item()
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == b"S":
            return self._text(self._length())
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        raise ValueError(f"no value begins with {marker!r}")

    def _numbers(self, marker: bytes, count: int) -> Any:
        dtype = np.dtype(_NUMBERS[marker])
        return np.frombuffer(self.take(dtype.itemsize * count), dtype=dtype)

    def _length(self) -> int:
        return self._length_of(self.take(1))

    def _length_of(self, marker: bytes) -> int:
        if marker not in _LENGTHS:
            raise ValueError("a length is none")
        length = int(self._numbers(marker, 1)[0])
        if length < 0:
            raise ValueError("a length is none")
        return length

    def _text(self, length: int) -> str:
        return self.take(length).decode("utf-8")

    def _array(self, depth: int) -> Any:
        marker = self.take(1)
        if marker == b"$":
            kind = self.take(1)
            if self.take(1) != b"#":
                raise ValueError("a typed array has no length")
            return self._numbers(kind, self._length())
        if marker == b"#":
            return [self.value(self.take(1), depth + 1) for _ in range(self._length())]
        found = []
        while marker != b"]":
            found.append(self.value(marker, depth + 1))
            marker = self.take(1)
        return found

    def _object(self, depth: int) -> dict[str, Any]:
        found = {}
        while (marker := self.take(1)) != b"}":
            name = self._text(self._length_of(marker))
            found[name] = self.value(self.take(1), depth + 1)
        return found
