"""A worker that stops, dies or is told to go in the middle of a training: who takes over, and when."""

from __future__ import annotations

import random
import signal
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ground import CHILD, SCHEDULER, TRAINER, clock, wait_for

from trainyard.testing.imds import FakeImds

if TYPE_CHECKING:
    from ground import Ground, Keeper, Yard

#: Lease of a trainer in production, seconds, and what its loss may cost: the next attempt begins within 90 s.
PRODUCTION_LEASE, PRODUCTION_TAKEOVER = 60, 90.0
#: From a spot notice to the next attempt.
NOTICE_TAKEOVER = 10.0
#: From a spot notice to the end of the trainer's process.
NOTICE_EXIT = 30.0
_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Takeover:
    """How long it took: ``seconds`` from the stop, kill or notice to the beginning of the next attempt."""

    seconds: float
    attempts: int


def zombie(ground: Ground, lease: int) -> Takeover:
    """SIGSTOP a worker past its lease, let another one finish, SIGCONT: the first must publish nothing and say so."""
    with _yard(ground, lease) as yard:
        first, begun = _stopped_in_the_middle(yard, signal.SIGSTOP)
        second = yard.keep(TRAINER)
        seconds = _next_attempt(yard, begun, 2 * lease + _WAIT_SECONDS)
        _wait_done(yard)
        assert "run.abandoned" not in first.log.read_text()
        first.signal(signal.SIGCONT)
        wait_for(lambda: "run.abandoned" in first.log.read_text(), "the zombie says what it is", seconds=_WAIT_SECONDS)
        assert "version.published" not in first.log.read_text(), "the zombie publishes nothing"
        assert "version.published" in second.log.read_text()
        assert (first.codes, second.codes) == ([], []), "both work on"
        return _verdict(yard, seconds, attempts=2)


def killed(ground: Ground, lease: int) -> Takeover:
    """kill -9 a worker in the middle; another one, idle until then, takes the request over."""
    with _yard(ground, lease) as yard:
        first, begun = _stopped_in_the_middle(yard, signal.SIGKILL)
        assert first.wait_end(1, seconds=_WAIT_SECONDS) == -signal.SIGKILL
        yard.keep(TRAINER)
        seconds = _next_attempt(yard, begun, 2 * lease + _WAIT_SECONDS)
        first.resume()  # started again, it removes what its predecessor has left on the disk
        return _verdict(yard, seconds, attempts=2)


def noticed(ground: Ground, lease: int) -> Takeover:
    """A spot notice in the middle: the worker hands the request back, unharmed and uncounted, and ends."""
    # With the leases of production a training lasts longer than the 5 s between two looks for a notice.
    with FakeImds() as imds, _yard(ground, lease) as yard:
        _begin(yard)
        first = _spot_worker(yard, imds, "i-1")
        _wait_training(yard)
        second = yard.keep(TRAINER)
        first.hold()
        begun = clock.monotonic()
        imds.notice("i-1")
        seconds = _next_attempt(yard, begun, _WAIT_SECONDS)
        assert first.wait_end(1, seconds=NOTICE_EXIT) == 0
        assert "run.released" in first.log.read_text()
        wait_for(lambda: "version.published" in second.log.read_text(), "a version", seconds=_WAIT_SECONDS)
        return _verdict(yard, seconds, attempts=1)


def mass_notices(ground: Ground, seed: int, notices: int, dark_seconds: float) -> dict[str, Any]:
    """Notices at random moments, then to all workers at once while nothing can be launched for ``dark_seconds``."""
    drawn = random.Random(seed)
    names = [f"i-{number}" for number in range(5)]
    requests = max(20, 2 * notices)
    with FakeImds() as imds, ExitStack() as stack:
        child = f"{CHILD} --seconds 1"
        yard = stack.enter_context(
            ground.yard(
                TRAINYARD_TRAINING_CHILD=child, TRAINYARD_SPOT_POLL_SECONDS="1", TRAINYARD_POLICY_TICK_SECONDS="60"
            )
        )
        for number in range(requests):
            yard.make_model(f"m{number}")
        yard.add_rows()
        yard.keep(SCHEDULER)
        workers = {name: _spot_worker(yard, imds, name) for name in names}
        exits = []
        for _ in range(notices):
            clock.sleep(drawn.uniform(0, 1.5))
            exits.append(_notice(imds, workers, [drawn.choice(names)], 0.0))
        exits.append(_notice(imds, workers, names, dark_seconds))
        wait_for(
            lambda: [r["state"] for r in yard.requests()] == ["done"] * requests,
            lambda: f"{requests} done: {yard.figures()}",
            seconds=_WAIT_SECONDS + 3 * requests,
        )
        wait_for(lambda: not yard.settled(), lambda: f"rest; but {yard.settled()}", seconds=_WAIT_SECONDS)
        attempts = {r["attempt"] for r in yard.requests()}
        assert attempts == {1}, f"a notice costs no attempt: {yard.figures()}"
        assert len(yard.rows("SELECT 1 FROM core.version")) == requests, "nothing lost, nothing doubled"
        released = yard.one("SELECT count(*) FROM core.run WHERE state = 'released'")
        return {"requests": requests, "notices": notices + len(names), "released": released, "slowest_exit": max(exits)}


def _notice(imds: FakeImds, workers: dict[str, Keeper], names: list[str], dark_seconds: float) -> float:
    """Send notices, wait for the ends, start again later; return the slowest end in seconds."""
    for name in names:
        workers[name].hold()
    ends = {name: len(workers[name].codes) + 1 for name in names}
    begun = clock.monotonic()
    imds.notice(*names)
    for name in names:
        assert workers[name].wait_end(ends[name], seconds=NOTICE_EXIT) == 0
    slowest = clock.monotonic() - begun
    imds.withdraw(*names)
    clock.sleep(dark_seconds)
    for name in names:
        workers[name].resume()
    return slowest


def _yard(ground: Ground, lease: int) -> Any:
    # Time enough to be struck in the middle, on a machine that carries many of these side by side as well.
    child = f"{CHILD} --seconds {max(3, lease // 5)}"
    # No policy waits for a time here: a look each second at what only rows can set off would be idle work.
    return ground.yard(
        TRAINYARD_LEASE_SECONDS=str(lease), TRAINYARD_TRAINING_CHILD=child, TRAINYARD_POLICY_TICK_SECONDS="60"
    )


def _spot_worker(yard: Yard, imds: FakeImds, name: str) -> Keeper:
    return yard.keep(TRAINER, TRAINYARD_INSTANCE_ID=name, AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.add(name))


def _begin(yard: Yard) -> None:
    yard.make_model()
    yard.add_rows()
    yard.keep(SCHEDULER)


def _wait_training(yard: Yard) -> None:
    """Wait until the child is at work."""
    at_work = "SELECT 1 FROM core.run WHERE state = 'running' AND progress ->> 'stage' IS NOT NULL"
    wait_for(lambda: yard.rows(at_work), "a run", seconds=_WAIT_SECONDS)
    clock.sleep(0.3)


def _stopped_in_the_middle(yard: Yard, number: signal.Signals) -> tuple[Keeper, float]:
    """Start the work and a worker, and send it a signal once it trains; return it and when."""
    _begin(yard)
    first = yard.keep(TRAINER)
    _wait_training(yard)
    first.hold()
    first.signal(number)
    return first, clock.monotonic()


def _next_attempt(yard: Yard, begun: float, seconds: float) -> float:
    """Wait for a second run; return how long after ``begun`` it was seen."""
    wait_for(lambda: yard.one("SELECT count(*) FROM core.run") == 2, "the next attempt", seconds=seconds)
    return clock.monotonic() - begun


def _wait_done(yard: Yard) -> None:
    wait_for(lambda: [r["state"] for r in yard.requests()] == ["done"], "a done request", seconds=_WAIT_SECONDS)


def _verdict(yard: Yard, seconds: float, *, attempts: int) -> Takeover:
    _wait_done(yard)
    wait_for(lambda: not yard.settled(), lambda: f"rest; but {yard.settled()}", seconds=_WAIT_SECONDS)
    (request,) = yard.requests()
    assert request["attempt"] == attempts
    versions = yard.rows("SELECT version, fence FROM core.version")
    assert versions == [{"version": 1, "fence": request["fence"]}], "one version, the last holder's"
    assert yard.rows("SELECT name FROM core.alias") == [{"name": "champion"}]
    assert len(yard.artifacts()) == 1
    return Takeover(round(seconds, 2), request["attempt"])
