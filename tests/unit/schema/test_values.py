"""One value against one column, as JSON and as a CSV cell."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.schema import TYPES, Column, check_value, parse_text, parse_text_column, shown

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "value", "clean"),
    [
        ("bool", True, True),
        ("int", 3.0, 3),
        ("int", 2.0**53 - 1, 2**53 - 1),
        ("int", 2**63 - 1, 2**63 - 1),
        ("int", -(2**63), -(2**63)),
        ("float", 3, 3.0),
        ("float", -0.5, -0.5),
        ("text", "ü" * 32_768, "ü" * 32_768),
        ("category", "ü" * 128, "ü" * 128),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamp", "2024-05-01T12:00:00Z", NOON),
        ("timestamp", "2024-05-01t14:00:00+02:00", NOON),
        ("timestamp", "2024-05-01 12:00:00.000000000z", NOON),
    ],
)
def test_json_values_that_fit(kind: str, value: object, clean: object) -> None:
    """A fitting JSON value comes back in the column's own Python type."""
    got, expected = check_value(Column("c", kind), value)
    assert expected is None
    assert got == clean
    assert type(got) is type(clean)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bool", 1),
        ("bool", "true"),
        ("int", True),
        ("int", 3.5),
        ("int", 2**63),
        ("int", -(2**63) - 1),
        ("int", 1e30),
        ("int", 9007199254740993.0),
        ("int", -1234567890123456789.0),
        ("int", "3"),
        ("int", math.nan),
        ("float", math.nan),
        ("float", math.inf),
        ("float", 10**400),
        ("float", False),
        ("float", "1.0"),
        ("text", 5),
        ("text", "a\0b"),
        ("text", "\ud800"),
        ("text", "ü" * 32_769),
        ("category", "ü" * 129),
        ("category", "x" * 257),
        ("date", "2023-02-29"),
        ("date", "2024-1-1"),
        ("date", 20240101),
        ("timestamp", "2024-05-01T12:00:00"),
        ("timestamp", "2024-05-01"),
        ("timestamp", "2024-13-01T12:00:00Z"),
        ("timestamp", "0001-01-01T00:00:00+23:00"),
        ("timestamp", datetime(2024, 1, 1)),  # noqa: DTZ001 - naive on purpose
    ],
)
def test_json_values_that_do_not_fit(kind: str, value: object) -> None:
    """A value of the wrong kind or out of range is refused and the expectation is named."""
    got, expected = check_value(Column("c", kind), value)
    assert got is None
    assert expected


@pytest.mark.parametrize("kind", TYPES)
def test_null_is_missing_and_only_allowed_when_nullable(kind: str) -> None:
    """None and the empty cell are missing values: fine in a nullable column, refused in another."""
    assert check_value(Column("c", kind), None) == (None, None)
    assert parse_text(Column("c", kind), "") == (None, None)
    assert check_value(Column("c", kind, nullable=False), None)[1]
    assert parse_text(Column("c", kind, nullable=False), "")[1]


@pytest.mark.parametrize(
    ("kind", "cell", "clean"),
    [
        ("bool", "TRUE", True),
        ("bool", "no", False),
        ("bool", "1", True),
        ("bool", "F", False),
        ("int", "-12", -12),
        ("int", " 12 ", 12),
        ("int", "3.0", 3),
        ("int", "9223372036854775807", 2**63 - 1),
        ("int", "-9223372036854775808.0", -(2**63)),
        ("int", "1234567890123456789.0", 1234567890123456789),
        ("int", "1234567890123456789e0", 1234567890123456789),
        ("int", "00001234567890123456789", 1234567890123456789),
        ("int", "1.5e1", 15),
        ("float", "1e3", 1000.0),
        ("float", ".5", 0.5),
        ("text", "NA", "NA"),
        ("text", " x ", " x "),
        ("category", "None", "None"),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamp", "2024-05-01T12:00Z", NOON),
    ],
)
def test_cells_that_fit(kind: str, cell: str, clean: object) -> None:
    """CSV cells are read by the column's type; words such as NA are data, not missing values."""
    assert parse_text(Column("c", kind), cell) == (clean, None)


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("bool", "maybe"),
        ("int", "1_000"),
        ("int", "1234567890123456_78"),
        ("int", "9223372036854775808"),
        ("int", "٣"),
        ("int", "NA"),
        ("int", "3.5"),
        ("int", "9223372036854775807.5"),
        ("int", "999999999999999999.99999999"),
        ("int", "1e-400"),
        ("int", "1e999999999"),
        ("int", "1e99999999999999999999"),
        ("float", "nan"),
        ("float", "inf"),
        ("float", "1e999"),
        ("float", "1,5"),
        ("timestamp", "2024-05-01T12:00:00+02:60"),
        ("date", "5/1/2024"),
        ("timestamp", "2024-05-01 12:00:00"),
        ("category", "x" * 257),
        ("text", "\0"),
    ],
)
def test_cells_that_do_not_fit(kind: str, cell: str) -> None:
    """A cell that is not of the column's type is refused, never guessed at."""
    value, expected = parse_text(Column("c", kind), cell)
    assert value is None
    assert expected


@given(
    st.sampled_from(TYPES),
    st.booleans(),
    st.lists(
        st.one_of(
            st.text(max_size=6),
            st.integers().map(str),
            st.floats().map(str),
            st.sampled_from(["", "yes", "1e999", "2024-05-01", "2024-05-01T12:00:00Z", "99999999999999999999"]),
        ),
        max_size=12,
    ),
)
def test_a_whole_column_is_parsed_like_its_cells(kind: str, nullable: bool, cells: list[str]) -> None:
    """The fast way for a column gives exactly what the cells give one by one."""
    column = Column("c", kind, nullable=nullable)
    values, bad = parse_text_column(column, cells)
    one_by_one = [parse_text(column, cell) for cell in cells]
    assert values == [value for value, _ in one_by_one]
    assert [type(v) for v in values] == [type(v) for v, _ in one_by_one]
    assert bad == [i for i, (_, expected) in enumerate(one_by_one) if expected]


@given(
    st.one_of(
        st.text(), st.integers(), st.floats(), st.none(), st.lists(st.integers()), st.dictionaries(st.text(), st.none())
    )
)
def test_shown_values_are_short_and_printable(value: object) -> None:
    """What an error echoes is at most 80 characters without control characters."""
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()


def test_a_huge_number_can_be_shown() -> None:
    """A number of thousands of digits neither fails nor floods the answer."""
    assert len(shown(10**10_000)) <= 80
