"""JSON (`{"rows": [...]}` or `[...]`) and NDJSON (one object a line): strict JSON, columns bound by name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from trainyard import strict_json
from trainyard.contracts.warehouse import Rows
from trainyard_ingest.domain.json_checks import RowChecker, read_value
from trainyard_ingest.domain.json_text import RowArray, ndjson_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.schema import Schema
    from trainyard_ingest.domain.json_checks import CheckedRows
    from trainyard_ingest.domain.source import Body
    from trainyard_ingest.domain.tally import Tally

_ROWS_AT_ONCE = 1_000


def read_json(source: Body, schema: Schema, tally: Tally) -> Rows:
    """Check the rows of an array as they arrive.

    Raises:
        ServiceError: ``bad_json``, ``json_limit``, ``bad_request`` or ``empty_body`` for what comes before the rows;
            the chunks raise them for the rest.
    """
    rows = RowArray(source.blocks())
    return Rows(schema.names, _counted(_array(rows, RowChecker(schema, "row", rows.depth)), tally))


def read_ndjson(source: Body, schema: Schema, tally: Tally) -> Rows:
    """Check rows line by line as they arrive; errors of the format are raised by the chunks."""
    return Rows(schema.names, _counted(_lines(source, RowChecker(schema, "line")), tally))


def json_objects(source: Body) -> Iterator[Any]:
    """Yield the rows of a JSON body."""
    rows = RowArray(source.blocks())
    while rows.more():
        for number, text in rows.certain(_ROWS_AT_ONCE):
            yield read_value(text, f"row {number:,}", strict_json.MAX_DEPTH - rows.depth)


def ndjson_objects(source: Body) -> Iterator[Any]:
    """Yield the value of each line that is not blank."""
    for piece in ndjson_lines(source.blocks()):
        for number, text in piece.split():
            yield read_value(text, f"line {number:,}", strict_json.MAX_DEPTH)


def _lines(source: Body, checker: RowChecker) -> Iterator[CheckedRows]:
    for piece in ndjson_lines(source.blocks()):
        for part in piece.parts(checker.most_rows):
            yield checker.lines(part)


def _array(rows: RowArray, checker: RowChecker) -> Iterator[CheckedRows]:
    while rows.more():
        piece = rows.likely(checker.most_rows)
        checked = None if piece is None else checker.array(piece, partial(rows.split, piece))
        if piece is not None and checked is not None:
            rows.took(piece, checked.rows)
        else:
            checked = checker.each(rows.certain(checker.most_rows))
        yield checked


def _counted(pieces: Iterator[CheckedRows], tally: Tally) -> Iterator[bytes]:
    for checked in pieces:
        before = tally.rows
        problems = [replace(problem, row=before + (problem.row or 0)) for problem in checked.problems]
        tally.add(checked.rows, checked.rejected, problems)
        if checked.data:
            yield checked.data
