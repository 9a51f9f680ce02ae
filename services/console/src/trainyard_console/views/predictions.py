"""The prediction log: rows of the list, and one prediction with what was asked, answered, and true. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_console.charts.bars import strengths
from trainyard_console.views.words import DASH, Moment, State, figure, is_number, items, moment, part, share, text

if TYPE_CHECKING:
    from datetime import datetime

    from markupsafe import Markup

#: Columns of the inputs that a row of the list tells.
_MOST_INPUTS = 6
_MOST_CLASSES = 10


@dataclass(frozen=True)
class Row:
    """A prediction in the list. ``verdict`` is there once the truth is known."""

    ident: str
    version: str
    said: str
    sure: str
    label: str
    verdict: State | None
    inputs: str
    at: Moment


@dataclass(frozen=True)
class Logged:
    """One prediction, whole."""

    row: Row
    probabilities: Markup | str
    inputs: tuple[tuple[str, str], ...]
    shadows: tuple[tuple[str, str, str, Moment], ...]


def row(item: dict[str, Any], now: datetime) -> Row:
    """Return a prediction as a row."""
    output, label = part(item, "output"), item.get("label")
    said = output.get("prediction")
    probabilities = part(output, "probabilities")
    inputs = [f"{text(name)} {value(of)}" for name, of in list(part(item, "inputs").items())[:_MOST_INPUTS]]
    more = len(part(item, "inputs")) - _MOST_INPUTS
    return Row(
        ident=text(item.get("id")),
        version=text(item.get("version")),
        said=value(said),
        sure=share(probabilities.get(value(said))),
        label="" if label is None else value(label),
        verdict=None if label is None else _verdict(said, label, classes=bool(probabilities)),
        inputs=", ".join(inputs) + (f" and {more} more" if more > 0 else ""),
        at=moment(item.get("predicted_at"), now),
    )


def logged(item: dict[str, Any], now: datetime) -> Logged:
    """Return one prediction."""
    probabilities = [
        (text(name), float(p), share(p)) for name, p in part(item, "output", "probabilities").items() if is_number(p)
    ]
    probabilities.sort(key=lambda one: -one[1])
    return Logged(
        row=row(item, now),
        probabilities=strengths(probabilities[:_MOST_CLASSES], "Probability of each class"),
        inputs=tuple((text(name), value(of)) for name, of in part(item, "inputs").items()),
        shadows=tuple(
            (
                text(one.get("shadow_version")),
                figure(one.get("difference")),
                "another class" if one.get("changed") is True else "the same",
                moment(one.get("scored_at"), now),
            )
            for one in items(item, "shadows")
        ),
    )


def value(of: Any) -> str:
    """Return a value of a row."""
    if of is None:
        return "missing"
    return str(of).lower() if isinstance(of, bool) else figure(of) if is_number(of) else text(of, DASH)


def _verdict(said: Any, label: Any, *, classes: bool) -> State:
    """Return whether a class was right, or by how much a number was not."""
    if classes:
        return State("right", "good") if said == label else State("wrong", "bad")
    if is_number(said) and is_number(label):
        return State(f"off by {figure(said - label)}", "quiet")
    return State(DASH, "quiet")
