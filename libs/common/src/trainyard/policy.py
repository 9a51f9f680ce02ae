"""A model's policy: when to train, what to search, what to demand before promotion.

The scheduler validates and stores it, and copies :meth:`Policy.settings` into each training request; the trainer reads
it back with :meth:`Policy.from_dict`. Every key has its default here and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trainyard.errors import Problem, ServiceError

FAMILIES = ("linear", "trees", "neural")
#: Metric names by task; 'auto' is the first of the model's task.
METRICS = {
    "binary": ("roc_auc", "log_loss", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
TASKS = ("auto", *METRICS)
_ALL_METRICS = ("auto", *dict.fromkeys(name for names in METRICS.values() for name in names))
_MAX_ROWS = 10**12
_MAX_BUDGET_SECONDS = 11 * 3600.0


@dataclass(frozen=True)
class GatePolicy:
    """What a challenger must show.

    Attributes:
        min_rows: hold-out rows below which nothing is promoted.
        min_improvement: by how much the metric must beat the champion's, in the metric's own unit.
        noise_margin: how many standard errors of the difference the challenger may lie behind or must lie ahead. With 2
            about one worthless model in forty passes by luck, with 1 it would be one in six.
    """

    min_rows: int = 100
    min_improvement: float = 0.0
    noise_margin: float = 2.0


@dataclass(frozen=True)
class Policy:
    """A whole policy. ``min_new_rows`` None: train by hand only."""

    min_new_rows: int | None = 1000
    budget_seconds: float = 60.0
    families: tuple[str, ...] = ("linear", "trees")
    metric: str = "auto"
    seed: int = 0
    gate: GatePolicy = field(default_factory=GatePolicy)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any], *, over: Policy | None = None) -> Policy:
        """Return the policy that ``raw`` describes; keys it lacks come from ``over``, else from the defaults.

        Raises:
            ServiceError: ``invalid_model``; the details list every problem.
        """
        base = over or cls()
        problems = _problems(raw, task=None)
        if problems:
            raise invalid(problems)
        values = {name: value for name, value in raw.items() if name != "gate"}
        if "families" in values:
            values["families"] = tuple(values["families"])
        if "budget_seconds" in values:
            values["budget_seconds"] = float(values["budget_seconds"])
        return replace(base, **values, gate=replace(base.gate, **raw.get("gate", {})))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md, with every key."""
        return {**asdict(self), "families": list(self.families)}

    def settings(self) -> dict[str, Any]:
        """Return what a training request copies: everything but ``min_new_rows``."""
        return {name: value for name, value in self.to_dict().items() if name != "min_new_rows"}


def policy_problems(raw: object, *, task: str | None = None) -> list[Problem]:
    """Return everything that is wrong with a policy given as JSON; ``task`` restricts the metric when known."""
    return _problems(raw, task=task)


def invalid(problems: list[Problem]) -> ServiceError:
    """Return the error that lists ``problems``."""
    return ServiceError("invalid_model", f"{len(problems)} problem(s) with the model or its policy", problems)


def _problems(raw: object, *, task: str | None) -> list[Problem]:
    if not isinstance(raw, Mapping):
        return [_wrong("policy", "an object", raw)]
    found = _unknown("policy", raw, asdict(Policy()))
    found += _field(raw, "policy", "min_new_rows", _whole(1, _MAX_ROWS), "a whole number from 1, or null", null=True)
    found += _field(
        raw,
        "policy",
        "budget_seconds",
        _number(1.0, _MAX_BUDGET_SECONDS),
        f"a number from 1 to {_MAX_BUDGET_SECONDS:.0f}",
    )
    found += _field(raw, "policy", "families", _are_families, f"a list of some of {', '.join(FAMILIES)}, each once")
    metrics = _ALL_METRICS if task in {None, "auto"} else ("auto", *METRICS[str(task)])
    found += _field(raw, "policy", "metric", lambda v: v in metrics, f"one of {', '.join(metrics)}")
    found += _field(raw, "policy", "seed", _whole(0, 2**31 - 1), "a whole number from 0 to 2147483647")
    if "gate" in raw:
        found += _gate_problems(raw["gate"])
    return found


def _gate_problems(raw: object) -> list[Problem]:
    if not isinstance(raw, Mapping):
        return [_wrong("policy.gate", "an object", raw)]
    found = _unknown("policy.gate", raw, asdict(GatePolicy()))
    found += _field(raw, "policy.gate", "min_rows", _whole(1, _MAX_ROWS), "a whole number from 1")
    found += _field(raw, "policy.gate", "min_improvement", _number(-1e12, 1e12), "a finite number")
    found += _field(raw, "policy.gate", "noise_margin", _number(0.0, 100.0), "a number from 0 to 100")
    return found


def _unknown(where: str, raw: Any, known: Mapping[str, Any]) -> list[Problem]:
    return [
        Problem(None, f"{where}.{str(name)[:80]}", f"one of the keys {', '.join(known)}", "an unknown key")
        for name in raw
        if name not in known
    ]


def _field(raw: Any, where: str, name: str, fits: Any, expected: str, *, null: bool = False) -> list[Problem]:
    if name not in raw or (null and raw[name] is None) or fits(raw[name]):
        return []
    return [_wrong(f"{where}.{name}", expected, raw[name])]


def _wrong(where: str, expected: str, got: object) -> Problem:
    return Problem(None, where, expected, repr(got)[:120])


def _whole(least: int, most: int) -> Any:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(least: float, most: float) -> Any:
    def fits(value: object) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and least <= value <= most
        )

    return fits


def _are_families(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(name, str) and name in FAMILIES for name in value)
        and len(set(value)) == len(value)
    )
