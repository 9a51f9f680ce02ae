"""What a dataset's columns may become."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.errors import ServiceError
from trainyard.schema import TYPES, Column, Schema
from trainyard.schema.evolution import evolution, holds, with_columns

NAMES = st.sampled_from(["a", "b", "c", "d"])
ROLES = ["feature", "label", "key", "group", "event_time", "ignore"]


@st.composite
def schemas(draw):
    """Draw a schema of up to four columns."""
    columns = []
    for name in draw(st.lists(NAMES, min_size=1, unique=True)):
        kind = draw(st.sampled_from(TYPES))
        levels = draw(st.none() | st.lists(st.sampled_from("xyz"), unique=True)) if kind == "category" else None
        role = draw(st.sampled_from(ROLES))
        column = Column(name, kind, role, draw(st.booleans()), None if levels is None else tuple(levels))
        try:
            Schema([*columns, column])
        except ServiceError:
            continue
        columns.append(column)
    return Schema(columns or [Column("a", "int")])


def _plan(current, wanted):
    try:
        return evolution(current, wanted)
    except ServiceError as e:
        return e


@given(current=schemas(), wanted=schemas())
def test_it_grows_or_is_refused(current, wanted):
    """Whatever is accepted keeps every column in its place, only wider, and asked for again changes nothing."""
    plan = _plan(current, wanted)
    if isinstance(plan, ServiceError):
        assert plan.code in {"narrowing", "invalid_schema"}
        assert plan.details
        return
    new = plan.schema
    assert new.names[: len(current.names)] == current.names
    assert set(new.names) == set(wanted.names)
    for old, column in zip(current.columns, new.columns, strict=False):
        assert holds(column.type, old.type)
        assert column.nullable >= old.nullable
        assert column.role == old.role or {column.role, old.role} <= {"feature", "label", "ignore"}
        if column.type == "category":
            assert set(old.categories or ()) <= set(column.categories or ())
    assert all(column.nullable for column in new.columns[len(current.columns) :])
    again = evolution(new, wanted)
    assert (again.schema, again.changes, again.reshape) == (new, (), False)
    assert plan.changes or new == current
    assert plan.reshape or not plan.rewritten


def test_what_is_done():
    """The plan says which numbers to look at, whether the table is altered, and whether values are rewritten."""
    current = Schema([Column("i", "int"), Column("d", "date"), Column("c", "category", categories=("x",))])

    def plan(**changed):
        columns = [changed.get(column.name, column) for column in current.columns]
        found = evolution(current, Schema([*columns, *changed.get("more", [])]))
        return found.exact, found.reshape, found.rewritten, [change.as_dict()["change"] for change in found.changes]

    assert plan(i=Column("i", "float")) == (("i",), True, True, ["type int became float"])
    assert plan(d=Column("d", "timestamp")) == ((), True, True, ["type date became timestamp"])
    assert plan(c=Column("c", "text")) == ((), False, False, ["type category became text"])
    assert plan(c=Column("c", "category", categories=("y", "x"))) == ((), False, False, ["1 categories more"])
    assert plan(i=Column("i", "int", "label")) == ((), False, False, ["role feature became label"])
    assert plan(more=[Column("n", "bool")]) == ((), True, False, ["added as bool"])
    assert plan(c=Column("c", "category")) == ((), False, False, [])


@pytest.mark.parametrize("role", ["key", "group"])
def test_keys_and_groups_keep_their_type(role):
    """The text of a key decides what is held out, so a type that would write it anew is refused."""
    with pytest.raises(ServiceError, match="narrowed"):
        evolution(Schema([Column("k", "date", role)]), Schema([Column("k", "timestamp", role)]))
    wider = Schema([Column("k", "text", role)])
    assert evolution(Schema([Column("k", "category", role)]), wider).schema == wider


def test_columns_that_come_with_rows():
    """They become nullable features, behind the others."""
    schema = with_columns(
        Schema([Column("a", "int")]), [Column("a", "text"), Column("b", "text", "label", nullable=False)]
    )
    assert schema == Schema([Column("a", "int"), Column("b", "text")])
