"""What is wrong with a policy given as JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from trainyard.errors import Problem, ServiceError
from trainyard.metric_names import METRICS
from trainyard.policy.columns import LEAKAGE, column_problems
from trainyard.policy.fields import Field, flag, length, list_of, number, one_of, or_null, problems_of, whole
from trainyard.policy.gate import gate_problems
from trainyard.policy.monitoring import monitoring_problems

#: Kinds of estimators, as the model format names them.
KINDS = ("linear", "neural_network", "tree_ensemble")
TASKS = ("auto", *METRICS)
#: What is known of task 'auto' by the label's type alone: text and categories may have two classes or more.
CLASSIFICATION = "classification"
#: A priority lies between this and its negative.
MAX_PRIORITY = 100
#: Who decides on a version that passed the gate.
PROMOTIONS = ("auto", "approve", "approve_if_borderline")
_ALL_METRICS = ("auto", *dict.fromkeys(name for names in METRICS.values() for name in names))
_METRICS_OF = {
    "auto": _ALL_METRICS,
    CLASSIFICATION: ("auto", *dict.fromkeys((*METRICS["binary"], *METRICS["multiclass"]))),
    **{task: ("auto", *names) for task, names in METRICS.items()},
}
_MAX_ROWS = 10**12
_MAX_BUDGET_SECONDS = 11 * 3600.0
#: Workers of one search.
MAX_SEARCH_WORKERS = 16
#: Trials of one search.
MAX_TRIALS = 1_000
_MAX_AGE_SECONDS = 10 * 366 * 86_400.0
_MAX_INSTANCE_TYPES = 20
_INSTANCE_TYPE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}", re.ASCII)
#: The form only: whether the fields mean a time is checked by the scheduler, which reads them with a library.
_CRON = re.compile(r"[0-9A-Za-z*,/#-]{1,100}(?: +[0-9A-Za-z*,/#-]{1,100}){4}", re.ASCII)


def policy_problems(raw: object, *, task: str | None = None) -> list[Problem]:
    """Return everything that is wrong with a policy given as JSON.

    ``task`` restricts the metric when it is known; one of :data:`TASKS`, or :data:`CLASSIFICATION`.
    """
    keys = {**_KEYS, "metric": one_of(_METRICS_OF[task or "auto"])}
    found = problems_of("policy", raw, keys)
    if isinstance(raw, Mapping):
        for name, problems in _NESTED.items():
            found += problems(raw[name]) if name in raw else []
    return found


def invalid(problems: list[Problem]) -> ServiceError:
    """Return the error that lists ``problems``."""
    return ServiceError("invalid_model", f"{len(problems)} problem(s) with the model or its policy", problems)


def _is_cron(value: Any) -> bool:
    return isinstance(value, str) and _CRON.fullmatch(value) is not None


def _is_instance_type(name: str) -> bool:
    return _INSTANCE_TYPE.fullmatch(name) is not None


def _nested(_: Any) -> bool:
    return True


#: Keys that are objects of their own, each with what lists its problems.
_NESTED: Mapping[str, Callable[[object], list[Problem]]] = {
    "columns": column_problems,
    "gate": gate_problems,
    "monitoring": monitoring_problems,
}
_KEYS: Mapping[str, Field] = {
    "min_new_rows": or_null(whole(1, _MAX_ROWS)),
    "min_new_labels": or_null(whole(1, _MAX_ROWS)),
    "min_fraction_new": or_null(number(1e-4, 1e6)),
    "max_age": or_null(length(1.0, _MAX_AGE_SECONDS, "10 years")),
    "min_interval": length(0.0, _MAX_AGE_SECONDS, "10 years"),
    "cron": or_null((_is_cron, 'five fields such as "0 2 * * *" (minute, hour, day, month, weekday; UTC)')),
    "on_drift": flag(),
    "on_quality_drop": flag(),
    "priority": whole(-MAX_PRIORITY, MAX_PRIORITY),
    "instance_types": list_of(
        _is_instance_type,
        f"a list of at most {_MAX_INSTANCE_TYPES} instance types such as g5.xlarge, each once",
        most=_MAX_INSTANCE_TYPES,
    ),
    "spot": or_null(flag()),
    "budget_seconds": number(1.0, _MAX_BUDGET_SECONDS),
    "budget_trials": or_null(whole(1, MAX_TRIALS)),
    "kinds": list_of(KINDS.__contains__, f"a list of some of {', '.join(KINDS)}, each once", least=1),
    "metric": one_of(_ALL_METRICS),
    "seed": whole(0, 2**31 - 1),
    "search_workers": whole(1, MAX_SEARCH_WORKERS),
    "keep_extract": flag(),
    "keep_copies": whole(0, 1000),
    "own_function": flag(),
    "leakage": one_of(LEAKAGE),
    "promotion": one_of(PROMOTIONS),
    **dict.fromkeys(_NESTED, (_nested, "an object")),
}
