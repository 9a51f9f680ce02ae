"""Models: the list, one model with its decisions and versions, and its policy as a form. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.durations import in_words, seconds_of
from trainyard.policy import KINDS, LEAKAGE, METRICS, PROMOTIONS
from trainyard_console.views.fields import Field
from trainyard_console.views.words import (
    DASH,
    Moment,
    State,
    count,
    figure,
    is_number,
    items,
    moment,
    number,
    part,
    seconds,
    state,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

_MOST_METRICS = 3
#: Figures that say nothing of how well a version answers.
_NOT_SHOWN = frozenset({"loss", "parity"})


@dataclass(frozen=True)
class Version:
    """A row of a model's versions."""

    number: str
    aliases: tuple[State, ...]
    passed: bool
    imported: bool
    waits: bool
    gate: str
    metrics: str
    rows: str
    created: Moment


@dataclass(frozen=True)
class Decision:
    """One answer of the policy."""

    fired: bool
    reason: str
    times: str
    at: Moment
    request: str | None
    conditions: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Model:
    """A model's head."""

    name: str
    dataset: str
    label: str
    task: str
    champion: str | None
    policy: str
    created: Moment


@dataclass(frozen=True)
class Alias:
    """A pointer, and what it does."""

    state: State
    version: str
    share: str
    seq: str
    moved: Moment


@dataclass(frozen=True)
class _Asked:
    """How a key of the policy is asked for. ``reads``: whole, real, length, text."""

    name: str
    label: str
    hint: str
    kind: str
    reads: str = "text"
    choices: tuple[str, ...] = ()


#: group -> what it asks; a name with a dot is inside an object of the policy.
_FORM: tuple[tuple[str, tuple[_Asked, ...]], ...] = (
    (
        "When to train",
        (
            _Asked("min_new_rows", "After new rows", "a number of rows; empty: not by rows", "number", "whole"),
            _Asked("min_new_labels", "After new true labels", "empty: not by labels", "number", "whole"),
            _Asked("max_age", "At the latest after", "such as 24h or 7d; empty: no limit", "text", "length"),
            _Asked("cron", "At times (UTC)", "five fields such as 0 2 * * *; empty: never", "text"),
            _Asked("on_drift", "When what is predicted drifts", "", "flag"),
            _Asked("on_quality_drop", "When live quality drops", "", "flag"),
            _Asked("min_interval", "Pause between two trainings", "such as 10m", "text", "length"),
        ),
    ),
    (
        "What to search",
        (
            _Asked("budget_seconds", "Time for the search", "such as 60s or 10m", "text", "length"),
            _Asked("kinds", "Kinds of estimators", "", "choices", choices=tuple(KINDS)),
            _Asked("metric", "Metric to judge by", "", "choice", choices=("auto", *sorted(METRICS))),
            _Asked("leakage", "Columns that give the label away", "", "choice", choices=tuple(LEAKAGE)),
            _Asked("seed", "Seed", "the same seed, rows and trials give the same bytes", "number", "whole"),
        ),
    ),
    (
        "What to demand before promotion",
        (
            _Asked("promotion", "Who promotes", "", "choice", choices=tuple(PROMOTIONS)),
            _Asked("gate.min_rows", "Test rows, at least", "", "number", "whole"),
            _Asked("gate.min_improvement", "Better by more than", "of the loss; 0: any sure gain", "number", "real"),
            _Asked("gate.confidence", "Sure to", "a part of 1, such as 0.975", "number", "real"),
        ),
    ),
)  # fmt: skip


def model(item: dict[str, Any], now: datetime) -> Model:
    """Return a model's head."""
    champion = item.get("champion")
    return Model(
        name=text(item.get("name")),
        dataset=text(item.get("dataset")),
        label=text(item.get("label")),
        task=text(item.get("task")),
        champion=None if champion is None else text(champion),
        policy=policy_words(item.get("policy")),
        created=moment(item.get("created_at"), now),
    )


def policy_words(policy: Any) -> str:
    """Return the gist of a policy in one sentence."""
    if not isinstance(policy, dict):
        return DASH
    when = []
    if policy.get("min_new_rows") is not None:
        when.append(f"after {number(policy['min_new_rows'])} new rows")
    if policy.get("min_new_labels") is not None:
        when.append(f"after {number(policy['min_new_labels'])} new labels")
    if is_number(policy.get("max_age")):
        when.append(f"every {seconds(policy['max_age'], units=1)}")
    if policy.get("cron"):
        when.append(f"at {text(policy['cron'])}")
    when += [
        words for key, words in (("on_drift", "on drift"), ("on_quality_drop", "on a quality drop")) if policy.get(key)
    ]
    kinds = policy.get("kinds")
    searched = ", ".join(str(kind).replace("_", " ") for kind in kinds) if isinstance(kinds, list) else DASH
    trains = f"trains {' or '.join(when)}" if when else "trains by hand only"
    return f"{trains}; searches {searched} for {seconds(policy.get('budget_seconds'))}"[:300]


def version(item: dict[str, Any], now: datetime) -> Version:
    """Return a version as a row."""
    gate = part(item.get("gate"))
    aliases = item.get("aliases")
    return Version(
        number=text(item.get("version")),
        aliases=tuple(state(alias) for alias in aliases[:8]) if isinstance(aliases, list) else (),
        passed=item.get("passed") is True,
        imported=bool(gate.get("imported")),
        waits=item.get("state") == "pending_approval",
        # the sentence begins with the verdict, which the page shows on its own
        gate=text(gate.get("summary")).removeprefix("passed: ").removeprefix("refused: "),
        metrics=metrics_words(item.get("metrics")),
        rows=number(item.get("snapshot_rows")),
        created=moment(item.get("created_at"), now),
    )


def metrics_words(metrics: Any) -> str:
    """Return the first metrics in a line."""
    if not isinstance(metrics, dict):
        return DASH
    order = ("roc_auc", "log_loss", "accuracy", "rmse", "mae", "r2")
    known = {name: value for name, value in metrics.items() if is_number(value) and name not in _NOT_SHOWN}
    chosen = [name for name in order if name in known] or list(known)
    return " · ".join(f"{name.replace('_', ' ')} {known[name]:.4g}" for name in chosen[:_MOST_METRICS]) or DASH


def decision(item: dict[str, Any], now: datetime) -> Decision:
    """Return a decision with each condition's numbers."""
    triggers = part(item, "numbers", "triggers")
    times = item.get("times")
    request = item.get("request_id")
    return Decision(
        fired=item.get("fired") is True,
        reason=text(item.get("reason")).removeprefix("not fired: ").removeprefix("fired: "),
        times=f"{count(times, 'look', 'looks')}" if isinstance(times, int) and times > 1 else "",
        at=moment(item.get("last_at") or item.get("at"), now),
        request=None if request is None else text(request),
        conditions=tuple(
            (
                name.replace("_", " "),
                _numbers(one),
                one.get("met") is True,
            )
            for name, one in triggers.items()
            if isinstance(one, dict)
        ),
    )


def _numbers(trigger: dict[str, Any]) -> str:
    """Return how far a trigger is, where it counts something."""
    if not is_number(trigger.get("value")):
        return ""
    return f"{figure(trigger['value'])} of {figure(trigger.get('threshold'))}"


def alias(item: dict[str, Any], now: datetime) -> Alias:
    """Return an alias as a row."""
    name, weight = text(item.get("name")), item.get("weight")
    share = {
        "champion": "answers",
        "challenger": f"answers {100 * weight:g} % of the requests" if is_number(weight) else DASH,
        "shadow": f"scores {100 * weight:g} % of what the champion answers" if is_number(weight) else DASH,
    }.get(name, "is kept")
    return Alias(
        state(name), text(item.get("version")), share, text(item.get("seq")), moment(item.get("updated_at"), now)
    )


def policy_form(policy: Mapping[str, Any], problems: Mapping[str, str] | None = None) -> list[tuple[str, list[Field]]]:
    """Return the form with the policy's values, or with those that were sent and their ``problems`` by name."""
    problems = problems or {}
    return [
        (
            group,
            [
                Field(
                    one.name, one.label, one.hint, one.kind, _shown(_inside(policy, one.name), one), one.choices,
                    problems.get(one.name, ""),
                )
                for one in asked
            ],
        )
        for group, asked in _FORM
    ]  # fmt: skip


def policy_text(policy: Mapping[str, Any]) -> str:
    """Return the whole policy as text."""
    return json.dumps(policy, indent=2)


def policy_of(given: Mapping[str, Sequence[str]], policy: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy with what a form says; what cannot be read goes on as it is, for the scheduler to refuse.

    ``given``: the form's values by name.
    """
    changed: dict[str, Any] = json.loads(json.dumps(policy))
    for _, asked in _FORM:
        for one in asked:
            inner = changed
            *path, last = one.name.split(".")
            for name in path:
                inner = inner.setdefault(name, {})
            inner[last] = _read(given.get(one.name, ()), one)
    return changed


def _inside(policy: Mapping[str, Any], name: str) -> Any:
    value: Any = policy
    for piece in name.split("."):
        value = value.get(piece) if isinstance(value, dict) else None
    return value


def _shown(value: Any, one: _Asked) -> Any:
    if one.kind == "choices":
        return [str(item) for item in value] if isinstance(value, list) else []
    if one.kind == "flag":
        return value is True
    if value is None:
        return ""
    if one.reads == "length" and is_number(value):
        words = in_words(float(value)).replace(" min", "m").replace(" ", "")
        return words if seconds_of(words) == float(value) else f"{value:g}s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _read(values: Sequence[str], one: _Asked) -> Any:
    if one.kind == "choices":
        return list(values)
    if one.kind == "flag":
        return bool(values)
    value = values[0].strip() if values else ""
    if not value:
        return 0 if one.name == "min_interval" else None
    if one.reads == "length":
        return length(value)
    try:
        return {"whole": int, "real": float}.get(one.reads, str)(value)
    except ValueError:
        return value


def length(given: str) -> float | str:
    """Return a length of time in seconds; what is none goes on as it is, for the scheduler to refuse."""
    found = seconds_of(given)
    return given if found is None else found


def datasets_with_labels(value: Any) -> list[tuple[str, str, list[str]]]:
    """Return each dataset's name, its label column (or none) and all its columns, for the form of a new model."""
    made = []
    for item in items(value):
        columns = [column for column in items(item, "columns") if isinstance(column.get("name"), str)]
        label = next((str(column["name"]) for column in columns if column.get("role") == "label"), "")
        made.append((text(item.get("name")), label, [str(column["name"]) for column in columns]))
    return made
