"""What the tests of formats share: read a body, and read back the CSV that came of it."""

from __future__ import annotations

import io

from trainyard.schema import parse_text
from trainyard.testing.fakes.warehouse import csv_records
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally


def read(body, kind, schema, tally=None):
    """Return the values of the rows of a body, in the schema's columns, and the tally."""
    tally = tally or Tally()
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    rows = kind.read(Source(stream, kind.most_bytes), schema, tally)
    values = []
    for record in (record for chunk in rows.chunks for record in csv_records(chunk)):
        cells = dict(zip(rows.columns, record, strict=True))
        row = []
        for column in schema.columns:
            cell = cells.get(column.name)
            if cell == "" and rows.quoted_empty_is_missing:
                cell = None
            if cell is None or column.type in {"text", "category"}:
                row.append(cell)
            else:
                value, expected = parse_text(column, cell)
                assert expected is None, (column, cell)
                row.append(value)
        values.append(row)
    return values, tally
