"""Why a request waits, or what is being done about it: one code, one sentence, what blocks it and what to do."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainyard.contracts.launches import REFUSED
from trainyard.contracts.requests import OPEN_STATES
from trainyard.contracts.runs import MAX_ATTEMPTS
from trainyard.durations import in_words
from trainyard.money import dollars
from trainyard_scheduler.domain.crew import ALIVE_WITHIN_SECONDS
from trainyard_scheduler.domain.explain_words import (
    attempt_of,
    expected_wait,
    idle_trainers,
    in_short,
    misfits,
    on_the_way,
    plural,
    trainers,
)
from trainyard_scheduler.domain.resending import pause_seconds

if TYPE_CHECKING:
    from trainyard.contracts.requests import Position, RequestRecord
    from trainyard_scheduler.domain.crew import Crew
    from trainyard_scheduler.domain.fleet import Cap, Hold, Pool

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
    "refused",
    "cap_reached",
    "waiting_turn",
)
#: A free trainer takes a message within its long poll; a message that was not taken by then may be lost.
TAKEN_WITHIN_SECONDS = 25.0


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


def held(request: RequestRecord, at: Position) -> bool:
    """Tell whether a trainer holds the request right now."""
    return request.state == "running" and at.lease_left is not None and at.lease_left >= 0


def explain(
    request: RequestRecord,
    at: Position,
    who: Crew,
    pool: Pool | None,
    *,
    resend_seconds: float,
    silent: float | None = None,
) -> Explanation:
    """Say why the request waits or what it does.

    ``pool``: what the fleet does for requests of its kind; None only for a request that has ended. ``silent``: seconds
    since its holder's last word, None when nobody knows.
    """
    if request.state not in OPEN_STATES or pool is None:
        return _ended(request)
    if held(request, at):
        return _held(request, at, silent or 0.0)
    resend = _next_resend(at, resend_seconds)
    if request.state == "running":
        return replace(_lapsed(request, at, who, pool, resend), next_resend=resend)
    told = _history(at)
    if at.unsent or at.sent_ago is None:
        found = _unsent(at, who)
    elif who.idle > who.ahead_of_idle:
        found = _free(at, who, resend)
    else:
        found = _waiting(request, at, who, pool)
    return replace(found, sentence=told + found.sentence, next_resend=resend)


_CHECK = "see whether the scheduler and the queues work: trainyard doctor, trainyard queue show"


def _next_resend(at: Position, resend_seconds: float) -> float:
    if at.unsent or at.sent_ago is None:
        return 0.0
    if at.lease_left is not None and -at.lease_left < at.sent_ago:  # the lease ran out since
        return 0.0
    return max(0.0, pause_seconds(at.send_count, resend_seconds) - at.sent_ago)


# --- what has ended, or is in somebody's hands ---


def _ended(request: RequestRecord) -> Explanation:
    words = {
        "done": "it is done",
        "failed": f"it failed after {plural(request.attempt, 'attempt')}",
        "cancelled": "it was cancelled",
        "blocked_by_data": "its rows are gone" if request.reproduces else "its rows allow no version worth having",
    }[request.state]
    sentence = f"{words}: {request.outcome}" if request.outcome else words
    if request.reproduces is not None:  # what trains a new version is no help
        return Explanation(request.state, sentence, blocked_by=request.error_class)
    to_do = {
        "failed": f"mend what the error says, then ask again: trainyard train {request.model}",
        "cancelled": f"nothing; should it be trained after all, ask again: trainyard train {request.model}",
        "blocked_by_data": "send the rows that are missing; the next request uses them",
    }.get(request.state)
    return Explanation(request.state, sentence, blocked_by=request.error_class, to_do=to_do)


def _held(request: RequestRecord, at: Position, silent: float) -> Explanation:
    left, last = in_words(at.lease_left or 0.0), request.attempt >= MAX_ATTEMPTS
    if silent > ALIVE_WITHIN_SECONDS:
        what = "the request ends as failed" if last else "another trainer takes the request over"
        what = "the request ends as it was asked to" if request.cancel_requested else what
        return Explanation(
            "cancelling" if request.cancel_requested else "held_by_worker",
            f"{at.holder} holds it ({attempt_of(request)}) but has been silent for {in_words(silent)}; if it stays so,"
            f" {what} in {left}",
            blocked_by="a trainer that is silent",
        )
    if request.cancel_requested:
        return Explanation(
            "cancelling",
            f"{at.holder} was asked to stop and does so when it next reports, within seconds",
            blocked_by="the trainer's next report",
        )
    took = in_words(at.attempts[-1].seconds) if at.attempts else "0 s"
    after = "the request would end as failed" if last else "another trainer would take over"
    return Explanation(
        "held_by_worker",
        f"{at.holder} works on it ({attempt_of(request)}, for {took}); were it to vanish, {after} in {left}",
    )


def _lapsed(request: RequestRecord, at: Position, who: Crew, pool: Pool, resend: float) -> Explanation:
    """Explain a request whose trainer vanished."""
    since = "" if at.lease_left is None else f" {in_words(-at.lease_left)} ago"
    lost = f"{at.holder or 'its trainer'} has vanished: its claim on the request ran out{since}"
    if request.cancel_requested or request.attempt >= MAX_ATTEMPTS:
        end = "as cancelled, for it was asked to" if request.cancel_requested else f"as failed: {attempt_of(request)}"
        return Explanation(
            "lease_expired",
            f"{lost}; the next trainer that looks for work ends the request {end}",
            blocked_by="the next look of a trainer",
            to_do=f"to end it at once: trainyard run cancel {request.id}",
        )
    if who.idle > who.ahead_of_idle:
        if resend and (at.sent_ago or 0.0) > TAKEN_WITHIN_SECONDS:  # sent since, and nobody took it
            found = _free(at, who, resend)
            return replace(found, code="lease_expired", sentence=f"{lost}; {found.sentence}")
        said = f"{lost}; {idle_trainers(who)}: one takes it over within seconds"
        return Explanation("lease_expired", said, blocked_by="the trainer that held it vanished", expected_wait=0.0)
    found = _waiting(request, at, who, pool)
    return replace(found, code="lease_expired", sentence=f"{lost}; it waits for another trainer: {found.sentence}")


def _history(at: Position) -> str:
    """Say why a request that a trainer had is in the queue again; empty when none had."""
    if not at.attempts:
        return ""
    last = at.attempts[-1]
    why = f": {in_short(last.error)}" if last.error else ""
    if last.state == "released":
        return f"{last.worker} handed it back, which costs no attempt{why}; "
    kind = f" ({last.error_class})" if last.error_class else ""
    return f"attempt {last.attempt} of {MAX_ATTEMPTS} failed{kind}{why}; " if last.state == "failed" else ""


# --- what waits ---


def _unsent(at: Position, who: Crew) -> Explanation:
    """Explain a request whose message is in the outbox: for the first time, or once more."""
    late = at.sent_ago is None and at.waited > TAKEN_WITHIN_SECONDS and not at.attempts
    again = at.sent_ago is not None and not at.attempts
    return Explanation(
        "waiting_to_be_sent",
        "it is sent once more to the queue that trainers read"
        if again
        else "it has not reached the queue that trainers read yet",
        blocked_by="the scheduler, which sends it, or the queue service",
        to_do=_CHECK if late else None,
        expected_wait=expected_wait(at, who),
    )


def _free(at: Position, who: Crew, resend: float) -> Explanation:
    """Explain a request for which a trainer is free."""
    sent_ago = at.sent_ago or 0.0
    if sent_ago <= TAKEN_WITHIN_SECONDS:
        before = f", {plural(who.ahead_of_idle, 'more urgent request')} before it" if who.ahead_of_idle else ""
        said = f"{idle_trainers(who)}{before}: one takes it within seconds"
        return Explanation("waiting_for_worker", said, expected_wait=0.0)
    again = f"in {in_words(resend)}" if resend else "now"
    return Explanation(
        "waiting_resend",
        f"its message was sent {in_words(sent_ago)} ago, a trainer is idle and nobody took it:"
        f" it is sent again {again}",
        blocked_by="a message that is lost, or hidden by a trainer that died",
        expected_wait=resend,
    )


def _waiting(request: RequestRecord, at: Position, who: Crew, pool: Pool) -> Explanation:
    """Explain a request for which no trainer is free."""
    wait = expected_wait(at, who)
    order = f"; {plural(who.ahead, 'more urgent request')} before it" if who.ahead else ""
    others = order + misfits(request, who)
    if who.idle + who.starting > who.ahead:
        return Explanation(
            "waiting_for_instance", on_the_way(who) + others, blocked_by="the start of an instance", expected_wait=wait
        )
    if pool.state == "cap_reached" and pool.cap is not None:
        found = _full(who, pool.cap) if pool.cap.name == "instances" else _capped(pool.cap)
        return replace(found, sentence=found.sentence + others, expected_wait=wait)
    if pool.state != "enough" and pool.hold is not None:
        found = _refused(pool.hold) if pool.hold.kind == REFUSED else _no_capacity(pool, pool.hold)
        return replace(found, sentence=found.sentence + others, expected_wait=wait)
    if pool.state == "launching":
        number = "an instance" if pool.new == 1 else f"{pool.new:,} instances"
        said = f"{trainers(who)}; the scheduler asks for {number} within seconds{others}"
        return Explanation("waiting_for_instance", said, blocked_by="the start of an instance", expected_wait=wait)
    if not (who.idle or who.busy or who.starting):
        said = f"its trainer has been silent for some seconds, and is replaced when it stays so{others}"
        return Explanation("waiting_for_instance", said, blocked_by="a trainer that is silent")
    blocked = "the requests before it" if who.ahead else "the trainings that run"
    turn = order or "; it is the next"
    return Explanation(
        "waiting_turn", trainers(who) + turn + misfits(request, who), blocked_by=blocked, expected_wait=wait
    )


def _no_capacity(pool: Pool, hold: Hold) -> Explanation:
    widen = "more instance types" if pool.spec.on_demand else "more instance types, or on-demand ones"
    where = "instance_types" if pool.spec.on_demand else "instance_types and spot"
    return Explanation(
        "waiting_capacity",
        f"the cloud had no capacity at {plural(hold.failures, 'try', 'tries')} in a row, the last"
        f" {in_words(hold.seconds_ago)} ago ({hold.error}); it is asked again {_again(hold)}",
        blocked_by="capacity of the cloud",
        to_do=f"allow {widen}: {where} of the policy or the request",
        next_launch=hold.next_try_seconds,
    )


def _refused(hold: Hold) -> Explanation:
    return Explanation(
        "refused",
        f"the cloud refuses to launch instances, last {in_words(hold.seconds_ago)} ago: {hold.error}",
        blocked_by="a permission, a quota or a setting of the cloud account",
        to_do=f"mend what it says (trainyard fleet names the next step); it is asked again {_again(hold)}",
        next_launch=hold.next_try_seconds,
    )


def _again(hold: Hold) -> str:
    return f"in {in_words(hold.next_try_seconds)}" if hold.next_try_seconds else "now"


def _capped(cap: Cap) -> Explanation:
    """Explain a limit of the day."""
    setting = f"TRAINYARD_FLEET_MAX_{cap.name.upper()}"
    money = cap.name == "usd_per_day"
    used, limit = (dollars(cap.used), dollars(cap.limit)) if money else (f"{cap.used:,.2f} h", f"{cap.limit:,g} h")
    what = "spent" if money else "of instances used"
    return Explanation(
        "cap_reached",
        f"today's limit is reached: {used} of {limit} {what}; nothing is launched",
        blocked_by=f"{setting} is {cap.limit:g}",
        to_do=f"wait until midnight UTC, or raise {setting}",
    )


def _full(who: Crew, cap: Cap) -> Explanation:
    """Explain a fleet that has as many instances as it may."""
    blocked = f"TRAINYARD_FLEET_MAX is {cap.limit:g}"
    if not cap.limit and not (who.idle or who.busy or who.starting):
        return Explanation("cap_reached", "no instance is allowed", blocked, "raise TRAINYARD_FLEET_MAX")
    return Explanation(
        "cap_reached",
        f"{trainers(who)}; {cap.used:,.0f} of {cap.limit:,.0f} allowed instances run or start",
        blocked_by=blocked,
        to_do="wait, raise TRAINYARD_FLEET_MAX, or cancel what matters less",
    )
