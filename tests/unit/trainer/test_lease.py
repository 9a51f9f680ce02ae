"""Keeping a lease: renewed in time, given up in time, and never lost over a queue that forgets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.runs import Trial
from trainyard.errors import TransientError
from trainyard.messages import TrainingRequest
from trainyard.testing.fakes import MemoryQueue, MemoryRuns
from trainyard.testing.processes import wait_until
from trainyard_trainer.lease import LeaseKeeper
from trainyard_trainer.run_log import RunLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.runs import Lease

LEASE = 60


class Kept:
    """A claimed request, its message, and the keeper, which beats when the test says so."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = MemoryQueue(self.clock)
        self.runs = MemoryRuns(self.clock)
        self.request_id = self.runs.add()
        self.queue.send([TrainingRequest(self.request_id).outgoing()])
        (message,) = self.queue.receive(limit=1, wait_seconds=0, visibility_seconds=LEASE)
        job = self.runs.claim(
            self.request_id, worker="w", instance_id=None, instance_type=None, lease_seconds=LEASE
        ).job
        assert job is not None
        self.lease = job.lease
        self.keeper = LeaseKeeper(
            self.runs,
            self.queue,
            job.lease,
            message.receipt,
            lease_seconds=LEASE,
            beat_seconds=20.0,
            clock=self.clock,
            run_log=self.run_log(),
        )

    def run_log(self) -> RunLog:
        """Return a log of the run."""
        return RunLog(self.runs, self.lease.run_id, self.clock)


@pytest.fixture
def kept() -> Kept:
    """A request that was claimed just now."""
    return Kept()


def test_a_long_run_keeps_lease_and_message(kept: Kept) -> None:
    """For an hour nobody else can claim the request or see its message."""
    for _ in range(180):
        kept.clock.advance(20)
        kept.keeper.beat()
        assert not kept.keeper.lost
        assert kept.queue.depth().visible == 0
        other = kept.runs.claim(kept.request_id, worker="x", instance_id=None, instance_type=None, lease_seconds=LEASE)
        assert other.outcome == "held"


def test_the_message_is_hidden_for_one_lease_and_no_longer(kept: Kept) -> None:
    """After hours of work a crash hides the message for one lease only: extensions are constant."""
    for _ in range(400):
        kept.clock.advance(20)
        kept.keeper.beat()
    kept.clock.advance(LEASE + 1)
    assert kept.queue.depth().visible == 1


def test_a_taken_lease_is_noticed(kept: Kept) -> None:
    """When somebody else holds the request the next beat says that it is lost."""
    kept.clock.advance(LEASE + 1)
    kept.runs.claim(kept.request_id, worker="x", instance_id=None, instance_type=None, lease_seconds=LEASE)
    kept.keeper.beat()
    assert kept.keeper.lost


def test_an_outage_is_borne_for_two_thirds_of_the_lease(kept: Kept) -> None:
    """While the database is away the run goes on, and ends before the lease can be taken."""
    kept.runs.outage = TransientError("away")
    kept.clock.advance(39)
    kept.keeper.beat()
    assert not kept.keeper.lost
    kept.clock.advance(2)
    kept.keeper.beat()
    assert kept.keeper.lost


def test_a_short_outage_is_forgotten(kept: Kept) -> None:
    """Once renewed, the lease is whole again."""
    kept.runs.outage = TransientError("away")
    kept.clock.advance(30)
    kept.keeper.beat()
    kept.runs.outage = None
    kept.keeper.beat()
    kept.runs.outage = TransientError("away")
    kept.clock.advance(39)
    kept.keeper.beat()
    assert not kept.keeper.lost


def test_a_queue_that_forgets_is_no_reason_to_stop(kept: Kept) -> None:
    """The message may be gone, or SQS away: the database says whose request it is."""
    kept.queue.purge()
    kept.clock.advance(25)
    kept.keeper.beat()
    kept.queue.outage = TransientError("away")
    kept.clock.advance(25)
    kept.keeper.beat()
    assert not kept.keeper.lost


def test_wish_to_cancel_and_progress(kept: Kept) -> None:
    """A beat carries the newest progress to the database and brings the wish to cancel back."""
    kept.keeper.report({"stage": "fitting", "done": 1, "total": 2})
    kept.keeper.beat()
    assert not kept.keeper.cancelled
    assert kept.runs.requests[kept.request_id].runs[0].progress == {"stage": "fitting", "done": 1, "total": 2}
    kept.runs.requests[kept.request_id].cancel_requested = True
    kept.keeper.beat()
    assert kept.keeper.cancelled


def test_the_thread_beats_by_itself() -> None:
    """While entered the keeper beats without being asked, and stops afterwards."""
    kept = Kept()
    keeper = LeaseKeeper(
        kept.runs,
        kept.queue,
        kept.lease,
        "r",
        lease_seconds=1,
        beat_seconds=0.1,
        clock=kept.clock,
        run_log=kept.run_log(),
    )
    kept.runs.requests[kept.request_id].cancel_requested = True
    with keeper:
        for _ in range(100):
            if keeper.cancelled:
                break
            SystemClock().sleep(0.1)
    assert keeper.cancelled
    assert not keeper._thread.is_alive()


def keeper_of(kept: Kept, clock: ManualClock | SystemClock) -> LeaseKeeper:
    """Return a keeper of the request that beats ten times a second."""
    return LeaseKeeper(
        kept.runs, kept.queue, kept.lease, "r", lease_seconds=1, beat_seconds=0.1, clock=clock, run_log=kept.run_log()
    )


def trial(number: int) -> Trial:
    """Return a finished trial."""
    return Trial(number, "linear", {}, {"loss": 1.0}, 0.5, chosen=False)


def stored(kept: Kept) -> list[int]:
    """Return the numbers of the trials that are stored."""
    return sorted(kept.runs.requests[kept.request_id].runs[0].trials)


def test_trials_that_end_together_are_stored_together(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of quick trials is one call, and what waited for the database goes with what came meanwhile."""
    calls: list[list[int]] = []
    keep = MemoryRuns.keep_trials

    def keeping(runs: MemoryRuns, lease: Lease, trials: Sequence[Trial]) -> None:
        calls.append([trial.number for trial in trials])
        keep(runs, lease, trials)

    monkeypatch.setattr(MemoryRuns, "keep_trials", keeping)
    for number in range(3):
        kept.keeper.keep(trial(number))
    kept.runs.outage = TransientError("away")
    kept.keeper.store_trials()
    assert stored(kept) == []
    kept.runs.outage = None
    kept.keeper.keep(trial(3))
    kept.keeper.store_trials()
    kept.keeper.store_trials()
    assert stored(kept) == [0, 1, 2, 3]
    assert calls == [[0, 1, 2], [0, 1, 2, 3]]


def test_a_stream_of_trials_holds_up_no_beat(kept: Kept) -> None:
    """However quickly trials end, the lease is renewed meanwhile and the wish to cancel is heard."""
    keeper = keeper_of(kept, SystemClock())
    kept.runs.requests[kept.request_id].cancel_requested = True
    with keeper:
        for number in range(1_000):
            keeper.keep(trial(number))
            if keeper.cancelled:
                break
            SystemClock().sleep(0.01)
    assert keeper.cancelled


def test_an_end_while_trials_are_gathered(kept: Kept) -> None:
    """What the thread had not stored when the work ended is stored by whoever ends it."""
    keeper = keeper_of(kept, kept.clock)
    with keeper:
        keeper.keep(trial(1))
    keeper.store_trials()
    assert stored(kept) == [1]


def test_progress_is_told_with_finished_trials(kept: Kept) -> None:
    """Between two beats, too, but not with each of many: the row says what is known, and the lease is renewed."""
    clock = ManualClock()
    keeper = LeaseKeeper(
        kept.runs,
        kept.queue,
        kept.lease,
        "r",
        lease_seconds=600,
        beat_seconds=200.0,
        clock=clock,
        run_log=kept.run_log(),
    )
    run = kept.runs.requests[kept.request_id].runs[0]
    with keeper:
        keeper.report({"stage": "searching", "trial": 1})
        keeper.keep(trial(1))
        wait_until(lambda: stored(kept) == [1], "the first trial")
        assert run.progress == {}
        clock.advance(5.0)
        keeper.report({"stage": "searching", "trial": 2})
        keeper.keep(trial(2))
        wait_until(lambda: run.progress == {"stage": "searching", "trial": 2}, "the progress")
    assert not keeper.lost


def test_lines_are_stored_as_they_come(kept: Kept) -> None:
    """Soon, not with the next beat, and a keeper that cannot store does not wake itself by saying so."""
    run_log, said = kept.run_log(), kept.runs.requests[kept.request_id].runs[0].lines
    keeper = LeaseKeeper(
        kept.runs, kept.queue, kept.lease, "r", lease_seconds=600, beat_seconds=200.0, clock=kept.clock, run_log=run_log
    )
    with keeper, run_log:
        run_log.say("info", "hello")
        wait_until(lambda: [line.text for line in said.values()] == ["hello"], "the line")
