"""JSON bodies cut into the bytes of their rows as they arrive: lines of NDJSON, elements of an array.

Nothing is parsed here. What a piece holds is for :mod:`json_checks` to say; whether the pieces were cut in the right
places shows in every one of them being JSON by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard_ingest.domain import limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PIECE_BYTES = 1 << 20
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
#: A string, a quote that opens one which has not come to its end yet, or a byte of structure.
_TOKEN = re.compile(_STRING + rb'|["\[\]{},]', re.DOTALL)
_OPENING = re.compile(rb"[ \t\r\n]*(?:\{[ \t\r\n]*(" + _STRING + rb")[ \t\r\n]*:[ \t\r\n]*)?\[", re.DOTALL)
_BETWEEN_ROWS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_SPACE = b" \t\r\n"
_NEWLINE, _RETURN, _OPEN, _CLOSE = b"\n\r{}"
_TRIES = 50
_WANTED = 'the body must be {"rows": [...]} or [...]'


@dataclass(frozen=True)
class Lines:
    """Whole lines of NDJSON. ``first``: the number of the first one in the body, from 1."""

    data: bytes
    first: int

    def split(self) -> list[tuple[int, bytes]]:
        """Return the lines that are not blank, with their numbers."""
        lines = enumerate(self.data.split(b"\n"), start=self.first)
        return [(number, line) for number, line in lines if line and not line.isspace()]

    def parts(self, most_lines: int) -> Iterator[Lines]:
        """Yield the lines in pieces of at most so many."""
        if self.data.count(b"\n") <= most_lines:
            yield self
            return
        ends = np.flatnonzero(np.frombuffer(self.data, np.uint8) == _NEWLINE)
        begin = 0
        for place in range(most_lines - 1, len(ends), most_lines):
            yield Lines(self.data[begin : ends[place] + 1], self.first + place + 1 - most_lines)
            begin = int(ends[place]) + 1
        if begin < len(self.data):
            yield Lines(self.data[begin:], self.first + len(ends) - len(ends) % most_lines)

    def are_rows(self, rows: int) -> bool:
        """Tell whether each line has exactly one of ``rows`` objects: it begins and ends with a brace.

        Behind a closing brace none can open within an object, so none reaches over a line's end; then as many objects
        as lines leave each line one.
        """
        octets = np.frombuffer(self.data, np.uint8)
        ends = np.flatnonzero(octets == _NEWLINE)
        if len(ends) == 0 or ends[-1] != len(octets) - 1:
            ends = np.append(ends, len(octets))
        if len(ends) != rows or octets[0] != _OPEN or int(np.diff(ends, prepend=-1).max()) > limits.MAX_JSON_ROW_BYTES:
            return False
        last = octets[ends - 1]
        last = np.where(last == _RETURN, octets[ends - 2], last)
        return bool((last == _CLOSE).all() and (octets[ends[:-1] + 1] == _OPEN).all())


def ndjson_lines(blocks: Iterable[bytes]) -> Iterator[Lines]:
    """Yield the body in pieces of about 1 MiB.

    Raises:
        ServiceError: ``json_limit``: a line is too long.
    """
    rest, number = b"", 1
    for block in blocks:
        data = rest + block
        end = data.rfind(b"\n") + 1
        if end >= _PIECE_BYTES or (end and len(data) - end > limits.MAX_JSON_ROW_BYTES):
            yield Lines(data[:end], number)
            number += data.count(b"\n", 0, end)
            data, end = data[end:], 0
        if end == 0 and len(data) > limits.MAX_JSON_ROW_BYTES:
            raise too_long(f"line {number:,}")
        rest = data
    if rest:
        yield Lines(rest, number)


def too_long(place: str) -> ServiceError:
    """Return the refusal of a line or a row that is longer than the limit."""
    return ServiceError("json_limit", f"{place} is longer than {limits.MAX_JSON_ROW_BYTES:,} bytes")


class RowArray:
    """The elements of ``[...]`` or ``{"rows": [...]}``, read once.

    :meth:`likely` returns bytes that are probably whole elements, cut where an object ends and another begins; whoever
    can read them as such calls :meth:`took`. Otherwise :meth:`certain` tells elements apart one by one.

    Raises:
        ServiceError: ``empty_body``, ``bad_json``, ``json_limit`` or ``bad_request``, from the constructor for what
            comes before the rows, later from the methods.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._data = b""
        self._ended = False  # the body, not the array
        self._over = False  # the array
        self.taken = 0
        self._wrapped = self._open()

    @property
    def depth(self) -> int:
        """How many levels there are around each element."""
        return 2 if self._wrapped else 1

    def more(self) -> bool:
        """Fetch bytes until there is a piece; tell whether the array may still have elements."""
        while len(self._data) < _PIECE_BYTES and self._fetch():
            pass
        return not self._over

    def likely(self, most_rows: int) -> bytes | None:
        """Return elements, about ``most_rows`` at most, or None where no good place to cut is in sight."""
        rows = self._data.count(b"{")
        end = len(self._data) if rows <= most_rows else len(self._data) * most_rows // rows
        for _ in range(_TRIES):
            end = self._data.rfind(b"}", 0, end)
            if end < 0:
                return None
            if _BETWEEN_ROWS.match(self._data, end):
                return self._data[: end + 1]
        return None

    def split(self, piece: bytes) -> list[tuple[int, bytes]]:
        """Return the elements of ``piece``, which :meth:`likely` returned and which holds nothing but elements."""
        found, _, _ = _elements(piece + b"]", len(piece))
        return list(enumerate(found, start=self.taken + 1))

    def took(self, piece: bytes, count: int) -> None:
        """Go on behind ``piece``, which :meth:`likely` returned and which has ``count`` elements."""
        self._data = self._data[self._data.index(b",", len(piece)) + 1 :]
        self.taken += count

    def certain(self, most_rows: int) -> list[tuple[int, bytes]]:
        """Return whole elements among the bytes at hand, with their numbers from 1; none at the end only."""
        while True:
            found, used = self._split(most_rows)
            if found or self._over:
                self._data = self._data[used:]
                first = self.taken + 1
                self.taken += len(found)
                if self._over:
                    self._close()
                return list(enumerate(found, start=first))
            if len(self._data) > limits.MAX_JSON_ROW_BYTES:
                raise too_long(f"row {self.taken + 1:,}")
            if not self._fetch():
                raise ServiceError(
                    "bad_json", f"the body ends within row {self.taken + 1:,}, before the array is closed"
                )

    def _fetch(self) -> bool:
        block = next(self._blocks, b"")
        self._data += block
        self._ended = not block
        return not self._ended

    def _split(self, most_rows: int) -> tuple[list[bytes], int]:
        found, used, self._over = _elements(self._data, most_rows)
        if self._over and found[-1].strip(_SPACE) == b"" and self.taken + len(found) == 1:
            found.pop()  # an array without elements
        return found, used

    def _open(self) -> bool:
        while self._fetch() and len(self._data) < limits.MAX_JSON_ROW_BYTES:
            self._data = self._data.lstrip(_SPACE)
            if found := _OPENING.match(self._data):
                break
        else:
            found = _OPENING.match(self._data)
        if found is None:
            self._refuse_opening()
        if found[1] is not None and strict_json.loads(found[1]) != "rows":
            raise ServiceError("bad_request", _WANTED)
        self._data = self._data[found.end() :]
        return found[1] is not None

    def _refuse_opening(self) -> NoReturn:
        strict_json.refuse_mark(self._data)
        if self._ended:
            strict_json.loads(self._data)  # says what is wrong where it is not even JSON
        raise ServiceError("bad_request", _WANTED)

    def _close(self) -> None:
        while self._fetch() and len(self._data) <= limits.MAX_JSON_ROW_BYTES:
            self._data = self._data.strip(_SPACE)
        tail = self._data.strip(_SPACE)
        if self._wrapped and tail.startswith(b","):
            raise ServiceError("bad_request", _WANTED)
        if tail != (b"}" if self._wrapped else b""):
            raise ServiceError("bad_json", "the body does not end where its rows do")


def _elements(data: bytes, most: int) -> tuple[list[bytes], int, bool]:
    """Return the whole elements at the beginning, how many bytes they take, and whether the array ends there."""
    found: list[bytes] = []
    begin = depth = 0
    for token in _TOKEN.finditer(data):
        byte = token[0]
        if byte == b'"':
            break
        if byte in (b"[", b"{"):
            depth += 1
        elif depth and byte in (b"]", b"}"):
            depth -= 1
        elif depth == 0 and byte in (b",", b"]"):
            found.append(data[begin : token.start()])
            begin = token.end()
            if byte == b"]":
                return found, begin, True
            if len(found) == most:
                break
    return found, begin, False
