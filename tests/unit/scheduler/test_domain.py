"""The scheduler's decisions: what to send again, who should run, who is woken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.launches import Failures, Launch
from trainyard.contracts.requests import OpenRequest
from trainyard_scheduler.domain.fleet import FleetPlan, plan_fleet
from trainyard_scheduler.domain.resending import resend_reason
from trainyard_scheduler.domain.wakes import woken_by

QUEUED = OpenRequest(
    id="r",
    state="queued",
    lease_live=False,
    instance_id=None,
    sent_ago=5.0,
    sent_at=1000.0,
    lease_ended_ago=None,
    send_count=1,
)
LOST = replace(QUEUED, state="running", lease_ended_ago=1.0, sent_ago=50.0)
HELD = replace(QUEUED, state="running", lease_live=True, instance_id="i-1", lease_ended_ago=-30.0)
SPEC = LaunchSpec(("c7i.large",), spot=True)
ASKED = Launch("a", "asked", None, SPEC, 1.0, datetime(2026, 1, 1, tzinfo=UTC))
LAUNCHED = Launch("b", "launched", "i-1", SPEC, 60.0, datetime(2026, 1, 1, tzinfo=UTC))
ALIVE = Instance("i-1", "b", "c7i.large", "running")
NONE = Failures(0, 0.0)


@pytest.mark.parametrize(
    ("request_", "queue_made_at", "reason"),
    [
        (QUEUED, None, None),
        (HELD, 2000.0, None),
        (replace(QUEUED, sent_ago=60.0), None, "nobody took it"),
        (replace(QUEUED, sent_ago=60.0, send_count=2), None, None),
        (replace(QUEUED, sent_ago=120.0, send_count=2), None, "nobody took it"),
        (replace(QUEUED, sent_ago=3599.0, send_count=99), None, None),
        (replace(QUEUED, sent_ago=3600.0, send_count=99), None, "nobody took it"),
        (replace(QUEUED, sent_ago=None, sent_at=None), None, "it was never sent"),
        (QUEUED, 1000.0, "the queue was made anew since"),
        (QUEUED, 998.0, None),
        (LOST, None, "its trainer's lease ran out"),
        (replace(LOST, sent_ago=0.5), None, None),
    ],
)
def test_resend(request_: OpenRequest, queue_made_at: float | None, reason: str | None) -> None:
    """What nobody holds is sent again: at once after a lost lease or queue, else after 60, 120 ... 3600 s."""
    assert resend_reason(request_, resend_seconds=60.0, queue_made_at=queue_made_at) == reason


@pytest.mark.parametrize(
    ("requests", "launches", "instances", "failures", "plan"),
    [
        ([], [], [], NONE, FleetPlan((), (), 0)),
        ([QUEUED], [], [], NONE, FleetPlan((), (), 1)),
        ([QUEUED] * 5, [], [], NONE, FleetPlan((), (), 3)),
        ([LOST], [], [], NONE, FleetPlan((), (), 1)),
        ([QUEUED], [ASKED], [], NONE, FleetPlan((), ("a",), 0)),
        ([QUEUED], [ASKED], [replace(ALIVE, launch_id="a")], NONE, FleetPlan((), ("a",), 0)),
        ([QUEUED], [LAUNCHED], [ALIVE], NONE, FleetPlan((), (), 0)),
        ([QUEUED, HELD], [LAUNCHED], [ALIVE], NONE, FleetPlan((), (), 1)),
        ([HELD], [LAUNCHED], [ALIVE], NONE, FleetPlan((), (), 0)),
        ([QUEUED], [LAUNCHED], [], NONE, FleetPlan(("b",), (), 1)),
        ([QUEUED], [replace(LAUNCHED, age=1.0)], [], NONE, FleetPlan((), (), 0)),
        ([QUEUED], [replace(LAUNCHED, age=1.0)], [replace(ALIVE, state="terminated")], NONE, FleetPlan(("b",), (), 1)),
        ([], [LAUNCHED], [], NONE, FleetPlan(("b",), (), 0)),
        ([QUEUED], [], [], Failures(2, 3.9), FleetPlan((), (), 0)),
        ([QUEUED], [], [], Failures(2, 4.0), FleetPlan((), (), 1)),
        ([QUEUED], [], [], Failures(99, 60.0), FleetPlan((), (), 1)),
    ],
)  # fmt: skip
def test_fleet(
    requests: list[OpenRequest],
    launches: list[Launch],
    instances: list[Instance],
    failures: Failures,
    plan: FleetPlan,
) -> None:
    """One instance for each waiting request besides the busy ones, no more than the most, none after fresh failures."""
    assert plan_fleet(requests, launches, instances, fleet_max=3, failures=failures) == plan


@pytest.mark.parametrize(
    ("kind", "loops"),
    [
        ("outbox", ("relay",)),
        ("batch.committed", ()),
        ("request.created", ("fleet",)),
        ("alias.moved", ("publisher", "fleet")),
        ("key.revoked", ("publisher", "fleet")),
        ("version.published", ("publisher", "fleet")),
    ],
)
def test_wake_ups(kind: str, loops: tuple[str, ...]) -> None:
    """An event wakes whom it concerns; one that nobody knows wakes rather too many."""
    assert woken_by(kind) == loops
