"""Plain objects of a model file to values: many together give what each gives alone, and errors name their place."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.errors import ArtifactError
from trainyard.model import Number, Pair
from trainyard.model.codec import BODY
from trainyard.model.converters import BOOL, FLOAT, INT, STR, Converter, Json, ListOf, MapOf, Optional
from trainyard.model.records import OneOf, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

STEP = OneOf(
    (
        Record(Number, {"column": STR, "impute": Optional(FLOAT), "scale": FLOAT}, "number", at_once=True),
        Record(Pair, {"left": STR, "right": STR, "operation": STR}, "pair"),
    )
)
FORMS: list[Converter] = [STR, INT, FLOAT, BOOL, Json(), Optional(FLOAT), Optional(STR), Optional(Optional(INT)), STEP]
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(max_size=2), st.binary(max_size=2)
)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
GOOD_STEPS = st.builds(
    lambda column, impute, scale: {"kind": "number", "column": column, "impute": impute, "scale": scale},
    st.text(max_size=2),
    st.none() | FINITE,
    FINITE,
)
STEPS = st.one_of(
    st.builds(
        lambda kind, *rest: dict(zip(("kind", "column", "impute", "scale"), (kind, *rest), strict=True)), *[SCALARS] * 4
    ),
    st.builds(
        lambda left, right: {"kind": "pair", "left": left, "right": right, "operation": "ratio"}, SCALARS, SCALARS
    ),
    GOOD_STEPS.map(lambda step: dict(reversed(step.items()))),
)
MANY = st.one_of(
    st.lists(SCALARS, max_size=6),
    *(st.lists(of, max_size=6) for of in (st.floats(), st.integers(-(2**63), 2**64 - 1), st.text(max_size=2))),
    st.lists(GOOD_STEPS, max_size=6),
    st.lists(st.one_of(GOOD_STEPS, STEPS, SCALARS), max_size=6),
)


def _outcome(unpack: Callable[[], Iterable[Any]], name: str) -> list[Any] | tuple[str, str]:
    """Return what comes out, equal only if types and bits are, or the error with the place of ``name`` left open."""
    try:
        values = list(unpack())
    except ArtifactError as e:
        return e.code, re.sub(name, "here<item>", str(e))
    return [(type(v), vars(v)) if isinstance(v, Number | Pair) else (type(v), repr(v)) for v in values]


@given(st.sampled_from(FORMS), MANY)
@settings(max_examples=400, deadline=None)
def test_many_together_are_what_each_is_alone(form: Converter, raws: list[Any]) -> None:
    """Lists and maps give the values of their items, or the refusal of the first one that is wrong, by its place."""
    alone = _outcome(lambda: [form.unpack(raw, ("here", at)) for at, raw in enumerate(raws)], r"here\[\d\]")
    named = {f"n{at}": raw for at, raw in enumerate(raws)}
    assert _outcome(lambda: ListOf(form).unpack(raws, "here"), r"here\[\d\]") == alone
    assert _outcome(lambda: MapOf(form).unpack(named, "here").values(), r"here\.n\d") == alone


@given(st.lists(GOOD_STEPS, min_size=1, max_size=6), st.data())
def test_one_wrong_field_among_many_steps_is_named(steps: list[dict[str, Any]], data: st.DataObject) -> None:
    """The field of the one step that is wrong stands in the error, however many are right."""
    at = data.draw(st.integers(0, len(steps) - 1))
    steps[at] = {**steps[at], "scale": math.inf}
    with pytest.raises(ArtifactError) as caught:
        ListOf(STEP).unpack(steps, "model.steps")
    assert (caught.value.code, str(caught.value)) == (
        "not_finite",
        f"not_finite: model.steps[{at}].scale is not finite",
    )


def test_dataclasses_that_are_made_at_once_are_what_their_constructors_make() -> None:
    """No record of the format that sets its fields together leaves out what the constructor would have done."""
    pipeline = BODY.fields["pipeline"]
    assert isinstance(pipeline, OneOf)
    steps = pipeline.records[0].fields["steps"]
    assert isinstance(steps, ListOf)
    assert isinstance(steps.inner, OneOf)
    at_once = [record for record in steps.inner.records if record.at_once]
    assert {record.cls for record in at_once} == {Number, Pair}
    values: dict[str, Any] = {"impute": None, "center": 1.0, "scale": 2.0, "clip": 3.0}
    for record in at_once:
        fields = {name: values.get(name, name) for name in record.fields}
        made = record.unpack({"kind": record.kind, **fields}, "here")
        assert vars(made) == vars(record.cls(**fields))
