"""A scheduler of each test's own: its database, its bucket, its queues, and a warehouse with one dataset."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from tests.integration.scheduler.calls import Client
from tests.integration.scheduler.loops import BY
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.config import Config, load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard_scheduler.bootstrap import build_app
from trainyard_scheduler.use_cases.keys import make_key
from trainyard_scheduler.use_cases.publish import KeyPublisher

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from trainyard.adapters.aws.clients import AwsClients


@pytest.fixture
def store(engine: sa.Engine) -> PostgresStore:
    """The records."""
    return PostgresStore(engine)


@pytest.fixture
def warehouse(engine: sa.Engine) -> Warehouse:
    """The dataset ``flights``, still empty."""
    return Warehouse(engine)


@pytest.fixture
def environment(database_url: str, aws_environment: dict[str, str]) -> dict[str, str]:
    """What a scheduler's process is started with."""
    return {
        **aws_environment,
        "TRAINYARD_ENV": aws_environment["TRAINYARD_BUCKET"],  # a fleet of its own
        "TRAINYARD_DATABASE_URL": database_url,
        "TRAINYARD_POLICY_TICK_SECONDS": "60",
        "TRAINYARD_RESEND_SECONDS": "60",
    }


@pytest.fixture
def settings(environment: dict[str, str]) -> Config:
    """The configuration of :func:`environment`."""
    return load(environment)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give boto3 the emulator's credentials, which services take from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def call(settings: Config, store: PostgresStore, warehouse: Warehouse, aws_clients: AwsClients) -> Iterator[Client]:
    """A client with an admin key, an operator's and a reader's."""
    AwsSetup(aws_clients, settings).ensure()
    with store.begin() as records:
        keys = {scope: make_key(records, scope, [scope], None, BY)[1] for scope in ("admin", "operate", "read")}
    KeyPublisher(store, S3Blobs(aws_clients.s3, settings.bucket)).step()
    stop = threading.Event()
    yield Client(build_app(settings, stop).test_client(), keys)
    stop.set()
