"""Routes of the fleet and of what it costs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route
from trainyard_scheduler import fleet_views
from trainyard_scheduler.use_cases import costs
from trainyard_scheduler.use_cases.fleet import look

if TYPE_CHECKING:
    from trainyard_scheduler.web.status import Services

_DAY = {"type": "string", "format": "date"}


def routes(services: Services) -> list[Route]:
    store = services.store

    def fleet() -> Any:
        instances = services.fleet.instances()
        with store.begin() as records:
            situation, plan = look(records, instances, services.fleet_rules)
            ledger = records.launches.of_instances([instance.instance_id for instance in instances])
        return 200, fleet_views.fleet(situation, plan, services.fleet_rules, ledger)

    def costs_() -> Any:
        with store.begin() as records:
            first, last = costs.days(records, request.args.get("from"), request.args.get("upto"))
            runs, instances = costs.between(records, first, last)
        return 200, fleet_views.costs(first, last, runs, instances)

    get = partial(Route, "GET")
    return [
        get("/v1/fleet", fleet, "read", "Instances, launches, what each kind of request waits for, and limits"),
        get(
            "/v1/costs",
            costs_,
            "read",
            "What runs and instances cost, by day",
            parameters=("from", "upto"),
            shapes={"from": _DAY, "upto": _DAY},
        ),
    ]
