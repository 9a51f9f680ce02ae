"""Models: a dataset, a label and a policy under a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.alias_object import is_name
from trainyard.cron import cron_problem
from trainyard.errors import Problem, ServiceError
from trainyard.policy import CLASSIFICATION, TASKS, Policy, invalid, policy_problems, unknown_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.registry import DatasetView, ModelRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.use_cases.answers import By

_NO_LABEL_ROLES = {"key", "event_time", "group"}
_LABEL_TYPES = {
    "auto": ("bool", "int", "float", "text", "category"),
    "binary": ("bool", "int", "text", "category"),
    "multiclass": ("int", "text", "category"),
    "regression": ("int", "float"),
}
#: What 'auto' comes to where the label's type decides it.
_AUTO_BY_TYPE = {"bool": "binary", "text": CLASSIFICATION, "category": CLASSIFICATION}


def model_called(records: Records, name: str, *, lock: bool = False) -> ModelRecord:
    """Return the model.

    Raises:
        ServiceError: ``unknown_model``.
    """
    model = records.models.get(name, lock=lock) if is_name(name) else None
    if model is None:
        raise ServiceError("unknown_model", f"there is no model {name[:80]!r}; create it with PUT /v1/models/{{name}}")
    return model


def task_for(dataset: DatasetView | None, label: str, task: str) -> str:
    """Return the task, or what the label's type alone says of task 'auto'; numbers may be classes or amounts."""
    columns = dataset.columns if dataset is not None else ()
    kind = next((column["type"] for column in columns if column["name"] == label), None)
    return _AUTO_BY_TYPE.get(str(kind), task) if task == "auto" else task


def features_for(dataset: DatasetView, label: str) -> list[str]:
    """Return the names of the columns that a model with this label may learn from."""
    return [c["name"] for c in dataset.columns if c.get("role", "feature") == "feature" and c["name"] != label]


def put_model(records: Records, name: str, body: Mapping[str, Any], by: By) -> tuple[bool, ModelRecord]:
    """Create the model, or change its policy; return whether it was created, and the model.

    Raises:
        ServiceError: ``invalid_model`` with every problem, ``unknown_dataset``, or ``conflict`` when a model of that
            name has another dataset, label or task.
    """
    _check_shapes(name, body)
    dataset = records.models.dataset(body["dataset"], hold=True) if is_name(body["dataset"]) else None
    if dataset is None:
        raise ServiceError("unknown_dataset", f"there is no dataset {body['dataset'][:80]!r}")
    existing = records.models.get(name, lock=True)
    task = body.get("task", "auto" if existing is None else existing.task)
    problems = _label_problems(dataset, body["label"], task)
    problems += policy_problems(body.get("policy", {}), task=task_for(dataset, body["label"], task))
    problems = problems or [
        *_cron_problems(body.get("policy", {})),
        *unknown_columns(body.get("policy", {}).get("columns"), features_for(dataset, body["label"]), dataset.name),
    ]
    if problems:
        raise invalid(problems)
    if existing is not None:
        return False, _changed(records, existing, body, task, by)
    policy = Policy.from_dict(body.get("policy", {}))
    if not records.models.add(name, dataset.id, label=body["label"], task=task, policy=policy):
        raise ServiceError("conflict", f"a model {name!r} was created by somebody else just now; send the PUT again")
    details = {"dataset": dataset.name, "label": body["label"], "task": task, "policy": policy.to_dict()}
    _record(records, "created", name, details, by)
    return True, model_called(records, name)


def delete_model(records: Records, name: str, by: By) -> None:
    """Delete the model: its requests are cancelled, its aliases removed, its records kept.

    Raises:
        ServiceError: ``unknown_model``.
    """
    model = model_called(records, name, lock=True)
    cancelled = records.requests.cancel_queued(model.id)
    records.models.delete(model.id)
    _record(records, "deleted", name, {"cancelled_requests": cancelled}, by)


def _changed(records: Records, model: ModelRecord, body: Mapping[str, Any], task: str, by: By) -> ModelRecord:
    asked = {"dataset": body["dataset"], "label": body["label"], "task": task}
    has = {"dataset": model.dataset, "label": model.label, "task": model.task}
    different = [f"{key} is {has[key]!r}, not {asked[key]!r}" for key in has if has[key] != asked[key]]
    if different:
        raise ServiceError(
            "conflict", f"model {model.name!r} exists and only its policy can change: {'; '.join(different)}"
        )
    policy = Policy.from_dict(body["policy"]) if "policy" in body else model.policy
    if policy != model.policy:
        records.models.change_policy(model.id, policy)
        if policy.cron != model.policy.cron:  # its times count from now on
            records.requests.cron_answered(model.id)
        _record(records, "changed", model.name, {"policy": policy.to_dict()}, by)
    return model_called(records, model.name)


def _record(records: Records, what: str, name: str, details: Mapping[str, Any], by: By) -> None:
    records.journal.announce(f"model.{what}", f"model/{name}", details)
    records.journal.audit(actor=by.key_id, action=f"model.{what}", subject=f"model/{name}", details=details)


def _check_shapes(name: str, body: Mapping[str, Any]) -> None:
    problems = []
    if not is_name(name):
        problems.append(Problem(None, "name", "a lower-case letter, then letters, digits or _, at most 48", name[:120]))
    problems += [
        Problem(None, key, "text", repr(body[key])[:120])
        for key in ("dataset", "label")
        if not isinstance(body[key], str) or not body[key]
    ]
    if body.get("task", "auto") not in TASKS:
        problems.append(Problem(None, "task", f"one of {', '.join(TASKS)}", repr(body["task"])[:120]))
    if problems:
        raise invalid([*problems, *policy_problems(body.get("policy", {}))])


def _cron_problems(policy: Mapping[str, Any]) -> list[Problem]:
    """Let the library that will read the expression have the last word on it."""
    expression = policy.get("cron")
    if expression is None:
        return []
    problem = cron_problem(expression)
    return (
        []
        if problem is None
        else [Problem(None, "policy.cron", f"a cron expression in UTC ({problem})", expression[:120])]
    )


def _label_problems(dataset: DatasetView, label: str, task: str) -> list[Problem]:
    column = next((column for column in dataset.columns if column["name"] == label), None)
    if column is None:
        names = ", ".join(column["name"] for column in dataset.columns)
        return [Problem(None, "label", f"a column of {dataset.name}: {names[:400]}", label[:120])]
    role = column.get("role", "feature")
    if role in _NO_LABEL_ROLES:
        return [Problem(None, "label", "a column that is neither key, event time nor group", f"{label} ({role})")]
    if column["type"] not in _LABEL_TYPES[task]:
        return [Problem(None, "label", f"for task {task} a column of {', '.join(_LABEL_TYPES[task])}", column["type"])]
    return []
