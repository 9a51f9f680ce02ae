"""Reports joined, and settings read."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.dataset_profile import merged
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema

SCHEMA = Schema([Column("a", "float")])
VALUES = st.lists(st.none() | st.floats(-1e6, 1e6), max_size=20)


def _report(values):
    there = [v for v in values if v is not None]
    column = {
        "name": "a",
        "nulls": len(values) - len(there),
        "min": min(there, default=None),
        "max": max(there, default=None),
        "mean": fmean(there) if there else None,
        "std": stdev(there) if len(there) > 1 else None,
    }
    return {"seen": len(values), "columns": [column]}


@given(st.lists(VALUES, max_size=6))
def test_parts_together_are_the_whole(batches):
    """Joined reports say what one report of all rows would."""
    (found,) = merged(SCHEMA, [_report(values) for values in batches], {})
    (wanted,) = _report([v for values in batches for v in values])["columns"]
    assert {name: found[name] for name in ("nulls", "min", "max")} == {n: wanted[n] for n in ("nulls", "min", "max")}
    for name in ("mean", "std"):
        assert found[name] == (None if wanted[name] is None else pytest.approx(wanted[name], rel=1e-6, abs=1e-3))


def test_column_that_came_later_and_levels():
    """Rows of reports without the column lack it; levels are those that are known."""
    schema = Schema([*SCHEMA.columns, Column("c", "category")])
    _, late = merged(schema, [_report([1.0, None])], {"c": 7})
    assert (late["nulls"], late["min"], late["levels"]) == (2, None, 7)


def test_figures_that_no_float_holds():
    """Values so large that their squares are no numbers have no deviation."""
    (found,) = merged(SCHEMA, [_report([1e300]), _report([-1e300])], {})
    assert (found["mean"], found["std"]) == (0.0, None)


@pytest.mark.parametrize(
    "given",
    [
        [],
        {"x": 1},
        {"max_rejected_share": 1.01},
        {"max_rejected_share": True},
        {"max_rejected_share": float("nan")},
        {"new_columns": "drop"},
        {"new_columns": ["add"]},
        {"retention_days": 0},
        {"retention_days": "7"},
        {"retention_days": 36_501},
    ],
)
def test_settings_that_cannot_be(given):
    """They are refused, each with what it takes."""
    with pytest.raises(ServiceError) as refused:
        DatasetSettings().changed(given)
    assert refused.value.code == "bad_request"
    assert len(refused.value.details) == 1


def test_settings_of_a_later_release():
    """What this release does not know of stored settings is left out."""
    assert DatasetSettings.stored({"retention_days": 2, "colour": "red"}) == DatasetSettings(retention_days=2)
