"""The scheduler's loops over a real Postgres and the AWS emulator."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.messages import TrainingRequest, decode
from trainyard.testing.processes import wait_until
from trainyard_scheduler.bootstrap import build_program
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.scheduler.warehouse import Warehouse
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
        return records.requests.page(found.id, 100, None)


@pytest.fixture
def clients(settings: Config, aws_clients: AwsClients) -> AwsClients:
    """Clients of the emulator."""
    return aws_clients


def test_crossing_the_threshold(
    settings: Config, store: PostgresStore, warehouse: Warehouse, clients: AwsClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch that crosses the threshold, and none before, puts one request on the training queue and launches."""
    export(monkeypatch, settings)
    make_model(store, 10)
    with running(settings):
        warehouse.add(9)
        wait_until(lambda: _reasons(store) == ["not fired: 9 of 10 new rows"], "the first decision")
        assert requests_of(store) == []
        last = warehouse.add(1)
        queue = SqsQueue(clients.sqs, settings.queue_training)
        (message,) = queue.receive(limit=10, wait_seconds=10, visibility_seconds=30)
        (request,) = requests_of(store)
        assert decode(message.type, message.body) == TrainingRequest(request.id)
        assert (request.upto_seq, request.new_rows, request.reason) == (last, 10, "min_new_rows")
        fleet = Ec2Fleet(clients.ec2, settings.env)
        wait_until(lambda: any(i.alive for i in fleet.instances()), "an instance")


def _reasons(store: PostgresStore) -> list[str]:
    with store.begin() as records:
        model = records.models.get("late")
        assert model is not None
        return [decision.reason for decision in records.requests.decisions(model.id, 10, None)]


def export(monkeypatch: pytest.MonkeyPatch, settings: Config) -> None:
    """Give boto3 the emulator's credentials, which services take from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
