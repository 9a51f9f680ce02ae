"""Rejected rows as files: nothing in them is a formula."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.errors import Problem
from trainyard_ingest.domain import exports

DANGEROUS = ["=", "+", "-", "@", "\t", "\r", "\0"]
#: text as Postgres holds it
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize("first", DANGEROUS)
def test_a_cell_that_begins_like_a_formula_is_text(first):
    """An apostrophe stands before it, whichever column it is in."""
    assert exports.safe(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("text", ["", "a", "1", "a=1", " =1", "'=1"])
def test_other_cells_stay_as_they_are(text):
    """What a spreadsheet takes for text needs nothing."""
    assert exports.safe(text) == text


@given(st.lists(st.builds(Problem, st.none() | st.integers(1, 10**9), st.none() | TEXT, TEXT, TEXT), max_size=5))
def test_csv_can_be_read_again_and_has_no_formula(problems):
    """Every row comes back, and no cell begins with what a spreadsheet would run."""
    text = (exports.csv_header() + exports.csv_lines(problems)).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == ["row", "column", "expected", "got"]
    assert not any(cell.startswith(tuple(DANGEROUS)) for row in rows for cell in row)
    assert [[cell.removeprefix("'") for cell in row] for row in rows] == [
        [str(p.row or ""), *((text or "").removeprefix("'") for text in (p.column, p.expected, p.got))]
        for p in problems
    ]


@given(st.lists(st.builds(Problem, st.none() | st.integers(1, 10**9), st.none() | TEXT, TEXT, TEXT), max_size=5))
def test_ndjson_is_the_list_as_it_is(problems):
    """One object in a line, nothing changed."""
    lines = exports.ndjson_lines(problems).decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [problem.as_dict() for problem in problems]
