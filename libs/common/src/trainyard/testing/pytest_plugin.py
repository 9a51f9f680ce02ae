"""Fixtures for every test that needs AWS or Postgres; a conftest names this module in ``pytest_plugins``."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY, AwsEmulator
from trainyard.testing.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.config import Config

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsEmulator]:
    """The session's AWS emulator; a test that kills it starts one of its own instead."""
    emulator = AwsEmulator(tmp_path_factory.mktemp("aws"))
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture(scope="session")
def aws_emulator(aws: AwsEmulator) -> str:
    """The address of the session's AWS emulator."""
    return aws.endpoint


@pytest.fixture
def aws_environment(aws: AwsEmulator) -> dict[str, str]:
    """Settings that give this test a bucket, queues and an environment of its own; nothing of it exists yet."""
    return isolated_environment(aws)


@pytest.fixture
def aws_config(aws_environment: dict[str, str]) -> Config:
    """The configuration of :func:`aws_environment`."""
    return load(aws_environment)


@pytest.fixture(scope="session")
def aws_clients(aws: AwsEmulator) -> Iterator[AwsClients]:
    """Clients of the session's emulator, whatever the bucket and the queues."""
    clients = AwsClients(load(aws.environment), access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    yield clients
    clients.close()


@pytest.fixture
def aws_setup(aws_clients: AwsClients, aws_config: Config) -> AwsSetup:
    """The set-up of this test's own bucket, queues and template, done."""
    setup = AwsSetup(aws_clients, aws_config)
    setup.ensure()
    return setup


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The session's Postgres; a test that kills it starts one of its own instead."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres: PostgresServer) -> str:
    """The name of a database with every migration and no row."""
    from trainyard.adapters.postgres.migrate import migrate  # noqa: PLC0415 - tests without a database need no Alembic

    name = postgres.create_database()
    migrate(postgres.url(name))
    return name


@pytest.fixture
def database_url(postgres: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The address (SQLAlchemy's form) of a migrated database of this test's own."""
    name = postgres.create_database(template=migrated_template)
    yield postgres.url(name)
    postgres.drop_database(name)


def isolated_environment(aws: AwsEmulator) -> dict[str, str]:
    """Return settings with names that no other test of the session uses."""
    name = f"test-{next(_numbers)}"
    queues = {f"TRAINYARD_QUEUE_{q.upper()}": f"{name}-{q}" for q in ("training", "arrived", "objects", "predictions")}
    return {**aws.environment, "TRAINYARD_ENV": "test", "TRAINYARD_BUCKET": name, **queues}
