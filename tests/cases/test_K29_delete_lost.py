"""A worker's delete is lost, or comes with a receipt that is no longer the newest.

Set-up: no DeleteMessage reaches the queue until the worker gives up; or the message is received twice and the first
receipt is used after the second was given out. Seen: the message comes again at the latest when its time is over, the
request is found settled, the message is deleted, and nothing is trained twice, whichever way the queue takes a stale
receipt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.wire import Wire
    from tests.cases.yard import Yard

#: boto3 makes so many attempts before the trainer hears of a failure.
ATTEMPTS = 3


def test_lost_delete(yard: Yard, wire: Wire) -> None:
    """The message is still there when the version is published; the next receive settles it."""
    request_id = yard.request()
    cut = wire.cut_request(b"AmazonSQS.DeleteMessage", times=ATTEMPTS)
    trainer = yard.trainer(endpoint=wire.endpoint)
    trainer.step()
    assert cut.done == ATTEMPTS
    assert yard.row(request_id)["state"] == "done"
    assert yard.queue.depth().total == 1
    yard.work_off(trainer)
    assert yard.queue.depth().total == 0
    assert len(yard.runs(request_id)) == len(yard.versions()) == 1


def test_old_receipt(yard: Yard) -> None:
    """A delete and a prolongation with the old receipt do no harm: the request is done once, the queue is empty."""
    request_id = yard.request()
    (old,) = yard.queue.receive(limit=1, wait_seconds=5, visibility_seconds=1)
    wait_until(lambda: yard.queue.depth().visible == 1, "the message to be visible again")
    (new,) = yard.queue.receive(limit=1, wait_seconds=5, visibility_seconds=1)
    assert new.body == old.body
    trainer = yard.trainer()
    yard.queue.extend(old.receipt, 1)
    trainer.handle(new)
    yard.queue.delete(old.receipt)
    yard.work_off(trainer)
    assert yard.queue.depth().total == 0
    assert [run["state"] for run in yard.runs(request_id)] == ["done"]
    assert len(yard.versions()) == 1
