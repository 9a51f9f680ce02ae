"""Rules of schemas, the check of rows, and inference."""

from __future__ import annotations

import json

import pytest

from trainyard.errors import Problem, ServiceError
from trainyard.schema import Column, Schema, infer_schema

FLIGHTS = Schema(
    [
        Column("id", "int", role="key", nullable=False),
        Column("carrier", "category", categories=("AA", "UA")),
        Column("hour", "int", nullable=False),
        Column("late", "bool", role="label"),
    ]
)


def test_roles_select_columns() -> None:
    """Features, keys and label come by role, columns by name."""
    assert [c.name for c in FLIGHTS.features] == ["carrier", "hour"]
    assert [c.name for c in FLIGHTS.keys] == ["id"]
    assert FLIGHTS.label is FLIGHTS.column("late")
    assert FLIGHTS.event_time is None
    assert "hour" in FLIGHTS
    assert "Hour" not in FLIGHTS


def test_schemas_survive_json() -> None:
    """The JSON form reads back as an equal schema."""
    assert Schema.from_dict(json.loads(json.dumps(FLIGHTS.to_dict()))) == FLIGHTS


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [Column(f"c{i}", "int") for i in range(1_501)],
        [Column("", "int")],
        [Column("x" * 64, "int")],
        [Column("ü" * 32, "int")],
        [Column("a\nb", "int")],
        [Column("\ud800", "int")],
        [Column("a", "number")],
        [Column("a", "int", role="target")],
        [Column("Straße", "int"), Column("STRASSE", "int")],
        [Column("a", "int", role="label"), Column("b", "int", role="label")],
        [Column("a", "date", role="event_time"), Column("b", "date", role="event_time")],
        [Column("a", "int", role="group"), Column("b", "int", role="group")],
        [Column("a", "int", role="event_time")],
        [Column("a", "date", role="label")],
        [Column("a", "float", role="key")],
        [Column("a", "text", categories=("x",))],
        [Column("a", "category", categories=("x", "x"))],
        [Column("a", "category", categories=("\0",))],
    ],
)
def test_broken_schemas_are_refused(columns: list[Column]) -> None:
    """Each rule of names, types, roles and categories is enforced at construction."""
    with pytest.raises(ServiceError) as caught:
        Schema(columns)
    assert caught.value.code == "invalid_schema"
    assert caught.value.details


def test_limits_are_inclusive() -> None:
    """Exactly 1,500 columns with names of exactly 63 bytes are fine."""
    assert len(Schema([Column(f"{i:063d}", "int") for i in range(1_500)]).columns) == 1_500


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {"columns": {}},
        {"columns": [3]},
        {"columns": [{"name": 3, "type": "int"}]},
        {"columns": [{"name": "a"}]},
        {"columns": [{"name": "a", "type": "int", "nullable": 1}]},
        {"columns": [{"name": "a", "type": "int", "colour": "red"}]},
        {"columns": [{"name": "a", "type": "category", "categories": [1]}]},
        {"columns": [{"name": "a", "type": "int"}], "extra": 1},
    ],
)
def test_broken_json_forms_are_refused(data: object) -> None:
    """Anything that is not the JSON form of a schema is refused with details, never with another error."""
    with pytest.raises(ServiceError) as caught:
        Schema.from_dict(data)
    assert caught.value.code == "invalid_schema"
    assert caught.value.details


def test_all_schema_problems_are_listed_at_once() -> None:
    """A schema with three mistakes reports three."""
    with pytest.raises(ServiceError) as caught:
        Schema([Column("", "int"), Column("a", "x"), Column("b", "int", role="y")])
    assert len(caught.value.details) == 3


def test_good_rows_come_back_clean() -> None:
    """Values are cleaned, absent nullable columns become None, order of keys does not matter."""
    rows, problems = FLIGHTS.check_rows([{"hour": 7.0, "id": 1}, {"id": 2, "hour": 8, "carrier": "ZZ", "late": True}])
    assert problems == []
    assert rows == [
        {"id": 1, "carrier": None, "hour": 7, "late": None},
        {"id": 2, "carrier": "ZZ", "hour": 8, "late": True},
    ]


def test_every_problem_of_every_row_is_listed() -> None:
    """Wrong types, absent and unknown columns and rows that are no objects are all reported, with their place."""
    rows, problems = FLIGHTS.check_rows([{"id": 1, "hour": "x\ny"}, {"hour": 3, "gate": 1}, 7, {"id": 1, "hour": None}])
    assert rows == [None, None, None, None]
    assert [(p.row, p.column) for p in problems] == [(1, "hour"), (2, "id"), (2, "gate"), (3, None), (4, "hour")]
    assert problems[0] == Problem(1, "hour", "a whole number from -2^63 to 2^63-1", "x�y")


def test_only_the_wanted_columns_are_read() -> None:
    """Prediction reads features only: other columns of the schema may be there, bad or not; ``require`` rules."""
    features = FLIGHTS.features
    rows, problems = FLIGHTS.check_rows([{"hour": 1, "late": "?"}], columns=features)
    assert (rows, problems) == ([{"carrier": None, "hour": 1}], [])
    _, problems = FLIGHTS.check_rows([{"hour": 1}], columns=features, require={"carrier", "hour"})
    assert [p.column for p in problems] == ["carrier"]


def test_a_flood_of_problems_is_cut() -> None:
    """Ten thousand problems are listed, then one that says that there are more."""
    rows, problems = FLIGHTS.check_rows([{}] * 6_000)
    assert len(problems) == 10_001
    assert problems[-1].got == "more"
    assert rows == [None] * 6_000


def test_types_are_inferred() -> None:
    """The narrowest type that every value fits is taken; codes and yes/no stay strings."""
    many = [f"free text number {i}" for i in range(200)]
    schema = infer_schema(
        {
            "i": ["1", "", "-2"],
            "f": ["1", "2.5"],
            "f2": [1.0, 2.0],
            "b": ["true", "FALSE"],
            "b2": [True, None],
            "zero_one": ["0", "1"],
            "d": ["2024-01-01"],
            "t": ["2024-01-01T00:00:00Z"],
            "zip": ["02134", "10001"],
            "yn": ["yes", "no"],
            "long": many,
            "huge": ["x" * 257],
            "empty": ["", None],
            "mixed": [1, "a"],
            "big": ["99999999999999999999"],
        }
    )
    assert {c.name: c.type for c in schema.columns} == {
        "i": "int",
        "f": "float",
        "f2": "float",
        "b": "bool",
        "b2": "bool",
        "zero_one": "int",
        "d": "date",
        "t": "timestamp",
        "zip": "category",
        "yn": "category",
        "long": "text",
        "huge": "text",
        "empty": "text",
        "mixed": "category",
        "big": "category",
    }
    assert all(c.nullable for c in schema.columns)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["9223372036854775807", "1"], "int"),
        (["12345678901234567891", "12345678901234567892"], "category"),
        (["9007199254740993", "0.5"], "category"),
        (["9007199254740992", "0.5"], "float"),
        (["1" * 5_000], "text"),
    ],
)
def test_whole_numbers_are_not_rounded(cells, kind):
    """A whole number that neither 64 bits nor a float hold is a code: two accounts must not become one."""
    (column,) = infer_schema({"n": cells}).columns
    assert column.type == kind


def test_roles_are_given_at_inference() -> None:
    """Label, keys and event time get their roles; a key is not nullable."""
    schema = infer_schema({"k": ["1"], "t": ["2024-01-01"], "y": ["a"]}, label="y", keys=["k"], event_time="t")
    assert [(c.role, c.nullable) for c in schema.columns] == [("key", False), ("event_time", True), ("label", True)]
