"""A yard of each case's own: a database, a bucket, queues, a dataset with rows and a model.

The cases take longer than other tests, so they run on ministack alone where it is among the emulators that ``--aws``
names, and on each of the others when it is not: ``pytest tests/cases --aws=moto,localstack``.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cases.wire import Wire
from tests.cases.yard import Yard

from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard.testing.pgproxy import PgProxy
from trainyard_scheduler.bootstrap import build_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.emulator import Emulator
    from trainyard.testing.postgres import PostgresServer

#: Short, so that what waits for the end of a lease is soon seen.
LEASE_SECONDS = 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the emulators."""
    if "aws_name" in metafunc.fixturenames:
        names = metafunc.config.getoption("--aws").split(",")
        chosen = ["ministack"] if "ministack" in names else names
        metafunc.parametrize("aws_name", chosen, indirect=True, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let ``-m any_aws`` find the cases."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.any_aws)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give boto3 the emulator's credentials, which services take from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture
def settings(aws_environment: dict[str, str], database_url: str, tmp_path: Path) -> dict[str, str]:
    """What every process of the case is started with."""
    return {
        **aws_environment,
        "TRAINYARD_DATABASE_URL": database_url,
        "TRAINYARD_WORK_DIR": str(tmp_path / "work"),
        "TRAINYARD_SPOOL_DIR": str(tmp_path / "spool"),
        "TRAINYARD_LEASE_SECONDS": str(LEASE_SECONDS),
        "TRAINYARD_RESEND_SECONDS": str(2 * LEASE_SECONDS),
        "TRAINYARD_IDLE_SECONDS": "1",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9",
    }


@pytest.fixture
def yard(settings: dict[str, str], aws_setup: AwsSetup, tmp_path: Path) -> Iterator[Yard]:
    """A yard with 300 rows and a model without versions."""
    yard = Yard(settings, tmp_path)
    yard.add_rows()
    yard.make_model()
    yield yard
    yard.close()


@pytest.fixture
def own_fleet(settings: dict[str, str], aws_setup: AwsSetup, tmp_path: Path) -> Iterator[Yard]:
    """The same in an environment of its own, so that no other case's instances are in its fleet."""
    yard = Yard({**settings, "TRAINYARD_ENV": settings["TRAINYARD_BUCKET"]}, tmp_path)
    AwsSetup(yard.clients, yard.config).ensure()
    yard.add_rows()
    yard.make_model()
    yield yard
    yard.close()


@pytest.fixture
def wire(aws: Emulator) -> Iterator[Wire]:
    """A wire before the AWS emulator."""
    with Wire(aws.endpoint) as wire:
        yield wire


@pytest.fixture
def pg_proxy(postgres: PostgresServer) -> Iterator[PgProxy]:
    """A proxy before Postgres."""
    with PgProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def proxied_database(database_url: str, postgres: PostgresServer, pg_proxy: PgProxy) -> str:
    """The case's database as it is reached through :func:`pg_proxy`."""
    return postgres.url(database_url.rpartition("/")[2], port=pg_proxy.port)


@contextmanager
def scheduler(yard: Yard, **settings: str) -> Iterator[None]:
    """Run the scheduler's loops in threads; ``settings`` are variables of its environment."""
    stop = threading.Event()
    faults: list[str] = []
    program = build_program(load({**yard.environment, **settings}), stop)
    thread = threading.Thread(target=lambda: faults.extend(program.run()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert faults == []
