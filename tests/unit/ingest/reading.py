"""What the tests of formats share: read a body, and read back the CSV that came of it."""

from __future__ import annotations

import io
import re

from trainyard.schema import parse_text
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally

_CELL = re.compile(rb'(?:"((?:[^"]|"")*)"|([^,\n"]*))([,\n])', re.DOTALL)


def records(data):
    """Return the records of CSV as the contract of Rows has it; missing cells are None."""
    found, record, at = [], [], 0
    while at < len(data):
        cell = _CELL.match(data, at)
        quoted, plain, end = cell.groups()
        record.append(quoted.replace(b'""', b'"').decode() if quoted is not None else (plain.decode() or None))
        at = cell.end()
        if end == b"\n":
            found.append(record)
            record = []
    assert not record
    return found


def read(body, kind, schema, tally=None):
    """Return the values of the rows of a body, in the schema's columns, and the tally."""
    tally = tally or Tally()
    stream = io.BytesIO(body) if isinstance(body, bytes) else body
    rows = kind.read(Source(stream, kind.most_bytes), schema, tally)
    values = []
    for record in (record for chunk in rows.chunks for record in records(chunk)):
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
