"""The number of requests that an explanation sees before one is the number that the claim gives out before it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from tests.integration.scheduler.loops import BY

from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.workers import PostgresAttendance
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    import sqlalchemy as sa
    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.postgres.scheduling import PostgresStore

SPEC = LaunchSpec(("a.x", "b.x"), spot=True)
RULES = Rules(SPEC, fleet_max=2)
MODEL = {"dataset": "flights", "label": "late", "policy": {"min_new_rows": None}}
REQUESTS = 24


def _ask_at_random(store: PostgresStore, warehouse: Warehouse, seed: int) -> list[str]:
    """Ask for one request of each of many models, each with its own urgency, types and market; return the ids."""
    chance = random.Random(seed)  # noqa: S311 - the same requests at every run
    warehouse.add(10)
    ids = []
    for number in range(REQUESTS):
        place = {
            "priority": chance.choice((-1, 0, 0, 5)),
            "instance_types": chance.choice(([], [], ["a.x"], ["b.x"], ["b.x", "c.x"], ["c.x"])),
            "spot": chance.choice((None, True, False)),
        }
        with store.begin() as records:
            put_model(records, f"m{number}", MODEL, BY)
            ids.append(ask(records, f"m{number}", {}, BY, place=place)[1].id)
    return ids


@pytest.mark.parametrize(("market", "kind"), [("spot", "a.x"), ("on-demand", "b.x"), (None, "b.x"), (None, None)])
def test_as_the_claim_has_it(
    engine: sa.Engine, store: PostgresStore, warehouse: Warehouse, market: str | None, kind: str | None
) -> None:
    """For the one trainer there is, whatever it runs on: what suits it is taken in the order that was told."""
    ids = _ask_at_random(store, warehouse, seed=len(f"{market}{kind}"))
    if market is not None:
        with store.begin() as records:
            launch = records.launches.ask(SPEC, "a request waits")
            records.launches.launched(launch, Instance("i-1", launch, kind or "", "running", None, market), 1.0)
    place = {"instance_id": "i-1" if kind else None, "instance_type": kind}
    PostgresAttendance(engine).seen("host:1", place["instance_id"], kind, "idle", None)
    with store.begin() as records:
        told = {ident: explained(records, ident, rules=RULES, resend_seconds=60.0) for ident in ids}
    suited = {ident: found["queue"]["ahead"] for ident, found in told.items() if found["fleet"]["idle"]}
    assert all(found["fleet"]["unsuited"] == 1 - found["fleet"]["idle"] for found in told.values())
    runs, taken = PostgresRuns(engine), []
    while (claim := runs.claim(ids[0], worker="host:1", lease_seconds=60.0, **place)).job is not None:
        taken.append(claim.job.lease.request_id)
    assert [suited[ident] for ident in taken] == list(range(len(suited)))
    assert len(suited) > REQUESTS / 4
