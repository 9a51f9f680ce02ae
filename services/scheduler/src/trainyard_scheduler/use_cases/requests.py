"""Training requests by hand: asking and cancelling."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from trainyard.contracts.requests import COUNTED_STATES, NewRequest
from trainyard.errors import Problem, ServiceError
from trainyard.messages import TrainingRequest
from trainyard.policy import Policy, invalid, policy_problems
from trainyard_scheduler.use_cases.models import model_called

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.use_cases.answers import By


def ask(records: Records, model_name: str, settings: object, by: By) -> tuple[bool, RequestRecord]:
    """Ask for a training on all rows there are; return whether the request is new, and the request.

    A request that is open for the same rows is returned instead of a second one. ``settings`` replace those of the
    model's policy, key by key.

    Raises:
        ServiceError: ``unknown_model``, ``invalid_model`` with every problem of the settings, or ``conflict`` while
            the dataset has no rows.
    """
    model = model_called(records, model_name, lock=True)
    wanted = _settings(settings, model.policy, model.task)
    dataset = records.models.dataset(model.dataset)
    if dataset is None or dataset.last_seq == 0:
        raise ServiceError("conflict", f"dataset {model.dataset!r} has no rows yet: send some, then ask again")
    waiting = records.requests.open_for(model.id, dataset.last_seq)
    if waiting is not None:
        return False, waiting
    used = records.requests.newest(model.id, COUNTED_STATES)
    request = records.requests.add(
        NewRequest(
            model_id=model.id,
            reason="by_hand",
            upto_seq=dataset.last_seq,
            new_rows=max(dataset.last_seq - (0 if used is None else used.upto_seq), 0),
            settings=wanted,
            requested_by=by.key_id,
            trace_id=by.trace_id,
        )
    )
    if request is None:
        raise ServiceError("conflict", "another request for the same rows was made just now; ask again")
    records.outbox.post("training", TrainingRequest(request.id))
    details = {"model": model.name, "reason": "by_hand", "upto_seq": request.upto_seq}
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
        raise ServiceError("conflict", f"the request has ended already: it is {request.state!r}")
    held = any(found.id == request.id and found.lease_live for found in records.requests.open_requests())
    if held and request.cancel_requested:
        return request
    records.requests.cancel(request.id, at_once=not held)
    subject = f"request/{request.id}"
    details = {"model": request.model, "at_once": not held}
    records.journal.announce("request.cancelled", subject, details)
    records.journal.audit(actor=by.key_id, action="request.cancel", subject=subject, details=details)
    return request_of(records, request_id)


def is_uuid(text: str) -> bool:
    """Tell whether ``text`` is a UUID in its usual form."""
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False


def _settings(given: object, policy: Policy, task: str) -> Mapping[str, Any]:
    problems = policy_problems(given, task=task)
    if isinstance(given, dict) and "min_new_rows" in given:
        problems.append(Problem(None, "settings.min_new_rows", "a key of the policy only", "a setting of one request"))
    if problems or not isinstance(given, dict):
        raise invalid(problems)
    return Policy.from_dict(given, over=policy).settings()
