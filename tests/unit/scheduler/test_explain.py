"""Why a request waits: one code and one sentence for every situation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import CAPACITY, REFUSED
from trainyard.contracts.requests import Attempt, Position, RequestRecord
from trainyard_scheduler.domain.crew import Crew
from trainyard_scheduler.domain.explain import OPEN_CODES, Explanation, explain, held
from trainyard_scheduler.domain.fleet import Cap, Hold, Pool

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
    created_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    started_at=None,
    finished_at=None,
)
PICKY = replace(QUEUED, instance_types=["g5.xlarge", "g5.2xlarge"], spot=False)
RUNNING = replace(QUEUED, state="running", attempt=2)
SENT = Position(
    waited=40.0,
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
WORK = Attempt("u", 2, "running", "host:7", None, None, 90.0)
HELD = replace(SENT, holder="host:7", lease_left=12.0, attempts=(WORK,))
LOST = replace(HELD, lease_left=-3.0, sent_ago=100.0)
NOBODY = Crew()
IDLE = Crew(idle=1, instances=1)
BUSY = Crew(busy=1, instances=1)
FULL = Crew(busy=2, instances=2)
ENOUGH = Pool(LaunchSpec(("c7i.large",), spot=True), 1, 0, 1, 1, 0, "enough", 30.0)
LAUNCHING = replace(ENOUGH, available=0, new=1, state="launching")
NONE_LEFT = Hold(CAPACITY, "InsufficientInstanceCapacity", 3, 2.0, 6.0)
DENIED = Hold(REFUSED, "UnauthorizedOperation", 2, 5.0, 90.0)
NO_CAPACITY = replace(ENOUGH, state="waiting_capacity", hold=NONE_LEFT)
BARRED = replace(ENOUGH, state="refused", hold=DENIED)
CROWDED = replace(ENOUGH, state="cap_reached", cap=Cap("instances", 2.0, 2.0))
POOR = replace(ENOUGH, state="cap_reached", cap=Cap("usd_per_day", 50.25, 50.0))
START = "the start of an instance"
CAPACITY_WORDS = (
    "the cloud had no capacity at 3 tries in a row, the last 2 s ago (InsufficientInstanceCapacity);"
    " it is asked again in 6 s"
)
MISFIT = "; 1 other trainer does not suit it: it wants g5.xlarge or g5.2xlarge, on-demand capacity"
CHECK = "see whether the scheduler and the queues work: trainyard doctor, trainyard queue show"


def told(request: RequestRecord, at: Position, who: Crew, pool: Pool | None) -> Explanation:
    """Explain, where messages are sent again after 120 s."""
    return explain(request, at, who, pool, resend_seconds=120.0)


def works(for_: str, left: str) -> str:
    """What is said of a request in good hands."""
    after = f"were it to vanish, another trainer would take over in {left}"
    return f"host:7 works on it (attempt 2 of 3, for {for_}); {after}"


# --- in somebody's hands, or in nobody's any more ---


@pytest.mark.parametrize(
    ("request_", "at", "sentence", "blocked_by"),
    [
        (RUNNING, HELD, works("1.5 min", "12 s"), None),
        (RUNNING, replace(HELD, attempts=(), lease_left=0.0),
         works("0 s", "0 s"), None),
        (RUNNING, replace(HELD, attempts=(replace(WORK, seconds=1.0), WORK)),
         works("1.5 min", "12 s"), None),
        (replace(RUNNING, cancel_requested=True), HELD,
         "host:7 was asked to stop and does so when it next reports, within seconds",
         "the trainer's next report"),
    ],
)  # fmt: skip
def test_held_requests(request_: RequestRecord, at: Position, sentence: str, blocked_by: str | None) -> None:
    """Who holds it, since when and for how long yet, whatever else is idle; and whether that ends soon."""
    code = "cancelling" if request_.cancel_requested else "held_by_worker"
    assert told(request_, at, IDLE, ENOUGH) == Explanation(code, sentence, blocked_by)


def test_a_silent_holder() -> None:
    """A trainer that has not spoken for half a minute is said to be silent; its lease decides what follows."""
    words = "host:7 holds it (attempt 2 of 3) but has been silent for 31 s; if it stays so, "
    found = explain(RUNNING, HELD, NOBODY, ENOUGH, resend_seconds=120.0, silent=31.0)
    over = words + "another trainer takes the request over in 12 s"
    assert found == Explanation("held_by_worker", over, "a trainer that is silent")
    last = explain(replace(RUNNING, attempt=3), HELD, NOBODY, ENOUGH, resend_seconds=120.0, silent=31.0)
    failed = words.replace("attempt 2", "attempt 3") + "the request ends as failed in 12 s"
    assert last == Explanation("held_by_worker", failed, "a trainer that is silent")
    asked = replace(RUNNING, cancel_requested=True)
    found = explain(asked, HELD, NOBODY, ENOUGH, resend_seconds=120.0, silent=31.0)
    ended = words + "the request ends as it was asked to in 12 s"
    assert found == Explanation("cancelling", ended, "a trainer that is silent")
    found = explain(RUNNING, HELD, NOBODY, ENOUGH, resend_seconds=120.0, silent=30.0)
    assert found.sentence == works("1.5 min", "12 s")


def test_who_holds() -> None:
    """A request is held while its lease lasts, and no longer; a queued one never is."""
    assert held(RUNNING, HELD)
    assert held(RUNNING, replace(HELD, lease_left=0.0))
    assert not held(RUNNING, LOST)
    assert not held(RUNNING, replace(HELD, lease_left=None))
    assert not held(QUEUED, HELD)


LOST_MESSAGE = "a message that is lost, or hidden by a trainer that died"
LOST_WORDS = "host:7 has vanished: its claim on the request ran out 3 s ago; "


@pytest.mark.parametrize(
    ("request_", "at", "who", "pool", "expected"),
    [
        (RUNNING, LOST, IDLE, ENOUGH,
         Explanation("lease_expired", LOST_WORDS + "1 trainer is idle: one takes it over within seconds",
                     "the trainer that held it vanished", None, 0.0, 0.0)),
        (RUNNING, replace(LOST, holder=None, lease_left=None), IDLE, ENOUGH,
         Explanation("lease_expired", "its trainer has vanished: its claim on the request ran out; its message was sent"
                     " 1.7 min ago, a trainer is idle and nobody took it: it is sent again in 20 s", LOST_MESSAGE, None,
                     20.0, 20.0)),
        (RUNNING, replace(LOST, lease_left=-300.0, sent_ago=290.0, send_count=3), IDLE, ENOUGH,
         Explanation("lease_expired", "host:7 has vanished: its claim on the request ran out 5 min ago; its message was"
                     " sent 4.8 min ago, a trainer is idle and nobody took it: it is sent again in 3.2 min",
                     LOST_MESSAGE, None, 190.0, 190.0)),
        (RUNNING, replace(LOST, lease_left=-30.0, sent_ago=25.0), IDLE, ENOUGH,
         Explanation("lease_expired", "host:7 has vanished: its claim on the request ran out 30 s ago; 1 trainer is"
                     " idle: one takes it over within seconds", "the trainer that held it vanished", None, 0.0, 95.0)),
        (RUNNING, LOST, NOBODY, LAUNCHING,
         Explanation("lease_expired", LOST_WORDS + "it waits for another trainer: no trainer runs; the scheduler asks"
                     " for an instance within seconds", START, None, None, 0.0)),
        (RUNNING, LOST, NOBODY, NO_CAPACITY,
         Explanation("lease_expired", LOST_WORDS + "it waits for another trainer: " + CAPACITY_WORDS,
                     "capacity of the cloud", "allow more instance types: instance_types of the policy or the request",
                     None, 0.0, 6.0)),
        (replace(RUNNING, cancel_requested=True), LOST, IDLE, ENOUGH,
         Explanation("lease_expired", LOST_WORDS + "the next trainer that looks for work ends the request as cancelled,"
                     " for it was asked to", "the next look of a trainer", "to end it at once: trainyard run cancel r",
                     None, 0.0)),
        (replace(RUNNING, attempt=3), LOST, NOBODY, LAUNCHING,
         Explanation("lease_expired", LOST_WORDS + "the next trainer that looks for work ends the request as failed:"
                     " attempt 3 of 3", "the next look of a trainer", "to end it at once: trainyard run cancel r",
                     None, 0.0)),
    ],
)  # fmt: skip
def test_lost_requests(request_: RequestRecord, at: Position, who: Crew, pool: Pool, expected: Explanation) -> None:
    """Whose trainer vanished is taken over, or ended by the next look; its message is sent again at once."""
    assert told(request_, at, who, pool) == expected


@pytest.mark.parametrize(
    ("request_", "sentence", "to_do"),
    [
        (replace(QUEUED, state="done", outcome="version 3 came of it"), "it is done: version 3 came of it", None),
        (
            replace(QUEUED, state="failed", attempt=3, error_class="oom", outcome="out of memory"),
            "it failed after 3 attempts: out of memory",
            "mend what the error says, then ask again: trainyard train late",
        ),
        (replace(QUEUED, state="failed", attempt=1), "it failed after 1 attempt",
         "mend what the error says, then ask again: trainyard train late"),
        (replace(QUEUED, state="cancelled", outcome="on request"), "it was cancelled: on request",
         "nothing; should it be trained after all, ask again: trainyard train late"),
        (
            replace(QUEUED, state="blocked_by_data", outcome="no new rows"),
            "its rows allow no version worth having: no new rows",
            "send the rows that are missing; the next request uses them",
        ),
    ],
)  # fmt: skip
def test_ended_requests(request_: RequestRecord, sentence: str, to_do: str | None) -> None:
    """The code of a request that has ended is its state, and its words are told; nothing else is."""
    expected = Explanation(request_.state, sentence, request_.error_class, to_do)
    assert told(request_, SENT, NOBODY, None) == expected
    assert told(request_, HELD, IDLE, NO_CAPACITY) == expected


# --- waiting ---


@pytest.mark.parametrize(
    ("request_", "at", "who", "pool", "expected"),
    [
        (QUEUED, replace(SENT, unsent=True), BUSY, ENOUGH,
         Explanation("waiting_to_be_sent", "it is sent once more to the queue that trainers read",
                     "the scheduler, which sends it, or the queue service", None, 30.0, 0.0)),
        (QUEUED, replace(SENT, sent_ago=None, waited=25.1), BUSY, ENOUGH,
         Explanation("waiting_to_be_sent", "it has not reached the queue that trainers read yet",
                     "the scheduler, which sends it, or the queue service", CHECK, 30.0, 0.0)),
        (QUEUED, replace(SENT, sent_ago=None, waited=25.0), IDLE, ENOUGH,
         Explanation("waiting_to_be_sent", "it has not reached the queue that trainers read yet",
                     "the scheduler, which sends it, or the queue service", None, 0.0, 0.0)),
        (QUEUED, SENT, IDLE, ENOUGH,
         Explanation("waiting_for_worker", "1 trainer is idle: one takes it within seconds", None, None, 0.0, 115.0)),
        (QUEUED, replace(SENT, sent_ago=25.0), Crew(idle=2, ahead=3, ahead_of_idle=1), ENOUGH,
         Explanation("waiting_for_worker", "2 trainers are idle, 1 more urgent request before it: one takes it within"
                     " seconds", None, None, 0.0, 95.0)),
        (QUEUED, replace(SENT, sent_ago=30.0), IDLE, ENOUGH,
         Explanation("waiting_resend", "its message was sent 30 s ago, a trainer is idle and nobody took it: it is sent"
                     " again in 1.5 min", "a message that is lost, or hidden by a trainer that died", None, 90.0,
                     90.0)),
        (QUEUED, replace(SENT, sent_ago=130.0), IDLE, ENOUGH,
         Explanation("waiting_resend", "its message was sent 2.2 min ago, a trainer is idle and nobody took it: it is"
                     " sent again now", "a message that is lost, or hidden by a trainer that died", None, 0.0, 0.0)),
        (QUEUED, SENT, Crew(starting=1, instances=1), ENOUGH,
         Explanation("waiting_for_instance", "1 instance is starting", START, None, None, 115.0)),
        (QUEUED, SENT, Crew(starting=1, asked=1, instances=1), ENOUGH,
         Explanation("waiting_for_instance", "1 instance is asked for", START, None, None, 115.0)),
        (QUEUED, SENT, Crew(starting=5, asked=2, instances=5, ahead=1), ENOUGH,
         Explanation("waiting_for_instance", "3 instances are starting and 2 instances are asked for; 1 more urgent"
                     " request before it", START, None, None, 115.0)),
        (PICKY, SENT, Crew(starting=2, ahead=1, unsuited=1), LAUNCHING,
         Explanation("waiting_for_instance", "2 instances are starting; 1 more urgent request before it" + MISFIT,
                     START, None, None, 115.0)),
        (QUEUED, SENT, NOBODY, NO_CAPACITY,
         Explanation("waiting_capacity", CAPACITY_WORDS, "capacity of the cloud",
                     "allow more instance types: instance_types of the policy or the request", None, 115.0, 6.0)),
        (PICKY, SENT, Crew(busy=1, ahead=2, unsuited=1), NO_CAPACITY,
         Explanation("waiting_capacity", CAPACITY_WORDS + "; 2 more urgent requests before it" + MISFIT,
                     "capacity of the cloud", "allow more instance types: instance_types of the policy or the request",
                     90.0, 115.0, 6.0)),
        (QUEUED, SENT, NOBODY,
         replace(LAUNCHING, spec=LaunchSpec(("a",), spot=True, on_demand=False),
                 hold=Hold(CAPACITY, "none", 1, 9.0, 0.0)),
         Explanation("waiting_capacity", "the cloud had no capacity at 1 try in a row, the last 9 s ago (none); it is"
                     " asked again now", "capacity of the cloud", "allow more instance types, or on-demand ones:"
                     " instance_types and spot of the policy or the request", None, 115.0, 0.0)),
        (QUEUED, SENT, BUSY, BARRED,
         Explanation("refused", "the cloud refuses to launch instances, last 5 s ago: UnauthorizedOperation",
                     "a permission, a quota or a setting of the cloud account", "mend what it says (trainyard fleet"
                     " names the next step); it is asked again in 1.5 min", 30.0, 115.0, 90.0)),
        (QUEUED, SENT, replace(FULL, ahead=2), replace(CROWDED, hold=NONE_LEFT),
         Explanation("cap_reached", "all 2 trainers are busy; 2 of 2 allowed instances run or start; 2 more urgent"
                     " requests before it",
                     "TRAINYARD_FLEET_MAX is 2", "wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less",
                     60.0, 115.0)),
        (PICKY, SENT, Crew(unsuited=1), replace(CROWDED, cap=Cap("instances", 1.0, 1.0)),
         Explanation("cap_reached", "no trainer that suits it runs; 1 of 1 allowed instances run or start" + MISFIT,
                     "TRAINYARD_FLEET_MAX is 1", "wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less",
                     None, 115.0)),
        (QUEUED, SENT, NOBODY, replace(CROWDED, cap=Cap("instances", 0.0, 0.0)),
         Explanation("cap_reached", "no instance is allowed", "TRAINYARD_FLEET_MAX is 0", "raise TRAINYARD_FLEET_MAX",
                     None, 115.0)),
        (QUEUED, SENT, BUSY, replace(CROWDED, cap=Cap("instances", 1.0, 0.0)),
         Explanation("cap_reached", "the only trainer is busy; 1 of 0 allowed instances run or start",
                     "TRAINYARD_FLEET_MAX is 0", "wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less",
                     30.0, 115.0)),
        (QUEUED, SENT, NOBODY, POOR,
         Explanation("cap_reached", "today's limit is reached: $50.25 of $50.00 spent; nothing is launched",
                     "TRAINYARD_FLEET_MAX_USD_PER_DAY is 50",
                     "wait until midnight UTC, or raise TRAINYARD_FLEET_MAX_USD_PER_DAY", None, 115.0)),
        (QUEUED, SENT, BUSY, replace(POOR, cap=Cap("hours_per_day", 9.125, 8.5)),
         Explanation("cap_reached", "today's limit is reached: 9.12 h of 8.5 h of instances used; nothing is launched",
                     "TRAINYARD_FLEET_MAX_HOURS_PER_DAY is 8.5",
                     "wait until midnight UTC, or raise TRAINYARD_FLEET_MAX_HOURS_PER_DAY", 30.0, 115.0)),
        (QUEUED, SENT, NOBODY, LAUNCHING,
         Explanation("waiting_for_instance", "no trainer runs; the scheduler asks for an instance within seconds",
                     START, None, None, 115.0)),
        (PICKY, SENT, Crew(unsuited=1, ahead=1), replace(LAUNCHING, new=2),
         Explanation("waiting_for_instance", "no trainer that suits it runs; the scheduler asks for 2 instances within"
                     " seconds; 1 more urgent request before it" + MISFIT, START, None, None, 115.0)),
        (QUEUED, SENT, Crew(idle=1, busy=1, ahead=1, ahead_of_idle=1), LAUNCHING,
         Explanation("waiting_for_instance", "1 trainer is idle, 1 busy; the scheduler asks for an instance within"
                     " seconds; 1 more urgent request before it", START, None, 30.0, 115.0)),
        (QUEUED, SENT, NOBODY, ENOUGH,
         Explanation("waiting_for_instance", "its trainer has been silent for some seconds, and is replaced when it"
                     " stays so", "a trainer that is silent", None, None, 115.0)),
        (QUEUED, SENT, BUSY, ENOUGH,
         Explanation("waiting_turn", "the only trainer is busy; it is the next", "the trainings that run", None, 30.0,
                     115.0)),
        (QUEUED, replace(SENT, mean_seconds=33.333), replace(FULL, ahead=1), ENOUGH,
         Explanation("waiting_turn", "all 2 trainers are busy; 1 more urgent request before it",
                     "the requests before it", None, 33.3, 115.0)),
        (replace(PICKY, spot=None), SENT, Crew(busy=1, unsuited=2), ENOUGH,
         Explanation("waiting_turn", "the only trainer that suits it is busy; it is the next; 2 other trainers do not"
                     " suit it: it wants g5.xlarge or g5.2xlarge", "the trainings that run", None, 30.0, 115.0)),
        (replace(QUEUED, spot=False), SENT, Crew(busy=3, unsuited=1, ahead=3), ENOUGH,
         Explanation("waiting_turn", "all 3 trainers that suit it are busy; 3 more urgent requests before it; 1 other"
                     " trainer does not suit it: it wants on-demand capacity", "the requests before it", None, 60.0,
                     115.0)),
        (QUEUED, SENT, Crew(starting=1, ahead=1), ENOUGH,
         Explanation("waiting_turn", "no trainer runs; 1 more urgent request before it", "the requests before it",
                     None, 30.0, 115.0)),
    ],
)  # fmt: skip
def test_waiting_requests(request_: RequestRecord, at: Position, who: Crew, pool: Pool, expected: Explanation) -> None:
    """Each situation has its code, its sentence, what blocks the request, the next step and the times."""
    found = told(request_, at, who, pool)
    assert found == expected
    assert found.code in OPEN_CODES


@pytest.mark.parametrize(
    ("last", "history"),
    [
        (replace(WORK, state="failed", attempt=1, error_class="crash", error="boom\n at line  3"),
         "attempt 1 of 3 failed (crash): boom at line 3; "),
        (replace(WORK, state="failed", attempt=2, error_class="oom", error="x" * 201),
         f"attempt 2 of 3 failed (oom): {'x' * 200} …; "),
        (replace(WORK, state="failed", attempt=2, error_class="oom", error="x" * 200),
         f"attempt 2 of 3 failed (oom): {'x' * 200}; "),
        (replace(WORK, state="failed"), "attempt 2 of 3 failed; "),
        (replace(WORK, state="released", error="spot notice"),
         "host:7 handed it back, which costs no attempt: spot notice; "),
        (replace(WORK, state="released"), "host:7 handed it back, which costs no attempt; "),
        (replace(WORK, state="lost", error_class="lost", error="its lease ran out"), ""),
    ],
)  # fmt: skip
def test_what_became_of_the_last_attempt(last: Attempt, history: str) -> None:
    """A request that a trainer had before is told why it is in the queue again, then what it waits for."""
    at = replace(SENT, attempts=(replace(WORK, state="failed", error="older"), last))
    assert told(QUEUED, at, IDLE, ENOUGH).sentence == history + "1 trainer is idle: one takes it within seconds"
    unsent = told(QUEUED, replace(at, unsent=True, sent_ago=None), IDLE, ENOUGH)
    assert unsent.sentence == history + "it has not reached the queue that trainers read yet"
    assert unsent.to_do is None


@pytest.mark.parametrize(
    ("at", "who", "wait"),
    [
        (SENT, replace(FULL, ahead=5), 90.0),
        (SENT, replace(FULL, ahead=1), 30.0),
        (SENT, FULL, 30.0),
        (replace(SENT, mean_seconds=None), FULL, None),
        (SENT, NOBODY, None),
        (SENT, Crew(idle=1, busy=1, ahead=3, ahead_of_idle=3), 60.0),
        (SENT, Crew(idle=1, busy=3, ahead=3, ahead_of_idle=3), 30.0),
        (SENT, Crew(idle=1, busy=1, ahead=1, ahead_of_idle=1), 30.0),
        (SENT, Crew(idle=1, starting=1, ahead=1, ahead_of_idle=1), None),
        (SENT, Crew(busy=1, starting=1), None),
        (SENT, Crew(busy=1, starting=1, ahead=1), 30.0),
        (SENT, Crew(idle=1, busy=2, starting=1, ahead=4, ahead_of_idle=1), 30.0),
    ],
)
def test_expected_wait(at: Position, who: Crew, wait: float | None) -> None:
    """It is whole rounds of trainings before it, shared among all hands; unknown where nothing can be said."""
    assert told(QUEUED, at, who, ENOUGH).expected_wait == wait


def test_next_resend() -> None:
    """It is told from the number of sends, and never lies in the past; after a lost lease it is at once."""

    def next_resend(request: RequestRecord, at: Position) -> float | None:
        return told(request, at, FULL, ENOUGH).next_resend

    assert next_resend(QUEUED, SENT) == 115.0
    assert next_resend(QUEUED, replace(SENT, send_count=3)) == 475.0
    assert next_resend(QUEUED, replace(SENT, sent_ago=500.0)) == 0.0
    assert next_resend(QUEUED, replace(SENT, unsent=True)) == 0.0
    assert next_resend(QUEUED, replace(SENT, sent_ago=None)) == 0.0
    assert next_resend(RUNNING, LOST) == 0.0
    assert next_resend(RUNNING, replace(LOST, sent_ago=2.0)) == 118.0
    assert next_resend(RUNNING, HELD) is None
