"""Two deployments at once: one wins, the other is told; a dead one is taken over, and learns it."""

from __future__ import annotations

import threading

import pytest

from trainyard.clock import ManualClock
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard_deploy.lease import LEASE_SECONDS, Lease, TakenError


@pytest.fixture
def clock() -> ManualClock:
    """The clock of S3 and of everybody."""
    return ManualClock()


@pytest.fixture
def blobs(clock: ManualClock) -> MemoryBlobs:
    """The bucket."""
    return MemoryBlobs(clock)


def lease(blobs: MemoryBlobs, clock: ManualClock, owner: str, env: str = "prod") -> Lease:
    return Lease(blobs, env, owner, clock)


def test_the_second_is_told_who_deploys(blobs: MemoryBlobs, clock: ManualClock) -> None:
    """The message names the holder; another environment is free; once it is given back, the next one has it."""
    with lease(blobs, clock, "ann@laptop:1"):
        clock.advance(20)
        with pytest.raises(TakenError, match=r"ann@laptop:1 deploys this environment, and was heard of 20 s ago"):
            lease(blobs, clock, "ci").take()
        lease(blobs, clock, "ci", "test").take()
    lease(blobs, clock, "ci").take()


def test_of_many_at_once_one_wins(clock: ManualClock) -> None:
    """However they meet, exactly one has the lease."""
    for _ in range(20):
        blobs, won = MemoryBlobs(clock), []
        start = threading.Barrier(8)

        def race(
            number: int, blobs: MemoryBlobs = blobs, won: list[int] = won, start: threading.Barrier = start
        ) -> None:
            one = lease(blobs, clock, f"owner {number}")
            start.wait()
            try:
                one.take()
            except TakenError:
                return
            won.append(number)

        threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


def test_a_dead_holder_is_taken_over_and_learns_it(blobs: MemoryBlobs, clock: ManualClock) -> None:
    """Even when the one that took over has ended meanwhile."""
    dead = lease(blobs, clock, "dead")
    dead.take()
    clock.advance(LEASE_SECONDS - 1)
    with pytest.raises(TakenError):
        lease(blobs, clock, "next").take()
    clock.advance(1)
    with lease(blobs, clock, "next"):
        pass

    with pytest.raises(TakenError, match="meanwhile"):
        dead.renew()
    with pytest.raises(TakenError, match="took over"):
        dead.check()


def test_a_holder_that_is_heard_of_keeps_it(blobs: MemoryBlobs, clock: ManualClock) -> None:
    """Each renewal counts anew, and leaves one object behind."""
    held = lease(blobs, clock, "held")
    held.take()
    for _ in range(10):
        clock.advance(LEASE_SECONDS - 1)
        held.renew()
    held.check()
    with pytest.raises(TakenError):
        lease(blobs, clock, "next").take()
    assert len(list(blobs.list("prod/lease/"))) == 1
