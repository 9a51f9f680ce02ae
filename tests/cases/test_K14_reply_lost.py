"""A message is sent and the queue's answer is lost.

Set-up: every answer to SendMessageBatch is lost until the relay gives up; the messages are in the queue all the same.
Seen: the relay sends again, so that there are several messages of one request; it is trained once, and every message is
settled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cases.yard import UNHURRIED

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.config import load
from trainyard.errors import TransientError
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.nasty_sqs import NastySqs
from trainyard_scheduler.use_cases import relay

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.testing.emulator import Emulator

#: boto3 makes so many attempts before the relay hears of a failure.
ATTEMPTS = 3


def test_several_messages_one_training(yard: Yard, aws: Emulator) -> None:
    """The outbox keeps what was not confirmed; in the end there is one run and one version, and the queue is empty."""
    request_id = yard.ask()
    yard.execute("DELETE FROM core.outbox WHERE queue <> 'training'")
    with NastySqs(aws.endpoint) as shim:
        config = load({**yard.environment, "AWS_ENDPOINT_URL": shim.endpoint})
        clients = AwsClients(config, access_key=ACCESS_KEY, secret_key=SECRET_KEY)
        queues = {"training": SqsQueue(clients.sqs, config.queue_training)}
        shim.lose_next("SendMessageBatch", times=ATTEMPTS)
        with pytest.raises(TransientError):
            relay.relay(yard.store, queues)
        assert yard.rows("SELECT sent_at FROM core.outbox") == [{"sent_at": None}]
        relay.relay(yard.store, queues)
        clients.close()
    assert yard.queue.depth().visible == ATTEMPTS + 1
    yard.work_off(yard.trainer(lease_seconds=UNHURRIED))
    assert [run["state"] for run in yard.runs(request_id)] == ["done"]
    assert len(yard.versions()) == len(yard.artifacts()) == 1
    assert yard.queue.depth().total == 0
