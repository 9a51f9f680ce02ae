"""CSV: UTF-8, a header row with the columns' names in any order, RFC 4180 quotes, empty cells missing."""

from __future__ import annotations

import codecs
import csv
import io
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from trainyard.contracts.warehouse import Rows
from trainyard.errors import Problem, ServiceError
from trainyard.schema import parse_text, shown
from trainyard_ingest.domain.cells import check_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trainyard.schema import Column, Schema
    from trainyard_ingest.domain.source import Source
    from trainyard_ingest.domain.tally import Tally

CHUNK_ROWS = 5_000
#: Longest line; a quoted cell may span lines, but no cell is longer than the limit of :mod:`csv` (128 KiB).
MAX_LINE_CHARS = 1 << 20


class CsvTable:
    """A header and its records, read once.

    Raises:
        ServiceError: ``bad_csv`` or ``empty_body``, from the constructor for the header, later from :meth:`chunks`.
    """

    def __init__(self, source: Source) -> None:
        self._reader = csv.reader(_lines(source.blocks()), strict=True)
        self.header = self._read_header()

    def chunks(self, size: int = CHUNK_ROWS) -> Iterator[list[list[str]]]:
        """Yield records in lists of ``size``, blank lines left out; all have as many cells as the header."""
        width = len(self.header)
        while True:
            first_line = self._reader.line_num + 1
            try:
                records = list(islice(self._reader, size))
            except csv.Error as e:
                self._refuse(str(e))
            if not records:
                return
            widths = set(map(len, records))
            if 0 in widths:
                records = [record for record in records if record]
                widths.discard(0)
            if widths - {width}:
                self._refuse_ragged(records, first_line)
            yield records

    def _read_header(self) -> list[str]:
        try:
            header = next((record for record in self._reader if record), None)
        except csv.Error as e:
            self._refuse(str(e))
        if header is None:
            raise ServiceError("empty_body", "the body is empty; send CSV with a header row")
        twice = sorted({name for name in header if header.count(name) > 1})[:10]
        if twice:
            raise ServiceError(
                "bad_csv",
                f"the header names a column twice: {', '.join(map(shown, twice))}",
                [Problem(None, shown(name), "a column named once", "twice") for name in twice],
            )
        return header

    def _refuse(self, why: str) -> NoReturn:
        raise ServiceError("bad_csv", f"line {self._reader.line_num}: {why}")

    def _refuse_ragged(self, records: Sequence[Sequence[str]], first_line: int) -> NoReturn:
        width = len(self.header)
        record = next(record for record in records if len(record) != width)
        raise ServiceError(
            "bad_csv",
            f"lines {first_line:,} to {self._reader.line_num:,}: a row has {len(record)} cells, the header has {width};"
            f" the row begins with {', '.join(shown(cell) for cell in record[:3])}",
            [Problem(None, None, f"{width} cells", f"{len(record)} cells")],
        )


def read_csv(source: Source, schema: Schema, tally: Tally) -> Rows:
    """Read the header, check it against the schema, and return the checked rows.

    Raises:
        ServiceError: ``bad_csv``, ``empty_body``, or ``invalid_rows`` for a header that does not fit the schema.
    """
    table = CsvTable(source)
    _check_header(table.header, schema)
    return Rows(tuple(table.header), "", _checked(table, schema, tally))


def _check_header(header: Sequence[str], schema: Schema) -> None:
    problems = [
        Problem(None, shown(name), "a column of the schema", shown(name)) for name in header if name not in schema
    ]
    problems += [
        Problem(None, column.name, "the column to be present", "absent")
        for column in schema.columns
        if not column.nullable and column.name not in header
    ]
    if problems:
        raise ServiceError("invalid_rows", "the header does not fit the schema; nothing was stored", problems[:100])


def _checked(table: CsvTable, schema: Schema, tally: Tally) -> Iterator[Sequence[Sequence[str]]]:
    columns = [schema.column(name) for name in table.header]
    for records in filter(None, table.chunks()):
        cells = list(zip(*records, strict=True))
        texts = []
        bad: dict[int, list[int]] = {}  # row -> its columns
        for number, column in enumerate(columns):
            checked, refused = check_cells(column, cells[number])
            texts.append(checked)
            for index in refused:
                bad.setdefault(index, []).append(number)
        tally.add(len(records), len(bad), _problems(columns, cells, bad, tally.rows))
        changed = any(text is not cell for text, cell in zip(texts, cells, strict=True))
        good: Sequence[Sequence[str]] = list(zip(*texts, strict=True)) if changed else records
        yield [row for index, row in enumerate(good) if index not in bad] if bad else good


def _problems(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], bad: dict[int, list[int]], before: int
) -> Iterator[Problem]:
    for index in sorted(bad):
        for number in bad[index]:
            _, expected = parse_text(columns[number], cells[number][index])
            yield Problem(before + index + 1, columns[number].name, str(expected), shown(cells[number][index]))


def _lines(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield decoded lines with their ends; a leading byte order mark is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="strict")
    rest, lines_before, bytes_before = "", 0, 0
    for block in _with_end(blocks):
        try:
            text = rest + decoder.decode(block, final=not block)
        except UnicodeDecodeError as e:
            at = bytes_before + e.start
            raise ServiceError("bad_csv", f"the body is not UTF-8 near byte {at:,}, after line {lines_before:,}") from e
        bytes_before += len(block)
        cut = text.rfind("\n") + 1 if block else len(text)
        text, rest = text[:cut], text[cut:]
        if len(rest) > MAX_LINE_CHARS:
            raise ServiceError("bad_csv", f"line {lines_before + 1:,} is longer than {MAX_LINE_CHARS:,} characters")
        lines_before += text.count("\n")
        yield from io.StringIO(text, newline="")


def _with_end(blocks: Iterable[bytes]) -> Iterator[bytes]:
    yield from blocks
    yield b""
