"""The short ways to clean values agree with the schema, value for value, or leave the rows to it."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.schema import Column, Schema
from trainyard.testing.models import SCHEMA, sample_rows
from trainyard_predictor.columns import clean_columns, clean_rows

FEATURES = Schema(SCHEMA.features)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, 1, -0.0, 1e308, 2**53 + 1, "", "AA", "a\0b", "\ud800", "é" * 200, "x" * 300, "x" * 70_000]),
    st.sampled_from(["2013-01-01", "2013-13-01", "2013-01-01T10:00:00Z", "2013-01-01T10:00:00", [], {}]),
)


def slow(features: Schema, rows: list[Any]) -> dict[str, list[Any]] | None:
    """Return the columns as the schema gives them, None when it refuses."""
    clean, problems = features.check_rows(rows)
    if problems:
        return None
    return {name: [row[name] for row in clean if row is not None] for name in features.names}


def by_rows(features: Schema, rows: list[Any]) -> dict[str, list[Any]] | None:
    """Return the columns of what is cleaned row by row."""
    clean = clean_rows(features, rows)
    return None if clean is None else {name: [row[name] for row in clean] for name in features.names}


def alike(a: dict[str, list[Any]], b: dict[str, list[Any]]) -> bool:
    """Tell whether columns are equal in value and type, signs of zeros included."""

    def key(value: Any) -> Any:
        sign = math.copysign(1.0, value) if isinstance(value, float) else 0
        return type(value), value, sign

    return {n: [key(v) for v in c] for n, c in a.items()} == {n: [key(v) for v in c] for n, c in b.items()}


SHORT = (clean_columns, by_rows)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([*FEATURES.names, "other"]), ODD), min_size=1, max_size=3), st.data())
def test_what_it_takes_the_schema_takes_alike(changes: list[dict[str, Any]], data: st.DataObject) -> None:
    """Good rows with arbitrary changes: either the same values as from the schema, or none."""
    rows: list[Any] = []
    for row, change in zip(sample_rows(len(changes), seed=data.draw(st.integers(0, 50))), changes, strict=True):
        changed = {**row, **change}
        for name in data.draw(st.lists(st.sampled_from(FEATURES.names), max_size=1)):
            changed.pop(name, None)
        rows.append(changed)
    checked = slow(FEATURES, rows)
    for short in SHORT:
        fast = short(FEATURES, rows)
        if fast is not None:
            assert checked is not None
            assert alike(fast, checked)


@pytest.mark.parametrize("short", SHORT)
def test_good_rows_take_the_short_way(short: Any) -> None:
    """Rows as they should be need no second look, dates and missing values included."""
    rows = sample_rows(200)
    fast = short(FEATURES, rows)
    assert fast is not None
    assert {type(value) for value in fast["day"]} == {date, type(None)}
    assert {type(value) for value in fast["planned"]} == {datetime, type(None)}


@pytest.mark.parametrize("short", SHORT)
def test_one_column_and_no_column(short: Any) -> None:
    """A schema of one column works; rows that lack it are left to the schema."""
    one = Schema([Column("x", "float", nullable=False)])
    assert short(one, [{"x": 1}, {"x": 2.5}]) == {"x": [1.0, 2.5]}
    assert short(one, [{"x": None}]) is None
    assert short(one, [{}]) is None
    assert short(one, [[1.0]]) is None


def test_what_was_sent_stays_as_it_was() -> None:
    """The log keeps the caller's values: what is cleaned is another row."""
    rows = [{"x": 1}]
    assert clean_rows(Schema([Column("x", "float")]), rows) == [{"x": 1.0}]
    assert repr(rows) == "[{'x': 1}]"
