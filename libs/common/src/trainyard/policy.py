"""A model's policy: when to train, what to search, what to demand before promotion.

The scheduler validates and stores it, and copies :meth:`Policy.settings` into each training request; the trainer reads
it back with :meth:`Policy.from_dict`. Every key has its default here and nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from trainyard.column_policy import LEAKAGE, ColumnPolicy, column_problems
from trainyard.durations import seconds_of
from trainyard.errors import Problem, ServiceError
from trainyard.gate_policy import GatePolicy, gate_problems
from trainyard.monitoring_policy import MonitoringPolicy, monitoring_problems

#: Kinds of estimators, as the model format names them.
KINDS = ("linear", "neural_network", "tree_ensemble")
#: Metric names by task; 'auto' is none of them: the loss that the search minimises, log-loss or squared error.
METRICS = {
    "binary": ("roc_auc", "log_loss", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
    "regression": ("rmse", "mae", "r2"),
}
TASKS = ("auto", *METRICS)
#: What is known of task 'auto' by the label's type alone: text and categories may have two classes or more.
CLASSIFICATION = "classification"
_ALL_METRICS = ("auto", *dict.fromkeys(name for names in METRICS.values() for name in names))
_METRICS_OF = {
    "auto": _ALL_METRICS,
    CLASSIFICATION: ("auto", *dict.fromkeys((*METRICS["binary"], *METRICS["multiclass"]))),
    **{task: ("auto", *names) for task, names in METRICS.items()},
}
_MAX_ROWS = 10**12
_MAX_BUDGET_SECONDS = 11 * 3600.0
#: Trials of one search.
MAX_TRIALS = 1_000
_MAX_AGE_SECONDS = 10 * 366 * 86_400.0
#: A priority lies between this and its negative.
MAX_PRIORITY = 100
_MAX_INSTANCE_TYPES = 20
_INSTANCE_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}", re.ASCII)
#: The form only: whether the fields mean a time is checked by the scheduler, which reads them with a library.
_CRON = re.compile(r"[0-9A-Za-z*,/#-]{1,100}(?: +[0-9A-Za-z*,/#-]{1,100}){4}", re.ASCII)
#: Who decides on a version that passed the gate.
PROMOTIONS = ("auto", "approve", "approve_if_borderline")
#: What a run needs of a policy; the other keys say when and where to train.
RUN_KEYS = ("budget_seconds", "metric", "seed", "gate", "budget_trials", "kinds", "leakage", "columns")
#: Copied only where they are not as by default.
_WHERE_SET = ("budget_trials", "kinds", "leakage", "columns", "keep_extract", "promotion")


@dataclass(frozen=True)
class Policy:
    """A whole policy.

    Any of the triggers asks for a training; without one a model trains by hand only. ``min_interval``, an open request
    and fresh failures hold triggers back.

    Attributes:
        min_new_rows: trigger: rows that no request has used.
        min_new_labels: trigger: predictions of this model that were labelled since the last request that counts.
        min_fraction_new: trigger: new rows as a fraction of the rows of the last trained snapshot.
        max_age: trigger: seconds since the last training that came to an end was asked for, if there are new rows.
        cron: trigger: five fields, in UTC.
        on_drift, on_quality_drop: triggers: open alarms of these detectors.
        min_interval: seconds for which nothing fires after the last request that the policy made.
        priority: of the requests that the policy makes; the higher is taken first.
        instance_types: where these may run, best first; empty: as the environment's setting says.
        spot: whether spot capacity may serve them; None: as the environment's setting says.
        budget_trials: the search ends after so many trials, whatever time they take: then it can be repeated; None: it
            ends with ``budget_seconds``.
        keep_extract: keep the rows of each version as Parquet in the object store.
        leakage: what becomes of columns that seem to give the label away: ``leave_out``, or ``keep`` (and report).
        columns: what is learnt from in any case, or in no case.
        promotion: whether versions that pass the gate become champion by themselves ('auto'), wait for a person
            ('approve'), or wait only where the gate's report says borderline ('approve_if_borderline').
    """

    min_new_rows: int | None = 1000
    min_new_labels: int | None = None
    min_fraction_new: float | None = None
    max_age: float | None = None
    min_interval: float = 0.0
    cron: str | None = None
    on_drift: bool = False
    on_quality_drop: bool = False
    priority: int = 0
    instance_types: tuple[str, ...] = ()
    spot: bool | None = None
    budget_seconds: float = 60.0
    budget_trials: int | None = None
    kinds: tuple[str, ...] = ("linear", "tree_ensemble")
    metric: str = "auto"
    seed: int = 0
    keep_extract: bool = False
    leakage: str = LEAKAGE[0]
    columns: ColumnPolicy = field(default_factory=ColumnPolicy)
    promotion: str = "auto"
    gate: GatePolicy = field(default_factory=GatePolicy)
    monitoring: MonitoringPolicy = field(default_factory=MonitoringPolicy)

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
        values = {name: _READ.get(name, _as_it_is)(value) for name, value in raw.items() if name not in _NESTED}
        gate = base.gate.changed(raw.get("gate", {}))
        columns = base.columns.changed(raw.get("columns", {}))
        monitoring = base.monitoring.changed(raw.get("monitoring", {}))
        return replace(base, **values, gate=gate, columns=columns, monitoring=monitoring)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md, with every key."""
        lists = {"kinds": list(self.kinds), "instance_types": list(self.instance_types)}
        return {**asdict(self), **lists, "columns": self.columns.to_dict()}

    def settings(self) -> dict[str, Any]:
        """Return what a training request copies: the keys in :data:`RUN_KEYS`.

        Those in :data:`_WHERE_SET` only where they are set: a trainer of the release before them refuses keys that it
        does not know.
        """
        whole, unset = self.to_dict(), Policy().to_dict()
        settings = {name: whole[name] for name in RUN_KEYS if name not in _WHERE_SET} | {"gate": self.gate.settings()}
        return settings | {name: whole[name] for name in _WHERE_SET if whole[name] != unset[name]}

    def waits(self, *, passed: bool, borderline: bool) -> bool:
        """Tell whether a version with this verdict waits for a person."""
        if self.promotion == "approve_if_borderline":
            return borderline
        return self.promotion == "approve" and passed


def policy_problems(raw: object, *, task: str | None = None) -> list[Problem]:
    """Return everything that is wrong with a policy given as JSON.

    ``task`` restricts the metric when it is known; one of :data:`TASKS`, or :data:`CLASSIFICATION`.
    """
    return _problems(raw, task=task)


def invalid(problems: list[Problem]) -> ServiceError:
    """Return the error that lists ``problems``."""
    return ServiceError("invalid_model", f"{len(problems)} problem(s) with the model or its policy", problems)


def _problems(raw: object, *, task: str | None) -> list[Problem]:
    if not isinstance(raw, Mapping):
        return [_wrong("policy", "an object", raw)]
    found = _unknown("policy", raw, asdict(Policy()))
    found += _trigger_problems(raw)
    found += _place_problems(raw)
    found += _field(
        raw,
        "policy",
        "budget_seconds",
        _number(1.0, _MAX_BUDGET_SECONDS),
        f"a number from 1 to {_MAX_BUDGET_SECONDS:.0f}",
    )
    trials = f"a whole number from 1 to {MAX_TRIALS}, or null"
    found += _field(raw, "policy", "budget_trials", _whole(1, MAX_TRIALS), trials, null=True)
    found += _field(raw, "policy", "kinds", _some_of(KINDS), f"a list of some of {', '.join(KINDS)}, each once")
    metrics = _METRICS_OF[task or "auto"]
    found += _field(raw, "policy", "metric", lambda v: v in metrics, f"one of {', '.join(metrics)}")
    found += _field(raw, "policy", "leakage", lambda v: v in LEAKAGE, f"one of {', '.join(LEAKAGE)}")
    found += _field(raw, "policy", "keep_extract", lambda v: isinstance(v, bool), "true or false")
    found += _field(raw, "policy", "promotion", lambda v: v in PROMOTIONS, f"one of {', '.join(PROMOTIONS)}")
    found += _field(raw, "policy", "seed", _whole(0, 2**31 - 1), "a whole number from 0 to 2147483647")
    for name, problems in _NESTED.items():
        if name in raw:
            found += problems(raw[name])
    return found


def _trigger_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Check when to train."""
    found = []
    for name in ("min_new_rows", "min_new_labels"):
        found += _field(raw, "policy", name, _whole(1, _MAX_ROWS), "a whole number from 1, or null", null=True)
    fraction = "a number from 0.0001 to 1000000, or null"
    found += _field(raw, "policy", "min_fraction_new", _number(1e-4, 1e6), fraction, null=True)
    length = 'seconds or a text such as "90s", "15m", "24h" or "7d", from {} to 10 years'
    found += _field(raw, "policy", "max_age", _duration(1.0), length.format("1 s") + ", or null", null=True)
    found += _field(raw, "policy", "min_interval", _duration(0.0), length.format("0"))
    cron = 'five fields such as "0 2 * * *" (minute, hour, day, month, weekday; UTC), or null'
    found += _field(raw, "policy", "cron", _is_cron, cron, null=True)
    for name in ("on_drift", "on_quality_drop"):
        found += _field(raw, "policy", name, _is_bool, "true or false")
    return found


def _place_problems(raw: Mapping[str, Any]) -> list[Problem]:
    """Check how urgently and where to train."""
    found = _field(raw, "policy", "priority", _whole(-MAX_PRIORITY, MAX_PRIORITY), "a whole number from -100 to 100")
    types = f"a list of at most {_MAX_INSTANCE_TYPES} instance types such as g5.xlarge, each once"
    found += _field(raw, "policy", "instance_types", _are_instance_types, types)
    return found + _field(raw, "policy", "spot", _is_bool, "true, false or null", null=True)


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


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_cron(value: object) -> bool:
    return isinstance(value, str) and _CRON.fullmatch(value) is not None


def _duration(least: float) -> Any:
    def fits(value: object) -> bool:
        seconds = seconds_of(value)
        return seconds is not None and least <= seconds <= _MAX_AGE_SECONDS

    return fits


def _are_instance_types(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) <= _MAX_INSTANCE_TYPES
        and all(isinstance(name, str) and _INSTANCE_TYPE.fullmatch(name) for name in value)
        and len(set(value)) == len(value)
    )


def _some_of(names: tuple[str, ...]) -> Any:
    def fits(value: object) -> bool:
        return (
            isinstance(value, list | tuple)
            and len(value) > 0
            and all(isinstance(name, str) and name in names for name in value)
            and len(set(value)) == len(value)
        )

    return fits


def _as_it_is(value: Any) -> Any:
    return value


#: How a valid value is kept, where not as it came.
_READ: Mapping[str, Any] = {
    "kinds": tuple,
    "instance_types": tuple,
    "budget_seconds": float,
    "max_age": seconds_of,
    "min_interval": seconds_of,
    "min_fraction_new": lambda value: None if value is None else float(value),
}
#: Keys that are objects of their own, each with what lists its problems.
_NESTED: Mapping[str, Any] = {"columns": column_problems, "gate": gate_problems, "monitoring": monitoring_problems}
