"""Training requests by hand: asking and cancelling."""

from __future__ import annotations

import uuid
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainyard.contracts.requests import NewRequest
from trainyard.errors import Problem, ServiceError
from trainyard.messages import TrainingRequest
from trainyard.policy import RUN_KEYS, Policy, policy_problems, unknown_columns
from trainyard_scheduler.use_cases.models import features_for, model_called, task_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.registry import DatasetView, ModelRecord
    from trainyard.contracts.requests import RequestRecord, RunRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.use_cases.answers import By


#: What a request may be given besides its settings; what it lacks comes from the policy.
PLACE_KEYS = ("priority", "instance_types", "spot")
#: An outcome may be a whole traceback; an error message is a sentence.
_MOST_OUTCOME_CHARS = 200
_NO_PLACE: Mapping[str, Any] = MappingProxyType({})


def ask(
    records: Records, model_name: str, settings: object, by: By, *, place: Mapping[str, Any] = _NO_PLACE
) -> tuple[bool, RequestRecord]:
    """Ask for a training on all rows there are; return whether the request is new, and the request.

    A request that is open for the same rows is returned instead of a second one. ``settings`` and ``place`` (some of
    :data:`PLACE_KEYS`) replace those of the model's policy, key by key.

    Raises:
        ServiceError: ``unknown_model``, ``invalid_model`` with every problem of the settings, or ``conflict`` while
            the dataset has no rows.
    """
    model = model_called(records, model_name, lock=True)
    dataset = None
    if isinstance(settings, dict) and {"metric", "columns"} & set(settings):  # what else is given needs no look at it
        dataset = records.models.dataset(model.dataset)
    wanted = _wanted(settings, place, model, dataset)
    standing = records.requests.standing(model.id, labels=False)
    if standing.last_seq == 0:
        raise ServiceError("conflict", f"dataset {model.dataset!r} has no rows yet: send some, then ask again")
    waiting = records.requests.open_for(model.id, standing.last_seq)
    if waiting is not None:
        return False, waiting
    request = records.requests.add(
        NewRequest(
            model_id=model.id,
            reason="by_hand",
            upto_seq=standing.last_seq,
            new_rows=max(standing.last_seq - standing.used_seq, 0),
            settings=wanted.settings(),
            requested_by=by.key_id,
            trace_id=by.trace_id,
            priority=wanted.priority,
            instance_types=wanted.instance_types,
            spot=wanted.spot,
        )
    )
    if request is None:
        raise ServiceError("conflict", "another request for the same rows was made just now; ask again")
    records.outbox.post("training", TrainingRequest(request.id))
    details = {"model": model.name, "reason": "by_hand", "upto_seq": request.upto_seq, "priority": request.priority}
    records.journal.announce("request.created", f"request/{request.id}", details)
    records.journal.audit(actor=by.key_id, action="request.create", subject=f"request/{request.id}", details=details)
    return True, request


def request_of(records: Records, request_id: str, *, lock: bool = False) -> RequestRecord:
    """Return the request.

    Raises:
        ServiceError: ``unknown_request``.
    """
    found = records.requests.get(request_id, lock=lock) if is_uuid(request_id) else None
    if found is None:
        raise ServiceError("unknown_request", f"there is no training request {request_id[:80]!r}")
    return found


def run_of(records: Records, run_id: str) -> RunRecord:
    """Return the run with its trials.

    Raises:
        ServiceError: ``unknown_run``.
    """
    found = records.requests.run(run_id) if is_uuid(run_id) else None
    if found is None:
        raise ServiceError("unknown_run", f"there is no run {run_id[:80]!r}")
    return found


def cancel(records: Records, request_id: str, by: By) -> RequestRecord:
    """Cancel a request: at once when no trainer holds it, else the trainer is asked to stop. Twice is once.

    Asked again after that trainer vanished, it ends the request.

    Raises:
        ServiceError: ``unknown_request``, or ``conflict`` when it has ended already.
    """
    request = request_of(records, request_id, lock=True)
    if request.state == "cancelled":
        return request
    if not request.open:
        raise ServiceError("conflict", _why_not_cancelled(request))
    lease_left = records.requests.position(request.id).lease_left
    held = request.state == "running" and lease_left is not None and lease_left >= 0
    if held and request.cancel_requested:
        return request
    why = "cancelled on request, while no trainer held it"
    records.requests.cancel(request.id, at_once=not held, why=why)
    subject = f"request/{request.id}"
    details = {"model": request.model, "at_once": not held}
    records.journal.announce("request.cancelled", subject, details)
    records.journal.audit(actor=by.key_id, action="request.cancel", subject=subject, details=details)
    return request_of(records, request_id)


def _why_not_cancelled(request: RequestRecord) -> str:
    """Say what became of a request that has ended, and what can be done instead."""
    why = f" ({' '.join(request.outcome.split())[:_MOST_OUTCOME_CHARS]})" if request.outcome else ""
    instead = "" if request.state == "done" else "; to have it trained after all, ask for a new one"
    return f"the request has ended already: it is {request.state}{why}; there is nothing to cancel{instead}"


def is_uuid(text: str) -> bool:
    """Tell whether ``text`` is a UUID in its usual form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _wanted(settings: object, place: Mapping[str, Any], model: ModelRecord, dataset: DatasetView | None) -> Policy:
    """Return the policy with what this one request wants otherwise."""
    task = task_for(dataset, model.label, model.task)
    problems = [*_settings_problems(settings, task), *_called("", policy_problems(place))]
    if not problems and isinstance(settings, dict) and dataset is not None:
        features = features_for(dataset, model.label)
        problems = _called("settings", unknown_columns(settings.get("columns"), features, dataset.name))
    if problems or not isinstance(settings, dict):
        raise ServiceError("invalid_model", f"{len(problems)} problem(s) with what the request asks for", problems)
    return Policy.from_dict({**settings, **place}, over=model.policy)


def _settings_problems(settings: object, task: str) -> list[Problem]:
    """Return everything that is wrong with a request's settings, each under its name in the request."""
    if not isinstance(settings, dict):
        return _called("settings", policy_problems(settings))
    allowed, policy_keys = f"one of the keys {', '.join(RUN_KEYS)}", Policy().to_dict()
    unknown = [
        Problem(
            None,
            f"settings.{str(name)[:80]}",
            allowed,
            "a key of the policy only" if name in policy_keys else "an unknown key",
        )
        for name in settings
        if name not in RUN_KEYS
    ]
    known = {name: value for name, value in settings.items() if name in RUN_KEYS}
    return _called("settings", policy_problems(known, task=task)) + unknown


def _called(where: str, problems: list[Problem]) -> list[Problem]:
    """Name the problems of a policy as what the caller sent them in."""
    return [
        replace(problem, column=(where + str(problem.column).removeprefix("policy")).removeprefix("."))
        for problem in problems
    ]
