"""Why a request waits, or what is being done about it: one code, one sentence, what blocks it and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.contracts.requests import OPEN_STATES
from trainyard.durations import in_words
from trainyard_scheduler.domain.resending import pause_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.launches import Failures, Launch
    from trainyard.contracts.requests import Position, RequestRecord
    from trainyard.contracts.workers import WorkerRecord

#: Every code an explanation of an open request may have; a request that has ended has its state for a code.
OPEN_CODES = (
    "held_by_worker",
    "cancelling",
    "lease_expired",
    "waiting_to_be_sent",
    "waiting_for_worker",
    "waiting_resend",
    "waiting_for_instance",
    "waiting_capacity",
    "cap_reached",
    "waiting_turn",
)
#: A free trainer takes a message within its long poll; a message that was not taken by then may be lost.
TAKEN_WITHIN_SECONDS = 25.0
#: A trainer says every few seconds that it is alive; one that is silent for longer does not count.
ALIVE_WITHIN_SECONDS = 30.0
_MAX_LAUNCH_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Crew:
    """Who could serve requests now.

    Attributes:
        idle, busy: trainers that say so, of the instance types that the request allows.
        starting: instances that were asked for or launched and on which no trainer has spoken yet.
        instances: instances that are not over, of any type, starting ones included.
        fleet_max: most instances there may be.
    """

    idle: int
    busy: int
    starting: int
    instances: int
    fleet_max: int


@dataclass(frozen=True)
class Explanation:
    """The answer.

    Attributes:
        code: one of :data:`OPEN_CODES`, or the state of a request that has ended.
        sentence: the answer in words.
        blocked_by: what would have to change for it to go on, None when nothing does.
        to_do: the next step for people, None when there is nothing to do.
        expected_wait: seconds until somebody takes it, by the mean training time; None where nothing can be said.
        next_resend: seconds until its message is sent again; None when it will not be.
        next_launch: seconds until an instance is asked for again after the last refusal; None without one.
    """

    code: str
    sentence: str
    blocked_by: str | None = None
    to_do: str | None = None
    expected_wait: float | None = None
    next_resend: float | None = None
    next_launch: float | None = None


def crew(
    request: RequestRecord, workers: Sequence[WorkerRecord], launches: Sequence[Launch], *, fleet_max: int
) -> Crew:
    """Count who could serve the request. ``workers``: those that were heard of lately."""
    alive = [worker for worker in workers if worker.state in {"idle", "busy"}]
    suited = [worker for worker in alive if _suits(request, worker.instance_type)]
    heard = {worker.instance_id for worker in workers}
    starting = [launch for launch in launches if launch.instance_id is None or launch.instance_id not in heard]
    return Crew(
        idle=sum(worker.state == "idle" for worker in suited),
        busy=sum(worker.state == "busy" for worker in suited),
        starting=len(starting),
        instances=len(launches),
        fleet_max=fleet_max,
    )


def _suits(request: RequestRecord, instance_type: str | None) -> bool:
    return not request.instance_types or instance_type is None or instance_type in request.instance_types


def launch_pause(failures: Failures) -> float | None:
    """Return the seconds until an instance is asked for again after failures in a row, None without one."""
    if not failures.count:
        return None
    return max(0.0, min(2.0 ** min(failures.count, 30), _MAX_LAUNCH_PAUSE_SECONDS) - failures.seconds_ago)


def explain(
    request: RequestRecord, at: Position, who: Crew, failures: Failures, *, resend_seconds: float
) -> Explanation:
    """Say why the request waits or what it does."""
    if request.state not in OPEN_STATES:
        return _ended(request)
    if request.state == "running" and at.lease_left is not None and at.lease_left >= 0:
        return _held(request, at)
    resend = 0.0 if at.unsent or at.sent_ago is None else pause_seconds(at.send_count, resend_seconds) - at.sent_ago
    resend = max(0.0, resend)
    if request.state == "running":
        return Explanation(
            "lease_expired",
            f"{at.holder or 'its trainer'} has not been heard of since its lease ran out; another trainer takes over",
            blocked_by="the trainer that held it vanished",
            expected_wait=_wait(at, who),
            next_resend=resend,
        )
    if at.unsent or at.sent_ago is None:
        return Explanation(
            "waiting_to_be_sent",
            "its message has not gone to the training queue yet",
            blocked_by="the scheduler's relay or the queue service",
            to_do=_CHECK if at.waited > TAKEN_WITHIN_SECONDS else None,
            expected_wait=_wait(at, who),
            next_resend=resend,
        )
    return _waiting(at, who, failures, resend)


_CHECK = "see whether the scheduler's loops and the queues work: trainyard doctor, trainyard queue show"


def _ended(request: RequestRecord) -> Explanation:
    words = {
        "done": "it is done",
        "failed": f"it failed after {_plural(request.attempt, 'attempt')}",
        "cancelled": "it was cancelled",
        "blocked_by_data": "its rows allow no version worth having",
    }[request.state]
    sentence = f"{words}: {request.outcome}" if request.outcome else words
    to_do = {
        "failed": "mend what the error says, then ask again: trainyard train " + request.model,
        "blocked_by_data": "send the rows that are missing; the next request uses them",
    }.get(request.state)
    return Explanation(request.state, sentence, blocked_by=request.error_class, to_do=to_do)


def _held(request: RequestRecord, at: Position) -> Explanation:
    took = in_words(at.attempts[-1].seconds) if at.attempts else "0 s"
    if request.cancel_requested:
        return Explanation(
            "cancelling",
            f"{at.holder} was asked to stop and does so with its next heartbeat",
            blocked_by="the trainer's next heartbeat",
        )
    attempt = f"attempt {request.attempt}, for {took}"
    return Explanation("held_by_worker", f"{at.holder} works on it ({attempt})")


def _waiting(at: Position, who: Crew, failures: Failures, resend: float) -> Explanation:
    """Explain a queued request whose message was sent."""
    if who.idle > at.ahead:
        return _free(at, who, resend)
    wait = _wait(at, who)
    ahead = f"{_plural(at.ahead, 'more urgent request')} before it"
    if who.starting > at.ahead:
        return Explanation(
            "waiting_for_instance",
            f"{_plural(who.starting, 'instance')} starting; {ahead}",
            blocked_by="the start of an instance",
            expected_wait=wait,
            next_resend=resend,
        )
    pause = launch_pause(failures)
    if pause is not None:
        return _no_capacity(at, who, failures, pause, resend)
    if who.instances >= who.fleet_max:
        return _capped(at, who, wait, resend)
    if who.instances == 0:
        return Explanation(
            "waiting_for_instance",
            f"no instance runs yet; the scheduler asks for one within seconds; {ahead}",
            blocked_by="the start of an instance",
            next_resend=resend,
        )
    return Explanation(
        "waiting_turn",
        f"{ahead}; {who.busy} of {_plural(who.instances, 'instance')} busy",
        blocked_by="the requests before it",
        expected_wait=wait,
        next_resend=resend,
    )


def _free(at: Position, who: Crew, resend: float) -> Explanation:
    """Explain a request for which a trainer is free."""
    sent_ago = at.sent_ago or 0.0
    if sent_ago <= TAKEN_WITHIN_SECONDS:
        said = f"{_plural(who.idle, 'trainer')} idle: one takes it within seconds"
        return Explanation("waiting_for_worker", said, expected_wait=0.0, next_resend=resend)
    return Explanation(
        "waiting_resend",
        f"its message was sent {in_words(sent_ago)} ago, a trainer is idle and nobody took it:"
        f" it is sent again in {in_words(resend)}",
        blocked_by="a message that is lost, or hidden by a trainer that died",
        expected_wait=resend,
        next_resend=resend,
    )


def _no_capacity(at: Position, who: Crew, failures: Failures, pause: float, resend: float) -> Explanation:
    said = at.refusal or "no capacity"
    again = "now" if pause == 0 else f"in {in_words(pause)}"
    return Explanation(
        "waiting_capacity",
        f"the cloud had no capacity at {_plural(failures.count, 'try', 'tries')} in a row, the last"
        f" {in_words(failures.seconds_ago)} ago ({said}); it is asked again {again}",
        blocked_by="capacity of the cloud",
        to_do="allow more instance types, or on-demand ones: instance_types and spot of the policy or the request",
        expected_wait=_wait(at, who) if who.busy else None,
        next_resend=resend,
        next_launch=pause,
    )


def _capped(at: Position, who: Crew, wait: float | None, resend: float) -> Explanation:
    none = who.fleet_max == 0
    busy = "no instance is allowed" if none else f"all {_plural(who.fleet_max, 'allowed instance')} at work"
    return Explanation(
        "cap_reached",
        f"{busy}; {_plural(at.ahead, 'more urgent request')} before it",
        blocked_by=f"TRAINYARD_FLEET_MAX is {who.fleet_max}",
        to_do="wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less",
        expected_wait=None if none else wait,
        next_resend=resend,
    )


def _wait(at: Position, who: Crew) -> float | None:
    """Return the expected seconds until the request is taken: whole rounds of trainings before it."""
    if at.mean_seconds is None:
        return None
    hands = max(1, who.idle + who.busy + who.starting)
    rounds = (at.ahead + (0 if who.idle else at.running)) // hands
    return round(rounds * at.mean_seconds, 1)


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
