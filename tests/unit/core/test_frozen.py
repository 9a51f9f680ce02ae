"""Our dataclasses do what the standard library's do: each statement is checked on both."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import pytest

from trainyard import frozen


def classes(module: Any) -> dict[str, Any]:
    """Return classes of every kind that the product has, made by one of the two modules."""

    class Described:
        def __set_name__(self, owner: Any, name: str) -> None:
            self.name = name

        def __get__(self, holder: Any, owner: Any) -> Any:
            if holder is None:
                raise AttributeError(self.name)
            return holder.__dict__[self.name]

        def __set__(self, holder: Any, value: Any) -> None:
            holder.__dict__[self.name] = value * 2

    @module.dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2
        names: list[str] = module.field(default_factory=list)
        kind: ClassVar[str] = "point"

    @module.dataclass(frozen=True)
    class Deep(Point):
        z: int = 3

    @module.dataclass
    class FailureError(Exception):
        code: str
        more: int = 0

        def __post_init__(self) -> None:
            super().__init__(self.code)

    @module.dataclass(frozen=True, eq=False, repr=False)
    class Plain:
        x: int
        sum: int = module.field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "sum", self.x + 1)

    @module.dataclass(frozen=True)
    class Doubled:
        x: int = Described()  # type: ignore[assignment]
        y: int = 0

    return {kind.__name__: kind for kind in (Point, Deep, FailureError, Plain, Doubled)}


def classes_made_often() -> dict[str, Any]:
    """Return our classes after so many instances that each has an ``__init__`` of its own."""
    found = classes(frozen)
    for kind in found.values():
        first = kind.__init__
        for _ in range(1_000):
            kind(1)
        assert (kind.__init__ is first) == (kind.__name__ == "Doubled")  # values that go through a descriptor
    return found


@pytest.fixture(params=["ours", "ours made often", "standard"])
def made(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The classes by one of the two modules."""
    if request.param == "ours made often":
        return classes_made_often()
    return classes(frozen if request.param == "ours" else dataclasses)


def test_values_and_defaults(made: dict[str, Any]) -> None:
    """By place, by name, by default; a made default belongs to one instance."""
    point = made["Point"](1)
    assert (point.x, point.y, point.names, point.kind) == (1, 2, [], "point")
    assert point.names is not made["Point"](1).names
    assert made["Point"](1, names=["a"], y=5).names == ["a"]
    deep = made["Deep"](1, 2, [], 4)
    assert (deep.x, deep.z) == (1, 4)
    assert made["Plain"](1).sum == 2
    assert made["Doubled"](2, 1).x == 4


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), ((1, 2, [], 4), {}), ((1,), {"x": 1}), ((1,), {"w": 1}), ((), {"y": 1})], ids=str
)
def test_calls_that_are_refused(made: dict[str, Any], args: Any, named: Any) -> None:
    """Too few, too many, twice, unknown."""
    with pytest.raises(TypeError):
        made["Point"](*args, **named)


def test_equality_hash_and_text(made: dict[str, Any]) -> None:
    """Instances are equal field by field, within one class."""
    point, deep = made["Point"], made["Deep"]
    assert point(1) == point(1) != point(2)
    assert point(1) != deep(1)
    assert hash(point(1, names=())) == hash(point(1, names=()))  # type: ignore[arg-type]
    assert repr(point(1)).endswith("Point(x=1, y=2, names=[])")
    assert made["Plain"](1) != made["Plain"](1)
    with pytest.raises(TypeError):
        hash(made["FailureError"]("a"))


def test_nothing_changes_in_a_frozen_one(made: dict[str, Any]) -> None:
    """An unfrozen one changes."""
    point = made["Point"](1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="x"):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="x"):
        del point.x
    failure = made["FailureError"]("a")
    failure.more = 5
    assert (failure.more, str(failure)) == (5, "a")


def test_the_standard_librarys_functions(made: dict[str, Any]) -> None:
    """Fields in their order, copies with changes, dicts, places in patterns; and a standard dataclass may inherit."""
    point = made["Point"](1)
    assert [f.name for f in dataclasses.fields(point)] == ["x", "y", "names"]
    assert [f.type for f in dataclasses.fields(made["Deep"])] == ["int", "int", "list[str]", "int"]
    assert dataclasses.replace(point, y=7) == made["Point"](1, 7)
    assert dataclasses.asdict(made["Deep"](1)) == {"x": 1, "y": 2, "names": [], "z": 3}
    assert type(point).__match_args__ == ("x", "y", "names")

    @dataclasses.dataclass(frozen=True)
    class Below(made["Point"]):  # type: ignore[misc]
        w: int = 9

    assert Below(1, 2, []).w == 9


def test_what_the_standard_library_keeps_is_made_once() -> None:
    """It compiles a class: done for each of the problems of one upload, that took a minute."""
    point = classes(frozen)["Point"]
    assert dataclasses.fields(point)[0] is dataclasses.fields(point(1))[0]
    assert point.__dataclass_params__ is point(2).__dataclass_params__


def test_copies_with_changes() -> None:
    """Ours leaves out what ``__init__`` does not take, and makes it anew."""
    ours = classes(frozen)
    assert frozen.replace(ours["Point"](1), y=7) == ours["Point"](1, 7)
    assert frozen.replace(ours["Plain"](1), x=5).sum == 6
    with pytest.raises(TypeError):
        frozen.replace(ours["Point"](1), w=1)


def test_a_default_before_a_field_without_is_refused() -> None:
    """When the class is made, not when it is used."""
    for module in (frozen, dataclasses):
        with pytest.raises(TypeError, match="default"):

            @module.dataclass(frozen=True)
            class _Wrong:
                x: int = 1
                y: int  # type: ignore[misc]
