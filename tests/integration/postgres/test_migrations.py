"""The history as a whole: one line, up and down without a trace, run once however many start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg2
import pytest
import sqlalchemy as sa
from pytest_alembic.tests import (  # noqa: F401 - pytest collects them here
    test_model_definitions_match_ddl,
    test_single_head_revision,
    test_up_down_consistency,
    test_upgrade,
)
from tests.integration.postgres.schema import downgrade, location, revisions, schema_of

from trainyard.adapters.postgres.migrate import EXIT_CONFIG, EXIT_OK, migrate
from trainyard.config import load
from trainyard.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.postgres import PostgresServer

COLUMNS = [{"name": "x", "type": "float", "role": "feature", "nullable": True, "categories": None, "physical": "c1"}]


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database without anything."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture
def alembic_config() -> dict[str, str]:
    """Where pytest-alembic finds the history."""
    return {"script_location": str(location())}


@pytest.fixture
def alembic_engine(postgres: PostgresServer, empty: str) -> Iterator[sa.Engine]:
    """The database that pytest-alembic works on."""
    engine = sa.create_engine(postgres.url(empty))
    yield engine
    engine.dispose()


def _fill(postgres: PostgresServer, database: str) -> None:
    """Put in a dataset with its table as the release of revision 0003 makes it, a prediction and a label of it."""
    with psycopg2.connect(postgres.dsn(database)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO core.dataset (name, columns, last_seq) VALUES ('d', %s, 1)", [json.dumps(COLUMNS)])
        cursor.execute("CREATE TABLE data_.t_1 (ingest_seq bigint PRIMARY KEY, batch_id uuid NOT NULL, c1 float8)")
        cursor.execute("CREATE VIEW data.d AS SELECT c1 AS x FROM data_.t_1")
        cursor.execute("INSERT INTO data_.t_1 VALUES (1, gen_random_uuid(), 0.5)")
        cursor.execute(
            "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)"
            " VALUES ('p', 'm', 1, '{}', '{}', now())"
        )
        cursor.execute("INSERT INTO core.feedback (prediction_id, label) VALUES ('p', '1')")
    connection.close()


@pytest.mark.parametrize(
    ("revision", "filled"),
    [*((revision, False) for revision in revisions()), *((revision, True) for revision in revisions()[3:])],
)
def test_a_downgrade_leaves_no_trace(postgres: PostgresServer, empty: str, revision: str, *, filled: bool) -> None:
    """Up and down again is as if nothing had been; up once more is as the first time."""
    below = revisions()[: revisions().index(revision)]
    if filled:
        migrate(postgres.url(empty), "0003")
        _fill(postgres, empty)
    if below:
        migrate(postgres.url(empty), below[-1])
    before = schema_of(postgres, empty)
    migrate(postgres.url(empty), revision)
    after = schema_of(postgres, empty)
    downgrade(postgres, empty, below[-1] if below else "base")
    if below:
        assert schema_of(postgres, empty) == before
    else:  # Alembic keeps its own table
        assert set(schema_of(postgres, empty).splitlines()) - set(after.splitlines()) == set()
        assert "core." not in schema_of(postgres, empty)
    migrate(postgres.url(empty), revision)
    assert schema_of(postgres, empty) == after


def test_five_cold_starts_at_once(postgres: PostgresServer, empty: str) -> None:
    """On an empty database one of five runs every revision, the others none; all end with 0."""
    env = {**os.environ, "TRAINYARD_DATABASE_URL": postgres.url(empty)}
    command = [sys.executable, "-m", "trainyard.adapters.postgres.migrate"]
    started = [subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) for _ in range(5)]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [EXIT_OK] * 5, said
    ran = sorted(_ran(text) for text in said)
    assert ran == [", ".join(revisions()), *(["nothing"] * 4)]


def _ran(lines: str) -> str:
    (ended,) = [line for line in map(json.loads, lines.splitlines()) if line["action"] == "database.current"]
    return str(ended["ran"])


def test_a_database_ahead_is_refused(postgres: PostgresServer, empty: str) -> None:
    """A release that does not know the database's revision changes nothing and says what to do."""
    migrate(postgres.url(empty), revisions()[0])
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", database=empty)
    with pytest.raises(ConfigError, match="at revision 9999, which this release does not know"):
        migrate(postgres.url(empty))
    command = [sys.executable, "-m", "trainyard.adapters.postgres.migrate"]
    done = subprocess.run(
        command, env={**os.environ, "TRAINYARD_DATABASE_URL": postgres.url(empty)}, check=False, timeout=60
    )
    assert done.returncode == EXIT_CONFIG


def test_the_limits_are_settings() -> None:
    """Waits and tries are read from the environment."""
    read = load({"TRAINYARD_MIGRATE_LOCK_SECONDS": "0.5", "TRAINYARD_MIGRATE_TRIES": "2"})
    assert (read.migrate_lock_seconds, read.migrate_statement_seconds, read.migrate_tries) == (0.5, 60.0, 2)
