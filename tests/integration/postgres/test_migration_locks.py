"""Migrations beside others: who is in their way, and in whose way they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg2
import pytest
from tests.integration.postgres.schema import revisions, schema_of

from trainyard.adapters.postgres.migrate import EXIT_HELD_UP, HeldUpError, Limits, migrate
from trainyard.clock import ManualClock
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever its name

    from trainyard.testing.postgres import PostgresServer

COLUMNS = [{"name": "x", "type": "float", "role": "feature", "nullable": True, "categories": None, "physical": "c1"}]
PREDICTIONS, ROWS = 100_000, 100_000
#: What a request waits for a lock, at most: as long as a migration does.
LOCK_TIMEOUT = "4s"
_LOG = (
    "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)"
    ' SELECT %s || n, \'m\', 1, \'{"age": 31, "city": "Bern"}\', \'{"prediction": true}\', now()'
    " FROM generate_series(1, %s) n ON CONFLICT (id) DO NOTHING"
)


@pytest.fixture
def before(postgres: PostgresServer) -> Iterator[str]:
    """The name of a database at revision 0003 with a dataset, its rows and a long log."""
    name = postgres.create_database()
    migrate(postgres.url(name), "0003")
    with closing(psycopg2.connect(postgres.dsn(name))) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO core.dataset (name, columns, last_seq) VALUES ('d', %s, %s)", [json.dumps(COLUMNS), ROWS]
        )
        cursor.execute("CREATE TABLE data_.t_1 (ingest_seq bigint PRIMARY KEY, batch_id uuid NOT NULL, c1 float8)")
        cursor.execute("CREATE VIEW data.d AS SELECT c1 AS x FROM data_.t_1")
        cursor.execute("INSERT INTO data_.t_1 SELECT n, gen_random_uuid(), n FROM generate_series(1, %s) n", [ROWS])
        cursor.execute(_LOG, ["old-", PREDICTIONS])
        cursor.execute(
            "INSERT INTO core.feedback (prediction_id, label) SELECT 'old-' || n, '1' FROM generate_series(1, %s) n",
            [PREDICTIONS],
        )
    yield name
    postgres.drop_database(name)


@contextmanager
def reading(postgres: PostgresServer, database: str, table: str) -> Iterator[None]:
    """Hold a table as a long reader does."""
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT FROM {table} LIMIT 1")
        yield
        connection.rollback()


def test_a_long_reader(postgres: PostgresServer, before: str) -> None:
    """Who does not get a lock lets everybody pass, tries again, then gives up by name and leaves nothing behind."""
    unchanged = schema_of(postgres, before)
    clock = ManualClock()
    began = clock.monotonic()
    with reading(postgres, before, "core.dataset"):
        with pytest.raises(HeldUpError, match=r"revision 0004 did not get a lock in 3 tries and was rolled back"):
            migrate(postgres.url(before), limits=Limits(lock_seconds=0.2, tries=3), clock=clock)
        assert schema_of(postgres, before) == unchanged
    assert 0 < clock.monotonic() - began <= 4.0, "it paused twice, by its clock"
    assert migrate(postgres.url(before)) == revisions()[3:]


def test_the_command_says_so(postgres: PostgresServer, before: str) -> None:
    """The command ends with a code of its own and one sentence."""
    env = os.environ | {
        "TRAINYARD_DATABASE_URL": postgres.url(before),
        "TRAINYARD_MIGRATE_LOCK_SECONDS": "0.1",
        "TRAINYARD_MIGRATE_TRIES": "1",
    }
    with reading(postgres, before, "core.dataset"):
        done = subprocess.run(
            [sys.executable, "-m", "trainyard.adapters.postgres.migrate"],
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == EXIT_HELD_UP
    assert done.stderr.splitlines()[-1].startswith("trainyard-migrate: revision 0004 did not get a lock in 1 tries")


def test_a_statement_that_takes_too_long(postgres: PostgresServer, before: str) -> None:
    """A statement over its time ends the migration at once, by name; nothing of the revision stays."""
    unchanged = schema_of(postgres, before)
    with pytest.raises(HeldUpError, match=r"revision 0004 took longer than a statement may"):
        migrate(postgres.url(before), limits=Limits(statement_seconds=0.001))
    assert schema_of(postgres, before) == unchanged


def test_requests_are_answered_meanwhile(postgres: PostgresServer, before: str) -> None:
    """Under load from all sides nobody waits for a lock longer than a migration may, and nothing written is lost."""
    stop, faults, counts = threading.Event(), list[BaseException](), dict[str, int]()

    def log(connection: Connection, number: int) -> None:
        _run(connection, _LOG, [f"new-{number}-", 5])

    def label(connection: Connection, number: int) -> None:
        _run(connection, "INSERT INTO core.feedback (prediction_id, label) VALUES (%s, '1')", [f"old-{number + 1}"])

    def load(connection: Connection, _number: int) -> None:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT last_seq FROM core.dataset WHERE id = 1 FOR NO KEY UPDATE")
            cursor.execute("SELECT last_seq FROM core.dataset WHERE id = 1")
            (last,) = cursor.fetchone() or (0,)
            cursor.execute("INSERT INTO data_.t_1 VALUES (%s, gen_random_uuid(), 1.5)", [last + 1])
            cursor.execute(
                "INSERT INTO core.batch (id, dataset_id, source, fingerprint, body_sha256, state, row_count, first_seq,"
                " last_seq, checksum) VALUES (gen_random_uuid(), 1, 'http', %s, '', 'committed', 1, %s, %s, 0)",
                [str(last), last + 1, last + 1],
            )
            cursor.execute("UPDATE core.dataset SET last_seq = %s WHERE id = 1", [last + 1])

    def read(connection: Connection, number: int) -> None:
        _run(connection, "SELECT x FROM data.d LIMIT 10", [])
        _run(connection, "SELECT * FROM core.prediction WHERE seq > %s ORDER BY seq LIMIT 50", [number])

    def keep_on(work: Callable[[Connection, int], None]) -> None:
        try:
            with closing(psycopg2.connect(postgres.dsn(before), options=f"-c lock_timeout={LOCK_TIMEOUT}")) as mine:
                while not stop.is_set():
                    work(mine, counts[work.__name__])
                    counts[work.__name__] += 1
        except BaseException as e:  # noqa: BLE001 - the test's thread reports it
            faults.append(e)

    works = (log, label, load, read)
    counts.update({work.__name__: 0 for work in works})
    threads = [threading.Thread(target=keep_on, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: bool(faults) or min(counts.values()) > 2, "the load", seconds=60)
        assert migrate(postgres.url(before)) == revisions()[3:]
        seen = dict(counts)
        wait_until(lambda: bool(faults) or all(counts[n] > seen[n] + 2 for n in counts), "more of it", seconds=60)
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
    assert faults == []
    with closing(psycopg2.connect(postgres.dsn(before))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id), count(DISTINCT seq) FROM core.prediction")
        assert cursor.fetchone() == (PREDICTIONS + 5 * counts["log"],) * 3
        cursor.execute("SELECT count(*) FROM core.feedback")
        assert cursor.fetchone() == (PREDICTIONS + counts["label"],)
        cursor.execute("SELECT count(*), max(ingest_seq) FROM data_.t_1")
        assert cursor.fetchone() == (ROWS + counts["load"],) * 2


def _run(connection: Connection, statement: str, values: list[object]) -> None:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
