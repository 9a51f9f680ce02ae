"""Why a request waits: one code and one sentence for every situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import CAPACITY, REFUSED, Launch
from trainyard.contracts.requests import Attempt, Position, RequestRecord
from trainyard.contracts.workers import WorkerRecord
from trainyard_scheduler.domain.explain import OPEN_CODES, Crew, Explanation, crew, explain
from trainyard_scheduler.domain.fleet import Cap, Hold

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
    attempts=(),
)
HELD = replace(
    SENT, holder="host:7", lease_left=12.0, attempts=(Attempt("u", 2, "running", "host:7", None, None, 90.0),)
)
NOBODY = Crew(idle=0, busy=0, starting=0, instances=0, fleet_max=2)
IDLE = replace(NOBODY, idle=1, instances=1)
FULL = replace(NOBODY, busy=2, instances=2)
FINE = None
JUST_REFUSED = Hold(CAPACITY, "no capacity", 1, 0.0, 2.0)


@pytest.mark.parametrize(
    ("request_", "at", "who", "hold", "code", "sentence"),
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
            SENT,
            NOBODY,
            Hold(CAPACITY, "InsufficientInstanceCapacity", 3, 2.0, 6.0),
            "waiting_capacity",
            ("the cloud had no capacity at 3 tries in a row, the last 2 s ago (InsufficientInstanceCapacity);"
            " it is asked again in 6 s"),
        ),
        (
            QUEUED,
            SENT,
            replace(FULL, busy=1),
            Hold(CAPACITY, "no capacity", 1, 9.0, 0.0),
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
    request_: RequestRecord, at: Position, who: Crew, hold: Hold | None, code: str, sentence: str | None
) -> None:
    """Each situation has its code and its sentence."""
    found = explain(request_, at, who, hold, None, resend_seconds=120.0)
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
    found = explain(request_, SENT, NOBODY, FINE, None, resend_seconds=120.0)
    assert (found.code, found.sentence, found.to_do) == (request_.state, sentence, to_do)
    assert found.blocked_by == request_.error_class


def test_what_to_do() -> None:
    """Whoever can do something is told what; what only takes time has no advice."""
    late = explain(QUEUED, replace(SENT, unsent=True), IDLE, FINE, None, resend_seconds=120.0)
    young = explain(QUEUED, replace(SENT, unsent=True, waited=25.0), IDLE, FINE, None, resend_seconds=120.0)
    assert (late.to_do is not None, young.to_do) == (True, None)
    capped = explain(QUEUED, SENT, FULL, FINE, None, resend_seconds=120.0)
    assert (capped.blocked_by, "TRAINYARD_FLEET_MAX" in str(capped.to_do)) == ("TRAINYARD_FLEET_MAX is 2", True)
    refused = explain(QUEUED, SENT, NOBODY, Hold(CAPACITY, "no capacity", 1, 0.5, 1.5), None, resend_seconds=120.0)
    assert (refused.next_launch, refused.blocked_by) == (1.5, "capacity of the cloud")
    assert "instance_types" in str(refused.to_do)


@pytest.mark.parametrize(
    ("at", "who", "hold", "wait"),
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
        (
            replace(SENT, running=1),
            replace(NOBODY, busy=1, instances=1),
            JUST_REFUSED,
            30.0,
        ),
        (SENT, NOBODY, JUST_REFUSED, None),
    ],
)
def test_expected_wait(at: Position, who: Crew, hold: Hold | None, wait: float | None) -> None:
    """It is whole rounds of trainings before it, shared among all hands; unknown where nothing can be said."""
    assert explain(QUEUED, at, who, hold, None, resend_seconds=120.0).expected_wait == wait


def test_next_resend() -> None:
    """It is told from the number of sends, and never lies in the past."""

    def next_resend(at: Position) -> float | None:
        return explain(QUEUED, at, FULL, FINE, None, resend_seconds=120.0).next_resend

    assert next_resend(SENT) == 115.0
    assert next_resend(replace(SENT, send_count=3)) == 475.0
    assert next_resend(replace(SENT, sent_ago=500.0)) == 0.0
    assert next_resend(replace(SENT, unsent=True)) == 0.0
    assert next_resend(replace(SENT, sent_ago=None)) == 0.0


def test_refusals_and_limits() -> None:
    """A refusal that capacity does not mend, and a limit of the day, have codes and next steps of their own."""
    refused = explain(
        QUEUED, SENT, NOBODY, Hold(REFUSED, "UnauthorizedOperation", 2, 5.0, 90.0), None, resend_seconds=1
    )
    assert (refused.code, refused.next_launch) == ("refused", 90.0)
    assert refused.sentence == "the cloud refuses to launch instances, last 5 s ago: UnauthorizedOperation"
    assert str(refused.to_do).endswith("it is asked again in 1.5 min")
    cap = Cap("usd_per_day", 50.25, 50.0)
    capped = explain(QUEUED, SENT, NOBODY, None, cap, resend_seconds=120.0)
    assert (capped.code, capped.sentence) == ("cap_reached", "today's limit is reached: 50.25 of 50.00 usd")
    assert (capped.blocked_by, capped.expected_wait) == ("TRAINYARD_FLEET_MAX_USD_PER_DAY is 50", None)
    assert capped.to_do == "wait until midnight UTC, or raise TRAINYARD_FLEET_MAX_USD_PER_DAY"
    busy = explain(QUEUED, SENT, replace(NOBODY, busy=1, instances=1), None, cap, resend_seconds=120.0)
    assert busy.expected_wait is not None


CHECK = "see whether the scheduler's loops and the queues work: trainyard doctor, trainyard queue show"


@pytest.mark.parametrize(
    ("request_", "at", "who", "hold", "cap", "expected"),
    [
        (replace(RUNNING, cancel_requested=True), HELD, NOBODY, None, None,
         Explanation("cancelling", "", "the trainer's next heartbeat")),
        (RUNNING, replace(HELD, lease_left=-0.1, running=2), NOBODY, None, None,
         Explanation("lease_expired", "", "the trainer that held it vanished", None, 60.0, 115.0)),
        (QUEUED, replace(SENT, unsent=True, running=1), NOBODY, None, None,
         Explanation("waiting_to_be_sent", "", "the scheduler's relay or the queue service", CHECK, 30.0, 0.0)),
        (QUEUED, SENT, IDLE, None, None, Explanation("waiting_for_worker", "", None, None, 0.0, 115.0)),
        (QUEUED, replace(SENT, sent_ago=30.0), IDLE, None, None,
         Explanation("waiting_resend", "", "a message that is lost, or hidden by a trainer that died", None,
                     90.0, 90.0)),
        (QUEUED, replace(SENT, ahead=1, running=1), replace(NOBODY, starting=2, instances=2), None, None,
         Explanation("waiting_for_instance", "", "the start of an instance", None, 30.0, 115.0)),
        (QUEUED, SENT, NOBODY, None, None,
         Explanation("waiting_for_instance", "", "the start of an instance", None, None, 115.0)),
        (QUEUED, replace(SENT, ahead=1, running=1), replace(NOBODY, busy=1, instances=1), None, None,
         Explanation("waiting_turn", "", "the requests before it", None, 60.0, 115.0)),
        (QUEUED, replace(SENT, running=1), replace(NOBODY, busy=1, instances=1), JUST_REFUSED, None,
         Explanation("waiting_capacity", "", "capacity of the cloud", "allow more instance types, or on-demand ones:"
                     " instance_types and spot of the policy or the request", 30.0, 115.0, 2.0)),
        (QUEUED, SENT, NOBODY, Hold(REFUSED, "no", 2, 5.0, 90.0), None,
         Explanation("refused", "", "a permission, a quota or a setting of the cloud account", "mend what it says"
                     " (trainyard fleet names the next step); it is asked again in 1.5 min", None, 115.0, 90.0)),
        (QUEUED, replace(SENT, running=1), replace(NOBODY, busy=1, instances=1), None, Cap("hours_per_day", 9.0, 8.0),
         Explanation("cap_reached", "", "TRAINYARD_FLEET_MAX_HOURS_PER_DAY is 8",
                     "wait until midnight UTC, or raise TRAINYARD_FLEET_MAX_HOURS_PER_DAY", 30.0, 115.0)),
        (QUEUED, replace(SENT, running=2, mean_seconds=33.333), FULL, None, None,
         Explanation("cap_reached", "", "TRAINYARD_FLEET_MAX is 2",
                     "wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less", 33.3, 115.0)),
    ],
)  # fmt: skip
def test_whole_explanations(
    request_: RequestRecord, at: Position, who: Crew, hold: Hold | None, cap: Cap | None, expected: Explanation
) -> None:
    """Beside its sentence each answer says what blocks the request, what to do, and the times that are known."""
    found = explain(request_, at, who, hold, cap, resend_seconds=120.0)
    assert replace(found, sentence="") == expected


def worker(ident: str, state: str, instance_type: str | None) -> WorkerRecord:
    """Return a trainer on the instance of its name."""
    return WorkerRecord(f"{ident}:1", ident, instance_type, state, None, NOON, NOON, up=60.0, silent=1.0)


@pytest.mark.parametrize(("types", "idle", "busy"), [([], 3, 3), (["a"], 2, 2), (["b"], 2, 2), (["c"], 1, 1)])
def test_who_counts(types: list[str], idle: int, busy: int) -> None:
    """Trainers count where the request may run, or where nobody knows; instances without a word are starting."""
    workers = [worker(f"i-{state}-{kind}", state, kind) for state in ("idle", "busy") for kind in ("a", "b", None)] + [
        worker("i-gone", "stopping", "a")
    ]
    spec = LaunchSpec(("a",), spot=True)
    launches = [
        Launch(f"l-{ident}", "launched" if ident else "asked", ident, spec, 5.0, NOON)
        for ident in (None, "i-new", "i-idle-a", "i-gone")
    ]
    found = crew(replace(QUEUED, instance_types=types), workers, launches, fleet_max=7)
    assert found == Crew(idle=idle, busy=busy, starting=2, instances=4, fleet_max=7)
