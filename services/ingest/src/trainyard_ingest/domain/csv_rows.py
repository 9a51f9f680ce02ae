"""CSV: UTF-8, a header row with the columns' names in any order, RFC 4180 quotes, empty cells missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard.contracts.warehouse import Rows
from trainyard.errors import Problem, ServiceError
from trainyard.schema import shown
from trainyard_ingest.domain.cells import BlockChecker
from trainyard_ingest.domain.csv_blocks import CsvBlocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainyard.schema import Schema
    from trainyard_ingest.domain.source import Body
    from trainyard_ingest.domain.tally import Tally


def read_csv(source: Body, schema: Schema, tally: Tally) -> Rows:
    """Read the header, check it against the schema, and return the checked rows.

    Raises:
        ServiceError: ``bad_csv``, ``csv_limit``, ``empty_body``, or ``invalid_rows`` for a header that does not fit the
            schema.
    """
    blocks = CsvBlocks(source.blocks())
    check_header(blocks.header, schema)
    return Rows(tuple(blocks.header), _checked(blocks, schema, tally), quoted_empty_is_missing=True)


def check_header(header: Sequence[str], schema: Schema) -> None:
    """Refuse names that are no columns, and the lack of columns that every row must have.

    Raises:
        ServiceError: ``invalid_rows``, the details listing each.
    """
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


def _checked(blocks: CsvBlocks, schema: Schema, tally: Tally) -> Iterator[bytes]:
    checker = BlockChecker([schema.column(name) for name in blocks.header])
    for block in blocks:
        checked = checker.check(block)
        before = tally.rows
        problems = (replace(problem, row=before + (problem.row or 0)) for problem in checked.problems)
        tally.add(checked.rows, checked.rejected, problems)
        if checked.data:
            yield checked.data
