"""Arrow columns become CSV that reads back as they were, and the server's own text where there is nothing to quote."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.testing.fakes.warehouse import csv_records
from trainyard_ingest.domain.arrow_csv import as_csv

TEXTS = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "x", ",", '"', '""', "\n", "\r", "\r\n", "\\", "\\.", "\\N", "\t", " ", "NULL", "é", "\u2028"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4),
)
ROWS = st.lists(st.tuples(TEXTS, TEXTS, st.one_of(st.none(), st.integers(-9, 9))), min_size=1, max_size=5)


def _csv(rows):
    texts, more, numbers = zip(*rows, strict=True)
    return as_csv([pa.array(texts, pa.string()), pa.array(more, pa.string()), pa.array(numbers, pa.int64())], len(rows))


def _cell(value):
    return None if value is None else str(value)


@given(ROWS)
def test_reads_back(rows):
    """As CSV; and what has no quote, backslash or carriage return, by its commas and line ends alone."""
    data = _csv(rows)
    expected = [[_cell(value) for value in row] for row in rows]
    assert csv_records(data) == expected
    if not any(sign in data for sign in (b'"', b"\\", b"\r")):
        assert [[cell or None for cell in line.split(",")] for line in data.decode().split("\n")[:-1]] == expected


@pytest.mark.parametrize("text", ["x", "two words", "it's", "\t", "é", None])
def test_quotes_only_where_there_is_need(text):
    """Ordinary texts are left bare: the server takes them in the format that it reads quickest."""
    assert b'"' not in _csv([(text, "y", 1)])


def test_no_rows():
    """No rows are no bytes."""
    assert as_csv([pa.array([], pa.string())], 0) == b""
