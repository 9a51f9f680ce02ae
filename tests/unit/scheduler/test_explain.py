"""Why a request waits: one code and one sentence for every situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import Failures, Launch
from trainyard.contracts.requests import Attempt, Position, RequestRecord
from trainyard.contracts.workers import WorkerRecord
from trainyard_scheduler.domain.explain import OPEN_CODES, Crew, crew, explain, launch_pause

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUED = RequestRecord(
    id="r",
    model="late",
    reason="by_hand",
    state="queued",
    upto_seq=5,
    new_rows=5,
    settings={},
    priority=0,
    instance_types=[],
    spot=None,
    attempt=0,
    cancel_requested=False,
    error_class=None,
    error=None,
    outcome=None,
    version=None,
    created_at=NOON,
    started_at=None,
    finished_at=None,
)
RUNNING = replace(QUEUED, state="running", attempt=2)
SENT = Position(
    waited=40.0,
    ahead=0,
    waiting=1,
    running=0,
    holder=None,
    lease_left=None,
    send_count=1,
    sent_ago=5.0,
    unsent=False,
    mean_seconds=30.0,
    refusal=None,
    refused_ago=None,
    attempts=(),
)
HELD = replace(
    SENT, holder="host:7", lease_left=12.0, attempts=(Attempt("u", 2, "running", "host:7", None, None, 90.0),)
)
NOBODY = Crew(idle=0, busy=0, starting=0, instances=0, fleet_max=2)
IDLE = replace(NOBODY, idle=1, instances=1)
FULL = replace(NOBODY, busy=2, instances=2)
FINE = Failures(0, 0.0)


@pytest.mark.parametrize(
    ("request_", "at", "who", "failures", "code", "sentence"),
    [
        (RUNNING, HELD, NOBODY, FINE, "held_by_worker", "host:7 works on it (attempt 2, for 1.5 min)"),
        (RUNNING, replace(HELD, attempts=()), IDLE, FINE, "held_by_worker", "host:7 works on it (attempt 2, for 0 s)"),
        (RUNNING, replace(HELD, lease_left=0.0), IDLE, FINE, "held_by_worker", None),
        (
            replace(RUNNING, cancel_requested=True),
            HELD,
            NOBODY,
            FINE,
            "cancelling",
            "host:7 was asked to stop and does so with its next heartbeat",
        ),
        (
            RUNNING,
            replace(HELD, lease_left=-0.1),
            IDLE,
            FINE,
            "lease_expired",
            "host:7 has not been heard of since its lease ran out; another trainer takes over",
        ),
        (
            RUNNING,
            replace(HELD, lease_left=None, holder=None),
            IDLE,
            FINE,
            "lease_expired",
            "its trainer has not been heard of since its lease ran out; another trainer takes over",
        ),
        (
            QUEUED,
            replace(SENT, sent_ago=None),
            IDLE,
            FINE,
            "waiting_to_be_sent",
            "its message has not gone to the training queue yet",
        ),
        (QUEUED, replace(SENT, unsent=True), IDLE, FINE, "waiting_to_be_sent", None),
        (QUEUED, SENT, IDLE, FINE, "waiting_for_worker", "1 trainer idle: one takes it within seconds"),
        (QUEUED, replace(SENT, sent_ago=25.0), replace(IDLE, idle=2), FINE, "waiting_for_worker",
         "2 trainers idle: one takes it within seconds"),
        (
            QUEUED,
            replace(SENT, sent_ago=30.0),
            IDLE,
            FINE,
            "waiting_resend",
            "its message was sent 30 s ago, a trainer is idle and nobody took it: it is sent again in 1.5 min",
        ),
        (
            QUEUED,
            replace(SENT, ahead=1),
            replace(IDLE, starting=2, instances=3, fleet_max=5),
            FINE,
            "waiting_for_instance",
            "2 instances starting; 1 more urgent request before it",
        ),
        (
            QUEUED,
            replace(SENT, refusal="InsufficientInstanceCapacity"),
            NOBODY,
            Failures(3, 2.0),
            "waiting_capacity",
            ("the cloud had no capacity at 3 tries in a row, the last 2 s ago (InsufficientInstanceCapacity);"
            " it is asked again in 6 s"),
        ),
        (
            QUEUED,
            SENT,
            replace(FULL, busy=1),
            Failures(1, 9.0),
            "waiting_capacity",
            "the cloud had no capacity at 1 try in a row, the last 9 s ago (no capacity); it is asked again now",
        ),
        (
            QUEUED,
            replace(SENT, ahead=2),
            FULL,
            FINE,
            "cap_reached",
            "all 2 allowed instances at work; 2 more urgent requests before it",
        ),
        (
            QUEUED,
            SENT,
            replace(NOBODY, fleet_max=0),
            FINE,
            "cap_reached",
            "no instance is allowed; 0 more urgent requests before it",
        ),
        (
            QUEUED,
            SENT,
            NOBODY,
            FINE,
            "waiting_for_instance",
            "no instance runs yet; the scheduler asks for one within seconds; 0 more urgent requests before it",
        ),
        (
            QUEUED,
            replace(SENT, ahead=1, running=1),
            replace(FULL, busy=1, instances=1),
            FINE,
            "waiting_turn",
            "1 more urgent request before it; 1 of 1 instance busy",
        ),
    ],
)  # fmt: skip
def test_open_requests(
    request_: RequestRecord, at: Position, who: Crew, failures: Failures, code: str, sentence: str | None
) -> None:
    """Each situation has its code and its sentence."""
    found = explain(request_, at, who, failures, resend_seconds=120.0)
    assert found.code == code
    assert found.code in OPEN_CODES
    assert sentence in {None, found.sentence}


@pytest.mark.parametrize(
    ("request_", "sentence", "to_do"),
    [
        (replace(QUEUED, state="done", outcome="version 3 came of it"), "it is done: version 3 came of it", None),
        (
            replace(QUEUED, state="failed", attempt=3, error_class="oom", outcome="out of memory"),
            "it failed after 3 attempts: out of memory",
            "mend what the error says, then ask again: trainyard train late",
        ),
        (replace(QUEUED, state="failed", attempt=1), "it failed after 1 attempt", ("mend what the error says, then ask"
         " again: trainyard train late")),
        (replace(QUEUED, state="cancelled", outcome="on request"), "it was cancelled: on request", None),
        (
            replace(QUEUED, state="blocked_by_data", outcome="no new rows"),
            "its rows allow no version worth having: no new rows",
            "send the rows that are missing; the next request uses them",
        ),
    ],
)  # fmt: skip
def test_ended_requests(request_: RequestRecord, sentence: str, to_do: str | None) -> None:
    """The code of a request that has ended is its state, and its words are told."""
    found = explain(request_, SENT, NOBODY, FINE, resend_seconds=120.0)
    assert (found.code, found.sentence, found.to_do) == (request_.state, sentence, to_do)
    assert found.blocked_by == request_.error_class


def test_what_to_do() -> None:
    """Whoever can do something is told what; what only takes time has no advice."""
    late = explain(QUEUED, replace(SENT, unsent=True), IDLE, FINE, resend_seconds=120.0)
    young = explain(QUEUED, replace(SENT, unsent=True, waited=25.0), IDLE, FINE, resend_seconds=120.0)
    assert (late.to_do is not None, young.to_do) == (True, None)
    capped = explain(QUEUED, SENT, FULL, FINE, resend_seconds=120.0)
    assert (capped.blocked_by, "TRAINYARD_FLEET_MAX" in str(capped.to_do)) == ("TRAINYARD_FLEET_MAX is 2", True)
    refused = explain(QUEUED, SENT, NOBODY, Failures(1, 0.5), resend_seconds=120.0)
    assert (refused.next_launch, refused.blocked_by) == (1.5, "capacity of the cloud")
    assert "instance_types" in str(refused.to_do)


@pytest.mark.parametrize(
    ("at", "who", "failures", "wait"),
    [
        (replace(SENT, ahead=5, running=2), FULL, FINE, 90.0),
        (replace(SENT, ahead=0, running=2), FULL, FINE, 30.0),
        (replace(SENT, ahead=0, running=1), FULL, FINE, 0.0),
        (replace(SENT, mean_seconds=None), FULL, FINE, None),
        (SENT, replace(NOBODY, fleet_max=0), FINE, None),
        (SENT, NOBODY, FINE, None),
        (SENT, IDLE, FINE, 0.0),
        (replace(SENT, ahead=3, running=1), replace(IDLE, busy=1, instances=2), FINE, 30.0),
        (replace(SENT, sent_ago=100.0), IDLE, FINE, 20.0),
        (replace(SENT, ahead=1, running=1), replace(NOBODY, starting=2, instances=2), FINE, 30.0),
        (replace(SENT, running=1), replace(NOBODY, busy=1, instances=1), Failures(1, 0.0), 30.0),
        (SENT, NOBODY, Failures(1, 0.0), None),
    ],
)
def test_expected_wait(at: Position, who: Crew, failures: Failures, wait: float | None) -> None:
    """It is whole rounds of trainings before it, shared among all hands; unknown where nothing can be said."""
    assert explain(QUEUED, at, who, failures, resend_seconds=120.0).expected_wait == wait


def test_next_resend() -> None:
    """It is told from the number of sends, and never lies in the past."""

    def next_resend(at: Position) -> float | None:
        return explain(QUEUED, at, FULL, FINE, resend_seconds=120.0).next_resend

    assert next_resend(SENT) == 115.0
    assert next_resend(replace(SENT, send_count=3)) == 475.0
    assert next_resend(replace(SENT, sent_ago=500.0)) == 0.0
    assert next_resend(replace(SENT, unsent=True)) == 0.0
    assert next_resend(replace(SENT, sent_ago=None)) == 0.0


def test_launch_pause() -> None:
    """The fleet waits 2, 4, 8 ... 60 s after refusals; nothing is awaited without one."""
    assert launch_pause(FINE) is None
    assert launch_pause(Failures(1, 0.5)) == 1.5
    assert launch_pause(Failures(40, 10.0)) == 50.0
    assert launch_pause(Failures(1, 10.0)) == 0.0


def test_crew() -> None:
    """Who says that it is idle or busy counts, if its type suits; an instance is starting until its trainer speaks."""

    def worker(state: str, instance: str, kind: str | None = "c7i.large") -> WorkerRecord:
        return WorkerRecord(f"{instance}:1", instance, kind, state, None, NOON, NOON, 9.0, 1.0)

    def launch(state: str, instance: str | None) -> Launch:
        return Launch(str(instance), state, instance, LaunchSpec(("c7i.large",), spot=True), 1.0, NOON)

    workers = [
        worker("idle", "i-1"),
        worker("busy", "i-2"),
        worker("stopping", "i-3"),
        worker("ended", "i-4"),
        worker("idle", "i-5", "g5.xlarge"),
        worker("busy", "i-6", None),
    ]
    launches = [launch("launched", f"i-{n}") for n in (1, 2, 3, 7)] + [launch("asked", None)]
    assert crew(QUEUED, workers, launches, fleet_max=9) == Crew(idle=2, busy=2, starting=2, instances=5, fleet_max=9)
    picky = replace(QUEUED, instance_types=["g5.xlarge"])
    assert crew(picky, workers, launches, fleet_max=9) == Crew(idle=1, busy=1, starting=2, instances=5, fleet_max=9)
