"""CSV cut into blocks of whole records, in the one spelling that :class:`trainyard.contracts.warehouse.Rows` allows.

Most blocks are in that spelling as they come, apart from the ends of their lines, and are handed on untouched: a few
tests at the speed of memory tell. From the first block on that is not (a quote within an unquoted cell, a lone carriage
return), :mod:`csv` reads the records one by one and they are written anew.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from trainyard.errors import Problem, ServiceError
from trainyard.schema import MAX_COLUMNS, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

#: Longest line in bytes; a quoted cell may span lines, a record of more than this many bytes is over the limit as well.
MAX_LINE_BYTES = 1 << 20
#: Longest cell in characters, the limit of :mod:`csv`.
MAX_CELL_CHARS = 128 << 10
_EXACT_RECORDS = 5_000
_MOST_BYTES_PER_CHAR = 4
_BOM = codecs.BOM_UTF8
_QUOTE, _COMMA, _NEWLINE, _RETURN, _BACKSLASH = b'",\n\r\\'
_BACKSLASH_FIRST = re.compile(rb"^\\[^,\n]*", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """Whole records. ``lines_before``: how many lines of the body came before the block's first."""

    data: bytes
    lines_before: int

    @property
    def quoted(self) -> bool:
        """Whether there is any quote in it; without one, every line is a record."""
        return _has_quotes(self.data)

    def ends(self) -> npt.NDArray[np.intp]:
        """Return where each record ends: the place of its line end, shape (records,)."""
        return _record_ends(np.frombuffer(self.data, np.uint8))


class CsvBlocks:
    """A header and blocks of records, read once.

    Raises:
        ServiceError: ``bad_csv``, ``csv_limit`` or ``empty_body``, from the constructor for the header, later from the
            iteration.
    """

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = _without_bom(blocks)
        self._lines = 0
        self._rest = b""
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks behind the header."""
        data = self._rest
        for piece in chain(self._blocks, [None]):
            data += piece or b""
            if piece is None and data and not data.endswith(b"\n"):
                data += b"\n"
            whole, rest = _cut(data)
            regular = _regular(whole)
            if regular is None or (rest and (piece is None or (_has_quotes(rest) and len(rest) > MAX_LINE_BYTES))):
                yield from self._exactly(data)
                return
            if regular:
                yield Block(regular, self._lines)
            self._lines += int(np.count_nonzero(np.frombuffer(whole, np.uint8) == _NEWLINE))
            if len(rest) > MAX_LINE_BYTES:
                raise _too_long(self._lines + 1)
            data = rest

    def records(self) -> Iterator[list[str]]:
        """Yield the records behind the header as lists of cells; for samples."""
        for block in self:
            yield from csv.reader(io.StringIO(_decoded(block.data, block.lines_before), newline=""), strict=True)

    # --- the header ---

    def _read_header(self) -> list[str]:
        data = b""
        for piece in chain(self._blocks, [b""]):
            data += piece
            blank = len(data) - len(data.lstrip(b"\r\n"))
            self._lines += data[:blank].count(b"\n")
            data = data[blank:]
            end = _first_record_end(data)
            if end is not None:
                return self._parse_header(data, end)
            if len(data) > MAX_LINE_BYTES:
                raise _too_long(self._lines + 1)
        if not data:
            raise ServiceError("empty_body", "the body is empty; send CSV with a header row")
        return self._parse_header(data, len(data))

    def _parse_header(self, data: bytes, end: int) -> list[str]:
        text = _decoded(data[:end], self._lines)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = next(reader)
        except csv.Error as e:
            raise ServiceError("bad_csv", f"line {self._lines + reader.line_num}: {e}") from e
        read = "".join(islice(io.StringIO(text, newline=""), reader.line_num))
        self._lines += reader.line_num
        self._rest = data[len(read.encode()) :]
        _check_names(header)
        return header

    # --- what has to be read record by record ---

    def _exactly(self, data: bytes) -> Iterator[Block]:
        """Read everything from ``data`` on by :mod:`csv` and write it anew."""
        width = len(self.header)
        reader = csv.reader(_lines(chain([data], self._blocks), self._lines), strict=True)
        while True:
            first_line = reader.line_num
            try:
                records = list(islice(reader, _EXACT_RECORDS))
            except csv.Error as e:
                code = "csv_limit" if "field larger" in str(e) else "bad_csv"
                raise ServiceError(code, f"line {self._lines + reader.line_num:,}: {e}") from e
            if not records:
                return
            filled = [record for record in records if record]
            if any(len(record) != width for record in filled):
                refuse_ragged(filled, width, self._lines + first_line + 1, self._lines + reader.line_num)
            if filled:
                yield Block(written(filled), self._lines + first_line)


def written(records: Sequence[Sequence[str]]) -> bytes:
    """Return records as CSV of the one spelling."""
    out = io.StringIO()
    # Everything in quotes: left to itself, csv leaves carriage returns and leading backslashes bare.
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(records)
    return out.getvalue().encode()


def refuse_ragged(records: Sequence[Sequence[str]], width: int, first_line: int, last_line: int) -> NoReturn:
    """Refuse records of which at least one has not ``width`` cells."""
    record = next(record for record in records if len(record) != width)
    where = f"line {first_line:,}" if first_line == last_line else f"lines {first_line:,} to {last_line:,}"
    raise ServiceError(
        "bad_csv",
        f"{where}: a row has {len(record)} cells, the header has {width};"
        f" the row begins with {', '.join(shown(cell) for cell in record[:3])}",
        [Problem(None, None, f"{width} cells", f"{len(record)} cells")],
    )


def _check_names(header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise ServiceError("csv_limit", f"the header has {len(header):,} columns; at most {MAX_COLUMNS:,} are read")
    twice = sorted({name for name in header if header.count(name) > 1})[:10]
    if twice:
        raise ServiceError(
            "bad_csv",
            f"the header names a column twice: {', '.join(map(shown, twice))}",
            [Problem(None, shown(name), "a column named once", "twice") for name in twice],
        )


def _has_quotes(data: bytes) -> bool:
    return b'"' in data


def _record_ends(octets: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Return the line ends that are not within quotes."""
    ends = np.flatnonzero(octets == _NEWLINE)
    quotes = np.flatnonzero(octets == _QUOTE)
    return ends[np.searchsorted(quotes, ends) % 2 == 0] if len(quotes) else ends


def _first_record_end(data: bytes) -> int | None:
    """Return the place behind the first line end that is not within quotes."""
    at, inside = 0, False
    for line in data.split(b"\n")[:-1]:
        at += len(line) + 1
        inside ^= line.count(b'"') % 2 == 1
        if not inside:
            return at
    return None


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Return the whole records of ``data`` and the rest."""
    if _has_quotes(data):
        ends = _record_ends(np.frombuffer(data, np.uint8))
        at = int(ends[-1]) + 1 if len(ends) else 0
    else:
        at = data.rfind(b"\n") + 1
    return data[:at], data[at:]


def _regular(data: bytes) -> bytes | None:
    """Return whole records in the one spelling, or None when only :mod:`csv` can tell what they are."""
    if not data:
        return data
    quoted = _has_quotes(data)
    if quoted and not _quotes_are_regular(data):
        return None
    if b"\r" in data:
        data = _without_returns(data, quoted)
        if not quoted and b"\r" in data:
            return None
    octets = np.frombuffer(data, np.uint8)
    ends = _record_ends(octets)
    lengths = np.diff(ends, prepend=-1)
    blank = bool((lengths == 1).any())
    backslash = data[0] == _BACKSLASH or (b"\\" in data and bool((octets[ends[:-1] + 1] == _BACKSLASH).any()))
    if int(lengths.max()) > MAX_CELL_CHARS or (quoted and (blank or backslash)):
        return None
    if blank:
        data = re.sub(rb"\n{2,}", b"\n", data).lstrip(b"\n")
    if backslash:
        data = _BACKSLASH_FIRST.sub(lambda found: b'"' + found[0] + b'"', data)
    return data


def _quotes_are_regular(data: bytes) -> bool:
    """Tell whether every quote opens or closes a whole cell, or is doubled within one; carriage returns likewise."""
    octets = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(octets == _QUOTE)
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, octets[opening - 1], _NEWLINE)
    behind = octets[closing + 1]
    doubled = np.zeros(len(opening), np.bool_)
    doubled[1:] = opening[1:] == closing[:-1] + 1
    opens = (before == _COMMA) | (before == _NEWLINE) | doubled
    closes = (behind == _COMMA) | (behind == _NEWLINE) | (behind == _RETURN) | (behind == _QUOTE)
    if not (opens.all() and closes.all()):
        return False
    returns = np.flatnonzero(octets == _RETURN)
    outside = returns[np.searchsorted(quotes, returns) % 2 == 0]
    return bool((octets[outside + 1] == _NEWLINE).all())


def _without_returns(data: bytes, quoted: bool) -> bytes:
    """Return ``data`` with plain line ends where a carriage return stood before one, outside quotes."""
    if not quoted:
        return data.replace(b"\r\n", b"\n")
    octets = np.frombuffer(data, np.uint8)
    returns = np.flatnonzero(octets == _RETURN)
    quotes = np.flatnonzero(octets == _QUOTE)
    keep = np.ones(len(octets), np.bool_)
    keep[returns[np.searchsorted(quotes, returns) % 2 == 0]] = False
    return octets[keep].tobytes()


def _too_long(line: int) -> ServiceError:
    return ServiceError("csv_limit", f"line {line:,} is longer than {MAX_LINE_BYTES:,} bytes")


def _decoded(data: bytes, lines_before: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as e:
        raise not_utf8(data, lines_before, e) from e


def not_utf8(data: bytes, lines_before: int, error: UnicodeDecodeError) -> ServiceError:
    """Return the refusal of a body that is not UTF-8."""
    line = lines_before + data[: error.start].count(b"\n") + 1
    return ServiceError("bad_csv", f"the body is not UTF-8 in line {line:,}: byte 0x{data[error.start]:02x}")


def _without_bom(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks; a byte order mark at the beginning is dropped."""
    blocks, first = iter(blocks), b""
    while len(first) < len(_BOM) and (piece := next(blocks, b"")):
        first += piece
    yield first.removeprefix(_BOM)
    yield from blocks


def _lines(blocks: Iterable[bytes], lines_before: int) -> Iterator[str]:
    """Yield decoded lines with their ends."""
    decoder: Any = codecs.getincrementaldecoder("utf-8")(errors="strict")
    rest = ""
    for block in chain(blocks, [b""]):
        try:
            text = rest + decoder.decode(block, final=not block)
        except UnicodeDecodeError as e:
            raise not_utf8(block, lines_before, e) from e
        cut = max(text.rfind("\n"), text[:-1].rfind("\r")) + 1 if block else len(text)
        text, rest = text[:cut], text[cut:]
        for line in io.StringIO(text, newline=""):
            _check_length(line, lines_before + 1)
            yield line
            lines_before += 1
        _check_length(rest, lines_before + 1)


def _check_length(line: str, number: int) -> None:
    if len(line) * _MOST_BYTES_PER_CHAR > MAX_LINE_BYTES and len(line.rstrip("\r\n").encode()) > MAX_LINE_BYTES:
        raise _too_long(number)
