"""Fixtures for every test that needs AWS or Postgres; a conftest names this module in ``pytest_plugins``.

A test module with ``pytestmark = pytest.mark.any_aws`` runs on each emulator that ``--aws`` names; its fixtures stay
the same (``aws``, ``aws_clients``, ``aws_config``, ``aws_setup`` ...).
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.config import load
from trainyard.testing.emulator import ACCESS_KEY, NAMES, SECRET_KEY, Emulator, emulator
from trainyard.testing.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from trainyard.config import Config

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the choice of the emulators that tests marked ``any_aws`` run on."""
    group = parser.getgroup("trainyard")
    group.addoption(
        "--aws",
        default="ministack",
        help=f"the AWS emulators for tests marked any_aws: some of {', '.join(NAMES)} (default: %(default)s)",
    )
    group.addoption(
        "--postgres",
        choices=("wheel", "image"),
        default="wheel",
        help="where the session's Postgres comes from (default: %(default)s)",
    )
    group.addoption(
        "--localstack-python",
        default=".state/localstack/bin/python",
        help="the interpreter that has LocalStack, relative to the root directory (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark."""
    config.addinivalue_line("markers", "any_aws: the test must hold on every AWS emulator that --aws names")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that is marked ``any_aws`` once on each emulator; every other test gets ministack."""
    if "aws_name" in metafunc.fixturenames and metafunc.definition.get_closest_marker("any_aws"):
        names = metafunc.config.getoption("--aws").split(",")
        metafunc.parametrize("aws_name", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def new_emulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Emulator]:
    """Make an emulator by its name, not yet started; whoever calls it starts and stops it."""
    python = request.config.rootpath / request.config.getoption("--localstack-python")
    return lambda name: emulator(name, tmp_path_factory.mktemp("aws"), localstack_python=python)


@pytest.fixture(scope="session")
def _emulators(new_emulator: Callable[[str], Emulator]) -> Iterator[Callable[[str], Emulator]]:
    """The session's emulators by name, each started when it is first asked for."""
    started: dict[str, Emulator] = {}

    def get(name: str) -> Emulator:
        if name not in started:
            started[name] = new_emulator(name)
            started[name].start()
        return started[name]

    yield get
    for running in started.values():
        running.stop()


@pytest.fixture(scope="session")
def aws_name(request: pytest.FixtureRequest) -> str:
    """The name of the emulator that this test runs on."""
    return str(getattr(request, "param", "ministack"))


@pytest.fixture(scope="session")
def aws(aws_name: str, _emulators: Callable[[str], Emulator]) -> Emulator:
    """The session's AWS emulator; a test that kills it starts one of its own instead."""
    return _emulators(aws_name)


@pytest.fixture(scope="session")
def aws_emulator(aws: Emulator) -> str:
    """The address of the session's AWS emulator."""
    return aws.endpoint


@pytest.fixture
def aws_environment(aws: Emulator) -> dict[str, str]:
    """Settings that give this test a bucket, queues and an environment of its own; nothing of it exists yet."""
    return isolated_environment(aws)


@pytest.fixture
def aws_config(aws_environment: dict[str, str]) -> Config:
    """The configuration of :func:`aws_environment`."""
    return load(aws_environment)


@pytest.fixture(scope="session")
def aws_clients(aws: Emulator) -> Iterator[AwsClients]:
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
def postgres(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """The session's Postgres; a test that kills it starts one of its own instead."""
    directory = tmp_path_factory.mktemp("postgres")
    if request.config.getoption("--postgres") == "image":
        from trainyard.testing.images import PostgresImage  # noqa: PLC0415 - the wheel needs no Docker client

        server: PostgresServer = PostgresImage(directory)
    else:
        server = PostgresServer(directory)
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


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine on :func:`database_url`, as the owner."""
    from trainyard.adapters.postgres.engine import make_engine  # noqa: PLC0415 - as above

    engine = make_engine(database_url, service="test")
    yield engine
    engine.dispose()


def isolated_environment(aws: Emulator) -> dict[str, str]:
    """Return settings with names that no other test of the session uses."""
    name = f"test-{next(_numbers)}"
    queues = {f"TRAINYARD_QUEUE_{q.upper()}": f"{name}-{q}" for q in ("training", "arrived", "objects", "predictions")}
    return {**aws.environment, "TRAINYARD_ENV": "test", "TRAINYARD_BUCKET": name, **queues}
