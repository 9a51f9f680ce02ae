"""Explaining a request, or the request of a run, with every fact that the answer rests on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard.contracts.fleet import Instance
from trainyard_scheduler.domain.crew import crew
from trainyard_scheduler.domain.explain import explain, held
from trainyard_scheduler.domain.fleet import daily_cap, pool_of
from trainyard_scheduler.use_cases.fleet import look
from trainyard_scheduler.use_cases.requests import is_uuid, request_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.launches import Launch
    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.domain.crew import Crew
    from trainyard_scheduler.domain.fleet import Cap, FleetPlan, Pool, Rules


def explained(records: Records, ident: str, *, rules: Rules, resend_seconds: float) -> Mapping[str, Any]:
    """Return the explanation of the request ``ident``, or of the request that the run ``ident`` belongs to, as JSON.

    Who may serve it follows the rule of the claim, what is launched for it that of the fleet; EC2 is not asked: what
    our ledger calls launched counts as running.

    Raises:
        ServiceError: ``unknown_request``.
    """
    situation, plan = look(records, _believed(records.launches.open()), rules)
    # Read behind the look: what is open now was open then, so the plan has its pool.
    run = records.requests.run(ident) if is_uuid(ident) else None
    request = request_of(records, ident if run is None else run.request_id)
    at = records.requests.position(request.id)
    ledger = records.launches.of_instances([w.instance_id for w in situation.workers if w.instance_id is not None])
    who = crew(request, situation, ledger, rules)
    pool = _pool(plan, request, rules)
    cap = daily_cap(situation.usage, rules) or (None if pool is None else pool.cap)
    silent = next((worker.silent for worker in situation.workers if worker.id == at.holder), None)
    answer = explain(request, at, who, pool, resend_seconds=resend_seconds, silent=silent)
    waits = request.open and not held(request, at)
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
        "spot": request.spot,
        "queue": {
            "ahead": who.ahead if waits else None,
            "waiting": at.waiting,
            "running": at.running,
            "mean_seconds": at.mean_seconds,
        },
        "message": {
            "unsent": at.unsent,
            "sends": at.send_count,
            "sent_seconds_ago": at.sent_ago,
            "next_resend_seconds": answer.next_resend,
        },
        "lease": {"holder": at.holder, "seconds_left": at.lease_left},
        "fleet": _fleet(who, pool, cap, rules),
        "attempts": [asdict(attempt) for attempt in at.attempts],
    }


def _believed(launches: Sequence[Launch]) -> list[Instance]:
    """Return the instances as they are if EC2 has not changed them since."""
    return [
        Instance(launch.instance_id, launch.id, launch.instance_type or "", "running", launch.zone, launch.market)
        for launch in launches
        if launch.instance_id is not None
    ]


def _pool(plan: FleetPlan, request: RequestRecord, rules: Rules) -> Pool | None:
    """Return the open requests that this one belongs to; None when it has ended."""
    wants = pool_of(request, rules.spec)
    pools = {(pool.spec.instance_types, pool.spec.spot): pool for pool in plan.pools}
    return pools.get((wants.instance_types, wants.spot)) if request.open else None


def _fleet(who: Crew, pool: Pool | None, cap: Cap | None, rules: Rules) -> dict[str, Any]:
    hold = None if pool is None else pool.hold
    return {
        "idle": who.idle,
        "busy": who.busy,
        "starting": who.starting,
        "unsuited": who.unsuited,
        "instances": who.instances,
        "fleet_max": rules.fleet_max,
        "refusals": 0 if hold is None else hold.failures,
        "last_refusal": None if hold is None else hold.error,
        "last_refusal_seconds_ago": None if hold is None else hold.seconds_ago,
        "next_launch_seconds": None if hold is None else hold.next_try_seconds,
        "cap": None if cap is None else asdict(cap),
    }
