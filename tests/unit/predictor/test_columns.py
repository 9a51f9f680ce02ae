"""The short way from rows to columns agrees with the schema, value for value, or leaves the rows to it."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.schema import Column, Schema
from trainyard.testing.models import SCHEMA, sample_rows
from trainyard_predictor.columns import clean_columns

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


def alike(a: dict[str, list[Any]], b: dict[str, list[Any]]) -> bool:
    """Tell whether columns are equal in value and type, signs of zeros included."""

    def key(value: Any) -> Any:
        sign = math.copysign(1.0, value) if isinstance(value, float) else 0
        return type(value), value, sign

    return {n: [key(v) for v in c] for n, c in a.items()} == {n: [key(v) for v in c] for n, c in b.items()}


@settings(max_examples=400, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([*FEATURES.names, "other"]), ODD), min_size=1, max_size=3), st.data())
def test_what_it_takes_the_schema_takes_alike(changes: list[dict[str, Any]], data: st.DataObject) -> None:
    """Good rows with arbitrary changes: either the same columns as from the schema, or none."""
    rows: list[Any] = []
    for row, change in zip(sample_rows(len(changes), seed=data.draw(st.integers(0, 50))), changes, strict=True):
        changed = {**row, **change}
        for name in data.draw(st.lists(st.sampled_from(FEATURES.names), max_size=1)):
            changed.pop(name, None)
        rows.append(changed)
    fast, checked = clean_columns(FEATURES, rows), slow(FEATURES, rows)
    if fast is not None:
        assert checked is not None
        assert alike(fast, checked)


def test_good_rows_take_the_short_way() -> None:
    """Rows as they should be need no second look, dates and missing values included."""
    rows = sample_rows(200)
    fast = clean_columns(FEATURES, rows)
    assert fast is not None
    assert {type(value) for value in fast["day"]} == {date, type(None)}
    assert {type(value) for value in fast["planned"]} == {datetime, type(None)}


def test_one_column_and_no_column() -> None:
    """A schema of one column works; rows without columns are left to the schema."""
    one = Schema([Column("x", "float", nullable=False)])
    assert clean_columns(one, [{"x": 1}, {"x": 2.5}]) == {"x": [1.0, 2.5]}
    assert clean_columns(one, [{"x": None}]) is None
    assert clean_columns(one, [{}]) is None
    assert clean_columns(one, [[1.0]]) is None
