"""Explaining a request, or the request of a run, with every fact that the answer rests on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard_scheduler.domain.explain import ALIVE_WITHIN_SECONDS, crew, explain
from trainyard_scheduler.use_cases.requests import is_uuid, request_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.scheduling import Records


def explained(records: Records, ident: str, *, fleet_max: int, resend_seconds: float) -> Mapping[str, Any]:
    """Return the explanation of the request ``ident``, or of the request that the run ``ident`` belongs to, as JSON.

    Raises:
        ServiceError: ``unknown_request``.
    """
    run = records.requests.run(ident) if is_uuid(ident) else None
    request = request_of(records, ident if run is None else run.request_id)
    at = records.requests.position(request.id)
    failures = records.launches.failures()
    workers = records.workers.all(ALIVE_WITHIN_SECONDS)
    who = crew(request, workers, records.launches.open(), fleet_max=fleet_max)
    answer = explain(request, at, who, failures, resend_seconds=resend_seconds)
    return {
        "request_id": request.id,
        "model": request.model,
        "state": request.state,
        "code": answer.code,
        "sentence": answer.sentence,
        "blocked_by": answer.blocked_by,
        "to_do": answer.to_do,
        "expected_wait_seconds": answer.expected_wait,
        "waited_seconds": at.waited,
        "priority": request.priority,
        "instance_types": list(request.instance_types),
        "queue": {"ahead": at.ahead, "waiting": at.waiting, "running": at.running, "mean_seconds": at.mean_seconds},
        "message": {
            "unsent": at.unsent,
            "sends": at.send_count,
            "sent_seconds_ago": at.sent_ago,
            "next_resend_seconds": answer.next_resend,
        },
        "lease": {"holder": at.holder, "seconds_left": at.lease_left},
        "fleet": {
            **asdict(who),
            "refusals": failures.count,
            "last_refusal": at.refusal,
            "last_refusal_seconds_ago": at.refused_ago,
            "next_launch_seconds": answer.next_launch,
        },
        "attempts": [asdict(attempt) for attempt in at.attempts],
    }
