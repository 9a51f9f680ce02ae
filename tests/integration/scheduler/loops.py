"""What the tests of the scheduler's loops share."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.clock import SystemClock
from trainyard.messages import TrainingRequest, decode
from trainyard.testing.processes import wait_until
from trainyard_scheduler.bootstrap import build_program
from trainyard_scheduler.domain.resending import QUEUE_AGE_SLACK_SECONDS
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config
    from trainyard.contracts.requests import RequestRecord

BY = By("test", "trace")


@contextmanager
def running(settings: Config) -> Iterator[None]:
    """Run the scheduler's loops in threads of this process."""
    stop = threading.Event()
    faults: list[str] = []
    program = build_program(settings, stop)
    thread = threading.Thread(target=lambda: faults.extend(program.run()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert faults == []


def outlive_first_second(clients: AwsClients, settings: Config) -> None:
    """Make the queues, and wait until what is sent to the training queue is sent once.

    A queue tells its age in whole seconds: a request of its first one may be sent twice, rather than never.
    """
    AwsSetup(clients, settings).ensure()
    over = SqsQueue(clients.sqs, settings.queue_training).made_at() + QUEUE_AGE_SLACK_SECONDS
    wait_until(lambda: SystemClock().now().timestamp() > over, "the first second of the queue")


def make_model(store: PostgresStore, min_new_rows: int | None, name: str = "late") -> None:
    """Create a model of the warehouse's dataset."""
    with store.begin() as records:
        policy = {"min_new_rows": min_new_rows}
        put_model(records, name, {"dataset": "flights", "label": "late", "policy": policy}, BY)


def requests_of(store: PostgresStore, model: str = "late") -> list[RequestRecord]:
    """Return all requests of the model, newest first."""
    with store.begin() as records:
        found = records.models.get(model)
        assert found is not None
        return records.requests.page(100, None, model_id=found.id)


def ask_for(store: PostgresStore, model: str = "late") -> RequestRecord:
    """Ask for a training by hand."""
    with store.begin() as records:
        return ask(records, model, {}, BY)[1]


def decisions_of(store: PostgresStore, model: str = "late") -> list[str]:
    """Return the reasons of the model's decisions, newest first."""
    with store.begin() as records:
        found = records.models.get(model)
        assert found is not None
        return [decision.reason for decision in records.requests.decisions(found.id, 10, None)]


def take_ids(clients: AwsClients, name: str, *, wait_seconds: int = 10) -> list[str]:
    """Receive from the training queue once and settle; return the request ids that came."""
    queue = SqsQueue(clients.sqs, name)
    received = queue.receive(limit=10, wait_seconds=wait_seconds, visibility_seconds=30)
    for message in received:
        queue.delete(message.receipt)
    messages = [decode(message.type, message.body) for message in received]
    return [message.request_id for message in messages if isinstance(message, TrainingRequest)]
