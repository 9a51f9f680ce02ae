"""Lines cut into records, a chunk at a time: good ones parsed as far as needs no model, bad ones told apart.

How a chunk is cut depends on the input and on where the chunk begins, and on nothing else: whoever takes a job up again
makes the same chunks.
"""

from __future__ import annotations

import csv
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard.schema import shown
from trainyard_predictor.batch.job import CSV
from trainyard_predictor.batch.source import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Records of a chunk at most.
CHUNK_ROWS = 4_000
_BOM = b"\xef\xbb\xbf"


class Record(NamedTuple):
    """One record. ``line`` counts from 1; ``text`` is the original without its end.

    ``value``: the cells, or the JSON object; None when it is bad: then ``expected`` and ``got`` say why.
    """

    line: int
    text: bytes
    value: Any
    expected: str = ""
    got: str = ""


class Records:
    """The records behind some place in an input. ``read`` and ``line``: bytes and lines up to the chunk's end.

    Args:
        lines: those from byte ``read`` on, with their ends.
        form: CSV or NDJSON.
    """

    def __init__(self, lines: Iterator[bytes], form: str, *, read: int = 0, line: int = 0) -> None:
        self._ahead = lines
        self._again: deque[bytes] = deque()
        self._chunk = self._csv if form == CSV else self._ndjson
        self.read = read
        self.line = line

    def header(self) -> tuple[list[str], str]:
        """Read the header of a CSV; return the names of its columns and its text.

        Raises:
            ServiceError: ``empty_body`` or ``bad_csv``.
        """
        first = self._take(1)
        if not first:
            raise ServiceError("empty_body", "the input is empty; its first line must name the columns")
        mark = len(_BOM) if first[0].startswith(_BOM) else 0
        self._again.append(first[0][mark:])
        self.read += mark
        found = self._by_record(1, wanted=1)
        if not found or found[0].value is None:
            raise ServiceError("bad_csv", f"line 1 is no header: {found[0].got if found else 'it is blank'}")
        return found[0].value, found[0].text.decode()

    def chunk(self) -> list[Record] | None:
        """Return the next records, None at the end; a chunk of blank lines has none."""
        lines = self._take(CHUNK_ROWS)
        return self._chunk(lines) if lines else None

    def _take(self, count: int) -> list[bytes]:
        found = [self._again.popleft() for _ in range(min(count, len(self._again)))]
        found.extend(islice(self._ahead, count - len(found)))
        return found

    # --- NDJSON: a line is a record ---

    def _ndjson(self, lines: list[bytes]) -> list[Record]:
        records = []
        for line in lines:
            self.line += 1
            self.read += len(line)
            text = line.strip()
            if text:
                records.append(_parsed(self.line, text))
        return records

    # --- CSV: without a quote, a line is a record ---

    def _csv(self, lines: list[bytes]) -> list[Record]:
        whole = b"".join(lines)
        if b'"' not in whole and b"\0" not in whole and whole.count(b"\r") == whole.count(b"\r\n"):
            try:
                texts = [line.rstrip("\r\n") for line in whole.decode().split("\n")[: len(lines)]]
                cells = list(csv.reader(texts, strict=True))
            except (UnicodeDecodeError, csv.Error):
                pass  # some line is bad: read one by one, they tell which
            else:
                records = [
                    Record(number, line.rstrip(b"\r\n"), found)
                    for number, line, found in zip(range(self.line + 1, 2**62), lines, cells, strict=False)
                    if found
                ]
                self.line += len(lines)
                self.read += len(whole)
                return records
        self._again.extendleft(reversed(lines))
        return self._by_record(CHUNK_ROWS)

    def _by_record(self, most_lines: int, *, wanted: int | None = None) -> list[Record]:
        """Read records one by one until ``most_lines`` lines are read, or ``wanted`` records.

        A line with a quote that is closed nowhere is bad alone: those behind it are read as if it were not there.
        """
        records: list[Record] = []
        until = self.line + most_lines
        taken: list[bytes] = []
        reader = csv.reader(self._fed(taken), strict=True)
        while self.line < until and (wanted is None or len(records) < wanted):
            taken.clear()
            first = self.line + 1
            try:
                cells = next(reader, None)
            except (csv.Error, UnicodeDecodeError, _TooLongError) as e:
                self._again.extendleft(reversed(taken[1:]))
                del taken[1:]
                got = f"not UTF-8 at byte {e.start + 1}" if isinstance(e, UnicodeDecodeError) else str(e)
                records.append(Record(first, taken[0].rstrip(b"\r\n"), None, "a record of CSV (RFC 4180)", got))
                reader = csv.reader(self._fed(taken), strict=True)
            else:
                if cells is None:
                    break
                if cells:
                    records.append(Record(first, b"".join(taken).rstrip(b"\r\n"), cells))
            self.line += len(taken)
            self.read += sum(map(len, taken))
        return records

    def _fed(self, taken: list[bytes]) -> Iterator[str]:
        """Yield lines as text, noting each in ``taken``."""
        while line := self._take(1):
            taken += line
            if sum(map(len, taken)) > MAX_LINE_BYTES:
                raise _TooLongError("a record of more than 1 MiB; is a quote closed nowhere?")
            yield line[0].decode()


class _TooLongError(Exception):
    """A record takes more bytes than a line may."""


def _parsed(number: int, text: bytes) -> Record:
    try:
        value = strict_json.loads(text)
    except ServiceError as e:
        return Record(number, text, None, "a JSON object", e.message)
    if not isinstance(value, dict):
        return Record(number, text, None, "a JSON object", shown(value))
    return Record(number, text, value)
