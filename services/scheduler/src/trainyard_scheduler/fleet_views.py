"""Fleet and costs as the JSON of the API page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_scheduler.domain.fleet import daily_cap
from trainyard_scheduler.domain.refusals import next_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from trainyard.contracts.costs import InstanceCosts, RunCosts
    from trainyard.contracts.fleet import Instance
    from trainyard.contracts.launches import Launch
    from trainyard.contracts.workers import WorkerRecord
    from trainyard_scheduler.domain.fleet import Cap, FleetPlan, Hold, Pool, Rules, Situation
    from trainyard_scheduler.domain.machines import Seat

#: The state of the fleet is the worst of its pools'.
_WORST_FIRST = ("refused", "cap_reached", "waiting_capacity", "launching", "enough")


def fleet(situation: Situation, plan: FleetPlan, rules: Rules, ledger: Sequence[Launch]) -> dict[str, Any]:
    """Return the answer of ``GET /v1/fleet``; ``ledger``: the launches of its instances, over or not."""
    seats = {seat.instance_id: seat for seat in plan.seats}
    launches = {launch.instance_id: launch for launch in ledger}
    states = {pool.state for pool in plan.pools}
    reached = daily_cap(situation.usage, rules) or next(iter(plan.caps), None)
    return {
        "state": next((state for state in _WORST_FIRST if state in states), "enough"),
        "open_requests": len(situation.requests),
        "desired": sum(pool.desired for pool in plan.pools),
        "max": rules.fleet_max,
        "cap": None if reached is None else _cap(reached),
        "today": {
            "hours": situation.usage.hours,
            "max_hours": rules.max_hours_per_day or None,
            "usd": situation.usage.usd,
            "max_usd": rules.max_usd_per_day or None,
            "unpriced_hours": situation.usage.unpriced_hours,
        },
        "pools": [_pool(pool) for pool in plan.pools],
        "instances": [_instance(i, seats.get(i.instance_id), launches) for i in situation.instances],
        "launches": [_launch(launch) for launch in situation.launches],
    }


def hold(record: Hold) -> dict[str, Any]:
    """Return why EC2 gives nothing, how long ago it said so, and when it is asked again."""
    return {
        "kind": record.kind,
        "message": record.error,
        "failures": record.failures,
        "seconds_ago": record.seconds_ago,
        "next_try_seconds": record.next_try_seconds,
        "next_step": next_step(record.kind, record.error),
    }


def costs(first: date, last: date, runs: Sequence[RunCosts], instances: Sequence[InstanceCosts]) -> dict[str, Any]:
    """Return the answer of ``GET /v1/costs``."""
    return {
        "from": first.isoformat(),
        "upto": last.isoformat(),
        "runs": [
            {
                "day": row.day.isoformat(),
                "model": row.model,
                "instance_type": row.instance_type,
                "runs": row.runs,
                "seconds": row.seconds,
                "cost_usd": row.usd,
                "unpriced_runs": row.unpriced_runs,
            }
            for row in runs
        ],
        "instances": [
            {
                "day": row.day.isoformat(),
                "instance_type": row.instance_type,
                "market": row.market,
                "instances": row.instances,
                "hours": row.hours,
                "cost_usd": row.usd,
            }
            for row in instances
        ],
        "total": {
            "runs_usd": _sum(row.usd for row in runs),
            "unpriced_runs": sum(row.unpriced_runs for row in runs),
            "instances_usd": _sum(row.usd for row in instances),
            "hours": sum(row.hours for row in instances),
        },
    }


def _sum(amounts: Any) -> float | None:
    """Return the sum of what is known; None when there are amounts and none is known. Nothing costs 0."""
    every = list(amounts)
    known = [amount for amount in every if amount is not None]
    return sum(known, 0.0) if known or not every else None


def _cap(record: Cap) -> dict[str, Any]:
    return {"name": record.name, "used": record.used, "limit": record.limit}


def _pool(record: Pool) -> dict[str, Any]:
    return {
        "instance_types": list(record.spec.instance_types),
        "spot": record.spec.spot,
        "on_demand": record.spec.on_demand,
        "open": record.open,
        "busy": record.busy,
        "available": record.available,
        "desired": record.desired,
        "state": record.state,
        "mean_seconds": record.mean_seconds,
        "error": None if record.hold is None else hold(record.hold),
        "cap": None if record.cap is None else _cap(record.cap),
    }


def _instance(record: Instance, seat: Seat | None, launches: Mapping[str | None, Launch]) -> dict[str, Any]:
    launch = launches.get(record.instance_id)
    # EC2 soon forgets the market of an instance that is over; the ledger does not.
    return {
        "instance_id": record.instance_id,
        "launch_id": record.launch_id,
        "state": record.state,
        "instance_type": record.instance_type,
        "market": record.market if launch is None else launch.market or record.market,
        "zone": record.zone,
        "usd_per_hour": None if launch is None else launch.usd_per_hour,
        "age_seconds": launch.age if launch is not None and launch.state == "launched" else None,
        "duty": None if seat is None else seat.duty,
        "worker": None if seat is None or seat.worker is None else _worker(seat.worker),
    }


def _worker(record: WorkerRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state,
        "request_id": record.request_id,
        "silent_seconds": record.silent,
    }


def _launch(record: Launch) -> dict[str, Any]:
    return {
        "launch_id": record.id,
        "state": record.state,
        "instance_id": record.instance_id,
        "instance_types": list(record.spec.instance_types),
        "spot": record.spec.spot,
        "on_demand": record.spec.on_demand,
        "age_seconds": record.age,
        "created_at": record.created_at.isoformat(),
    }
