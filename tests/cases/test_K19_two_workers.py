"""Two workers hold a message of the same request and claim it in the same moment.

Set-up: two copies of the message, and a barrier before the claim. Seen: one run, and while it lasts the other worker
neither settles its message nor starts anything; afterwards the copy is settled without a second training.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.cases.yard import in_thread, learn

from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.messages import TrainingRequest
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cases.yard import Yard

    from trainyard.contracts.runs import Claim


@pytest.mark.parametrize("_round", range(2))
def test_one_of_them_has_it(yard: Yard, _round: int) -> None:
    """One RUNNING row with the first fence; the loser's message stays in flight until the winner is done."""
    request_id = yard.request()
    yard.queue.send([TrainingRequest(request_id).outgoing()])
    barrier, finish = threading.Barrier(2), threading.Event()
    outcomes: list[str] = []

    class AtOnce(PostgresRuns):
        """The records; the first claims of both workers start together."""

        def claim(self, *given: Any, **named: Any) -> Claim:
            if len(outcomes) < 2:
                barrier.wait(10)
            claim = super().claim(*given, **named)
            outcomes.append(claim.outcome)
            return claim

    def train(directory: Path) -> int:
        assert finish.wait(20)
        return learn(directory)

    workers = [yard.trainer(train, name=name, runs=AtOnce(yard.engine)) for name in ("first", "second")]
    threads = [in_thread(worker.step) for worker in workers]
    wait_until(lambda: len(outcomes) == 2, "both claims")
    assert sorted(outcomes) == ["claimed", "held"]
    assert [(run["state"], run["fence"]) for run in yard.runs(request_id)] == [("running", 1)]
    assert yard.queue.depth().total == 2
    finish.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    yard.work_off(workers[1])
    assert [run["state"] for run in yard.runs(request_id)] == ["done"]
    assert yard.row(request_id)["attempt"] == 1
    assert len(yard.versions()) == 1
