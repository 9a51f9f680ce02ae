"""Trying a model: the form that its dataset's schema makes, the answer as a picture, the same for programs. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_console.charts.bars import pushes, strengths
from trainyard_console.views.words import DASH, figure, is_number, items, part, share, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

#: Contributions in the picture; the rest is one bar.
_MOST_BARS = 14


@dataclass(frozen=True)
class Input:
    """A column to fill in. ``kind``: number, text or flag."""

    name: str
    type: str
    kind: str
    step: str
    value: str
    choices: tuple[str, ...]
    nullable: bool
    problem: str = ""


@dataclass(frozen=True)
class Answer:
    """What the model said."""

    version: str
    prediction: str
    probabilities: Markup
    contributions: Markup
    contributions_words: str
    ident: str
    logged: bool


def features(dataset: Any, excluded: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the columns that a prediction is asked with."""
    return [
        column
        for column in items(dataset, "columns")
        if column.get("role") == "feature" and column.get("name") not in excluded
    ]


def inputs(columns: Sequence[Mapping[str, Any]], values: Mapping[str, Any], problems: Mapping[str, str]) -> list[Input]:
    """Return the form; ``values`` by column are what it is filled with."""
    made = []
    for column in columns:
        name, kind = text(column.get("name")), text(column.get("type"))
        value = values.get(name)
        choices = column.get("categories")
        made.append(
            Input(
                name=name,
                type=kind,
                kind="flag" if kind == "bool" else "number" if kind in {"int", "float"} else "text",
                step="1" if kind == "int" else "any",
                value="" if value is None else str(value).lower() if isinstance(value, bool) else str(value),
                choices=tuple(str(choice) for choice in choices[:200]) if isinstance(choices, list) else (),
                nullable=column.get("nullable") is not False,
                problem=problems.get(name, ""),
            )
        )
    return made


def row_of(columns: Sequence[Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the row that a form says; what is no number goes on as text, for the predictor to refuse."""
    return {
        name: _value(given.get(name, "").strip(), text(column.get("type")))
        for column in columns
        for name in [text(column.get("name"))]
    }


def _value(given: str, kind: str) -> Any:
    if not given:
        return None
    try:
        if kind == "int":
            return int(given)
        if kind == "float":
            return float(given)
    except ValueError:
        return given
    return {"true": True, "false": False}.get(given, given) if kind == "bool" else given


def answer(value: Any) -> Answer:
    """Return an answer of the predictor as the page shows it."""
    row = next(iter(items(value, "rows")), {})
    prediction = row.get("prediction")
    probabilities = [
        (text(name), float(p), share(p)) for name, p in part(row.get("probabilities")).items() if is_number(p)
    ]
    explanation = part(row.get("explanation"))
    return Answer(
        version=text(part(value).get("version")),
        prediction=figure(prediction)
        if is_number(prediction)
        else text(prediction).lower()
        if isinstance(prediction, bool)
        else text(prediction),
        probabilities=strengths(sorted(probabilities, key=lambda one: -one[1])[:10], "Probability of each class"),
        contributions=_contributions(explanation),
        contributions_words=_words(explanation),
        ident=text(row.get("prediction_id")),
        logged=row.get("logged") is not False,
    )


def _contributions(explanation: Mapping[str, Any]) -> Markup:
    found = [(text(name), float(v)) for name, v in part(explanation, "contributions").items() if is_number(v)]
    found.sort(key=lambda one: -abs(one[1]))
    rows = [(name, value, f"{value:+.3g}") for name, value in found[:_MOST_BARS]]
    if len(found) > _MOST_BARS:
        rest = sum(value for _, value in found[_MOST_BARS:])
        rows.append((f"{len(found) - _MOST_BARS} others together", rest, f"{rest:+.3g}"))
    return pushes(rows, "What each column adds to the score")


def _words(explanation: Mapping[str, Any]) -> str:
    if not explanation:
        return ""
    of = f" of {shown_value(explanation['class'])}" if explanation.get("class") is not None else ""
    return (
        f"In {text(explanation.get('unit'))}{of}: it begins with {figure(explanation.get('base'))},"
        f" the columns add what the bars say, and the score is {figure(explanation.get('score'))}."
    )


def as_curl(address: str, model: str, row: Mapping[str, Any]) -> str:
    """Return the same question for a shell."""
    body = json.dumps({"rows": [row], "explain": True}).replace("'", "'\\''")
    return (
        f"curl -s {address}/v1/predict/{model} \\\n"
        f'  -H "Authorization: Bearer $TRAINYARD_API_KEY" \\\n'
        f"  -H 'Content-Type: application/json' \\\n"
        f"  -d '{body}'"
    )


def as_python(address: str, model: str, row: Mapping[str, Any]) -> str:
    """Return the same question for Python."""
    return (
        "import os\n\nfrom trainyard_client import Client\n\n"
        f'with Client("{address}", os.environ["TRAINYARD_API_KEY"]) as client:\n'
        f"    answer = client.predict({model!r}, [{dict(row)!r}], explain=True)\n"
        '    print(answer["rows"][0]["prediction"])'
    )


def example(prediction: Any, profile: Any) -> dict[str, Any]:
    """Return values to begin with: those of a logged prediction, else the means of the dataset's columns."""
    logged = next(iter(items(prediction)), {}).get("inputs")
    if isinstance(logged, dict) and logged:
        return logged
    made = {}
    for column in items(profile, "columns"):
        mean = column.get("mean")
        if is_number(mean):
            made[text(column.get("name"))] = round(mean) if column.get("type") == "int" else float(f"{mean:.4g}")
    return made


def shown_value(value: Any) -> str:
    """Return a value of a row for a table."""
    return DASH if value is None else str(value).lower() if isinstance(value, bool) else text(value)
