"""The scheduler's loops when what they stand on is killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError
from tests.integration.scheduler.loops import (
    ask_for,
    decisions_of,
    make_model,
    outlive_first_second,
    running,
    take_ids,
)
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.errors import TransientError
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.fakes import MemoryQueue
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import wait_until
from trainyard.testing.pytest_plugin import isolated_environment
from trainyard_scheduler.use_cases import relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.config import Config


@pytest.fixture
def own_aws(tmp_path: Path) -> Iterator[AwsEmulator]:
    """An emulator that this test may kill."""
    emulator = AwsEmulator(tmp_path / "aws")
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A Postgres that this test may kill."""
    server = PostgresServer(tmp_path / "postgres")
    server.start()
    yield server
    server.stop()


def test_emulator_killed(own_aws: AwsEmulator, database_url: str, store: PostgresStore, warehouse: Warehouse) -> None:
    """After the emulator was killed and came back empty, every open request is on the queue again, and an instance up.

    Somebody else makes the queue anew here, so that the scheduler cannot count on noticing that itself.
    """
    settings = load({**isolated_environment(own_aws), "TRAINYARD_DATABASE_URL": database_url})
    clients = AwsClients(settings, access_key="test", secret_key="test")
    fleet = Ec2Fleet(clients.ec2, settings.env)
    for number in range(5):
        make_model(store, None, f"late{number}")
    warehouse.add(20, announce=False)
    with running(settings):
        asked = {ask_for(store, f"late{number}").id for number in range(5)}
        # A queue this young may get a request twice: its age is known to the second only.
        wait_until(
            lambda: SqsQueue(clients.sqs, settings.queue_training).depth().visible >= 5, "5 messages", seconds=60
        )
        wait_until(lambda: len(fleet.instances()) >= settings.fleet_max, "instances", seconds=60)
        own_aws.kill()
        own_aws.start()
        AwsSetup(clients, settings).ensure()
        again: set[str] = set()

        def all_again() -> bool:
            again.update(take_ids(clients, settings.queue_training, wait_seconds=1))
            return again == asked

        wait_until(all_again, "the open requests on the new queue", seconds=60)
        wait_until(lambda: sum(i.alive for i in fleet.instances()) == settings.fleet_max, "new instances", seconds=60)
    clients.close()


def test_postgres_killed(
    own_postgres: PostgresServer, aws_environment: dict[str, str], aws_clients: AwsClients
) -> None:
    """After Postgres was killed and came back, the loops go on, and are woken by commits again."""
    name = own_postgres.create_database()
    url = own_postgres.url(name)
    migrate(url)
    settings = load({**aws_environment, "TRAINYARD_DATABASE_URL": url, "TRAINYARD_POLICY_TICK_SECONDS": "60"})
    engine = make_engine(url, service="test")
    store, warehouse = PostgresStore(engine), Warehouse(engine)
    make_model(store, 10)
    with running(settings):
        warehouse.add(5)
        wait_until(lambda: decisions_of(store)[:1] == ["not fired: 5 of 10 new rows"], "the first decision")
        own_postgres.execute("CHECKPOINT")  # the test's server does not wait for the disk at COMMIT
        own_postgres.kill()
        own_postgres.start()
        wait_until(lambda: _added(warehouse), "Postgres")
        assert len(take_ids(aws_clients, settings.queue_training)) == 1
    engine.dispose()


def test_lease_that_ran_out(
    settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients
) -> None:
    """A request whose trainer was killed is on the queue again soon after its lease ran out, and only then."""
    make_model(store, None)
    warehouse.add(20, announce=False)
    outlive_first_second(aws_clients, settings)
    with running(settings):
        request = ask_for(store)
        assert take_ids(aws_clients, settings.queue_training) == [request.id]
        warehouse.claim(request.id, lease_seconds=3)
        assert take_ids(aws_clients, settings.queue_training, wait_seconds=1) == []
        assert take_ids(aws_clients, settings.queue_training) == [request.id]


def _added(warehouse: Warehouse) -> bool:
    try:
        warehouse.add(5)
    except OperationalError:
        return False
    return True


def test_queue_that_refuses_holds_up_no_other(store: PostgresStore, warehouse: Warehouse) -> None:
    """However much waits for a queue that is away, a training request behind it reaches its own queue."""
    clock = SystemClock()
    arrived, training = MemoryQueue(clock), MemoryQueue(clock)
    arrived.outage = TransientError("away")
    make_model(store, None)
    for _ in range(150):
        warehouse.add(1)
    ask_for(store)
    with pytest.raises(TransientError):
        relay.relay_all(store, {"arrived": arrived, "training": training})
    assert training.depth().visible == 1
    arrived.outage = None
    relay.relay_all(store, {"arrived": arrived, "training": training})
    assert arrived.depth().visible == 150
