"""Versions fitted again from their own lineage: who asks for it, and what stands against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.requests import NewRequest
from trainyard.errors import ServiceError
from trainyard.messages import TrainingRequest
from trainyard.policy import Policy
from trainyard_scheduler.use_cases.models import model_called
from trainyard_scheduler.use_cases.requests import request_of, run_of

if TYPE_CHECKING:
    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.use_cases.answers import By

REASON = "reproduce"


def reproduce(records: Records, run_id: str, by: By) -> tuple[bool, RequestRecord]:
    """Ask for the version of a run to be fitted again; return whether the request is new, and the request.

    One that is open for the same version is returned instead of a second one.

    Raises:
        ServiceError: ``unknown_run``; ``unknown_model`` when its model is deleted; or ``conflict``: no version came of
            the run, rows of its version's snapshot are gone, or another version is being reproduced.
    """
    run = run_of(records, run_id)
    model = model_called(records, run.model, lock=True)
    version = None if run.version is None else records.versions.version(model.id, run.version)
    if version is None or version.run_id != run.id:
        raise ServiceError(
            "conflict",
            f"no version came of the run (it is {run.state}), so there is nothing to reproduce; runs with a version:"
            f" trainyard runs {model.name}",
        )
    if version.not_reproducible is not None:
        raise ServiceError(
            "conflict",
            f"version {version.version} cannot be trained again to the same bytes: {version.not_reproducible}",
        )
    waiting = records.requests.reproducing(model.id)
    if waiting is not None and waiting.reproduces == version.version:
        return False, waiting
    made_by = request_of(records, run.request_id)
    budget = {name: made_by.settings[name] for name in ("budget_seconds", "budget_trials") if name in made_by.settings}
    request = records.requests.add(
        NewRequest(
            model_id=model.id,
            reason=REASON,
            upto_seq=0,
            new_rows=0,
            settings=Policy.from_dict(budget, over=model.policy).settings(),
            requested_by=by.key_id,
            trace_id=by.trace_id,
            priority=made_by.priority,
            instance_types=tuple(made_by.instance_types),
            spot=made_by.spot,
            reproduces=version.version,
        )
    )
    if request is None:
        waits = "" if waiting is None else f" (version {waiting.reproduces}, request {waiting.id})"
        raise ServiceError("conflict", f"another version of the model is being reproduced{waits}: ask when it is done")
    records.outbox.post("training", TrainingRequest(request.id))
    details = {"model": model.name, "reason": REASON, "version": version.version}
    records.journal.announce("request.created", f"request/{request.id}", details)
    records.journal.audit(actor=by.key_id, action="request.create", subject=f"request/{request.id}", details=details)
    return True, request
