"""The words and numbers that explanations of a request are put together of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.runs import MAX_ATTEMPTS

if TYPE_CHECKING:
    from trainyard.contracts.requests import Position, RequestRecord
    from trainyard_scheduler.domain.crew import Crew

#: The last words of an attempt may be long; a sentence is not.
_MOST_ERROR_CHARS = 200


def idle_trainers(who: Crew) -> str:
    """Count the trainers that are idle."""
    return "1 trainer is idle" if who.idle == 1 else f"{who.idle:,} trainers are idle"


def trainers(who: Crew) -> str:
    """Say what those do who may serve the request, while none of them is free for it."""
    one, many = (" that suits it", " that suit it") if who.unsuited else ("", "")
    if who.idle:
        return f"{idle_trainers(who)}, {who.busy:,} busy"
    if who.busy:
        return f"the only trainer{one} is busy" if who.busy == 1 else f"all {who.busy:,} trainers{many} are busy"
    return f"no trainer{one} runs"


def on_the_way(who: Crew) -> str:
    """Count the instances that start or were asked for; empty without any."""
    up = who.starting - who.asked
    parts = []
    if up:
        parts.append(f"{plural(up, 'instance')} {'is' if up == 1 else 'are'} starting")
    if who.asked:
        parts.append(f"{plural(who.asked, 'instance')} {'is' if who.asked == 1 else 'are'} asked for")
    return " and ".join(parts)


def misfits(request: RequestRecord, who: Crew) -> str:
    """Name the trainers that may not serve the request, and what it insists on; empty without any."""
    if not who.unsuited:
        return ""
    wants = [" or ".join(request.instance_types)] if request.instance_types else []
    wants += ["on-demand capacity"] if request.spot is False else []
    do = "trainer does" if who.unsuited == 1 else "trainers do"
    return f"; {who.unsuited:,} other {do} not suit it: it wants {', '.join(wants)}"


def attempt_of(request: RequestRecord) -> str:
    """Say which attempt of how many it is."""
    return f"attempt {request.attempt} of {MAX_ATTEMPTS}"


def in_short(error: str) -> str:
    """Return the beginning of an error, in one line."""
    line = " ".join(error.split())
    return line if len(line) <= _MOST_ERROR_CHARS else line[:_MOST_ERROR_CHARS] + " …"


def expected_wait(at: Position, who: Crew) -> float | None:
    """Return the expected seconds until the request is taken: whole rounds of trainings before it.

    None while no training time is known, and where it depends on an instance that is still to come.
    """
    hands = who.idle + who.busy + who.starting
    if at.mean_seconds is None or not hands:
        return None
    rounds = (who.ahead + who.busy) // hands
    return round(rounds * at.mean_seconds, 1) if rounds or who.idle > who.ahead else None


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return the number with its noun: ``1 try``, ``2 tries``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
