"""Messages vanish from the queue before anybody has received them.

Set-up: the queue is purged, or the message's retention runs out, between send and receive, while the scheduler runs.
Seen: its reconciler misses the request and sends it again within two lengths of a lease; it is trained once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cases.conftest import LEASE_SECONDS, scheduler
from tests.cases.yard import UNHURRIED

from trainyard.clock import SystemClock
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.yard import Yard

#: Beside the two lengths of a lease: the reconciler's and the relay's own periods, and a slow machine.
SLACK_SECONDS = 12
YOUNG_SECONDS = 2.0


def purge(yard: Yard) -> None:
    """Empty the queue as an operator may."""
    url = yard.clients.sqs.get_queue_url(QueueName=yard.config.queue_training)["QueueUrl"]
    yard.clients.sqs.purge_queue(QueueUrl=url)


def expire(yard: Yard) -> None:
    """Let the message be gone without anybody's having worked on it, as at the end of its retention."""
    (message,) = yard.queue.receive(limit=10, wait_seconds=5, visibility_seconds=30)
    yard.queue.delete(message.receipt)


@pytest.mark.parametrize("lose", [purge, expire])
def test_sent_again(yard: Yard, lose: object) -> None:
    """The request is queued, its message gone; a second one comes in time, and one version out of it."""
    assert callable(lose)
    # What was sent in the second in which the queue was made is sent again at once: the queue may be a new one.
    made_at = yard.queue.made_at()
    wait_until(lambda: SystemClock().now().timestamp() > made_at + YOUNG_SECONDS, "the queue to be of age")
    with scheduler(yard, TRAINYARD_FLEET_MAX="0"):
        request_id = yard.ask()
        wait_until(lambda: yard.row(request_id)["send_count"] == 1, "the first message")
        lose(yard)
        assert yard.queue.depth().total == 0
        wait_until(lambda: yard.queue.depth().visible > 0, "the second", seconds=2 * LEASE_SECONDS + SLACK_SECONDS)
        wait_until(lambda: yard.row(request_id)["send_count"] == 2, "the record of it")
        trainer = yard.trainer(lease_seconds=UNHURRIED)
        trainer.step()
        assert yard.row(request_id)["state"] == "done"
    yard.work_off(trainer)
    assert len(yard.runs(request_id)) == len(yard.versions()) == 1
