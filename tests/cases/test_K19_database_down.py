"""The database goes away when a message has been received.

Set-up: Postgres refuses every connection from the receive on, for longer than the message is hidden. Seen: the worker
lives, the message is not deleted and comes again, and what it asks for is trained in its first attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.errors import TransientError
from trainyard.testing.processes import wait_until
from trainyard.testing.toxics import Down

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.contracts.queue import Received
    from trainyard.testing.pgproxy import PgProxy


def test_message_outlives_the_outage(yard: Yard, pg_proxy: PgProxy, proxied_database: str) -> None:
    """Not deleted, visible again after its time, and the attempt is not counted before anything was claimed."""
    request_id = yard.request()
    down = Down()

    class ThenDown(SqsQueue):
        """The queue; with the first message the database goes."""

        def receive(self, **asked: Any) -> list[Received]:
            received = super().receive(**asked)
            if received and not came:
                pg_proxy.add(down)
            came.extend(received)
            return received

    came: list[Received] = []
    queue = ThenDown(yard.clients.sqs, yard.config.queue_training)
    trainer = yard.trainer(database_url=proxied_database, queue=queue)
    with pytest.raises(TransientError):
        trainer.step()
    assert (yard.row(request_id)["state"], yard.row(request_id)["attempt"]) == ("queued", 0)
    assert yard.queue.depth().total == 1
    wait_until(lambda: yard.queue.depth().visible == 1, "the message to be visible again")
    pg_proxy.remove(down)
    yard.work_off(trainer)
    assert len(came) == 2
    assert [(run["state"], run["attempt"]) for run in yard.runs(request_id)] == [("done", 1)]
    assert len(yard.versions()) == 1
