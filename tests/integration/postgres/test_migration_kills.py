"""kill -9 of whoever migrates, wherever it is: the next run ends with the schema of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from tests.integration.postgres.schema import revisions, schema_of
from tests.integration.postgres.stopping_migration import statements

from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.migrations import read_sql
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.postgres import PostgresServer

#: Revisions that have no transaction, and so may be half done: each of their statements can run again.
OUTSIDE = {"0017", "0019"}
_ASLEEP = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event = 'PgSleep'"


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database without anything."""
    name = postgres.create_database()
    yield name
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def undisturbed(postgres: PostgresServer) -> Iterator[str]:
    """The schema that everything leads to."""
    name = postgres.create_database()
    migrate(postgres.url(name))
    yield schema_of(postgres, name)
    postgres.drop_database(name)


def test_the_statements_of_a_file() -> None:
    """The cut goes between statements, never through a function."""
    assert len(statements("CREATE TABLE a (\n  b int -- c;\n);\nDO $$\nBEGIN\n  d;\nEND $$;\nSELECT 1;")) == 3
    for revision in ("0001_first.sql", "0004_data_in.sql", "0008_prediction_months.sql"):
        assert "".join(statements(read_sql(revision))) == read_sql(revision)


@pytest.mark.parametrize("before", ["none", "half", "all"])
@pytest.mark.parametrize("revision", [one for one in revisions() if one not in OUTSIDE])
def test_a_kill(postgres: PostgresServer, database: str, undisturbed: str, revision: str, before: str) -> None:
    """Before the first statement (between revisions), in the middle, after the last: nothing is half done."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.postgres.stopping_migration", revision, before],
        env={**os.environ, "TRAINYARD_DATABASE_URL": postgres.url(database)},
        cwd=Path(__file__).parents[3],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _asleep(postgres, database) == 1, f"revision {revision} to stand still", seconds=60)
    finally:
        process.kill()
        process.wait(10)
    expected = revisions()[revisions().index(revision) :]
    assert migrate(postgres.url(database)) == expected, "what was committed stayed, the killed one ran again"
    assert schema_of(postgres, database) == undisturbed
    assert _asleep(postgres, database) == 0, "nothing of the killed run is at work any more"


@pytest.mark.parametrize("made", [1, 3])
def test_a_kill_outside_of_a_transaction(postgres: PostgresServer, database: str, undisturbed: str, made: int) -> None:
    """Indexes that a killed run has made, and the invalid one that it was at, are no hindrance."""
    url = postgres.url(database)
    migrate(url, "0016")
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection, connection.cursor() as cursor:
        for table in ("batch", "training_request", "feedback")[:made]:
            cursor.execute(f"CREATE INDEX {table}_trace_id_idx ON core.{table} (trace_id)")
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", [f"core.{table}_trace_id_idx"]
        )
    assert migrate(url) == ["0017", "0018", "0019"]
    assert schema_of(postgres, database) == undisturbed
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid")
        assert cursor.fetchone() == (0,)


@pytest.mark.parametrize("left", ["", "USING hash"], ids=["dropped", "made"])
def test_a_kill_between_two_indexes(postgres: PostgresServer, database: str, undisturbed: str, left: str) -> None:
    """The index that 0019 has dropped, or made already, is no hindrance: the next run makes all of them."""
    url = postgres.url(database)
    migrate(url, "0018")
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection, connection.cursor() as cursor:
        cursor.execute("DROP INDEX core.prediction_trace_id_idx")
        if left:
            cursor.execute(f"CREATE INDEX prediction_trace_id_idx ON core.prediction {left} (trace_id)")
    assert migrate(url) == ["0019"]
    assert schema_of(postgres, database) == undisturbed


def _asleep(postgres: PostgresServer, database: str) -> int:
    with closing(psycopg2.connect(postgres.dsn())) as connection, connection.cursor() as cursor:
        cursor.execute(_ASLEEP, [database])
        (count,) = cursor.fetchone() or (0,)
        return int(count)
