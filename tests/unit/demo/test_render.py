"""Rows as the files that the demo sends."""

from __future__ import annotations

import csv
import io
import json

from trainyard_demo.data.render import as_csv, as_ndjson

ROWS = [
    {"id": "a,1", "late": True, "seats": None, "wind": 1.5},
    {"id": 'b"2', "late": False, "seats": 20, "wind": None},
]


def test_csv():
    """Missing values are empty, booleans are words, commas and quotes survive."""
    found = list(csv.DictReader(io.StringIO(as_csv(ROWS).decode(), newline="")))
    assert found == [
        {"id": "a,1", "late": "true", "seats": "", "wind": "1.5"},
        {"id": 'b"2', "late": "false", "seats": "20", "wind": ""},
    ]


def test_ndjson():
    """One object per line, equal to the row."""
    assert [json.loads(line) for line in as_ndjson(ROWS).splitlines()] == ROWS
