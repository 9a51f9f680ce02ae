"""The Postgres that the tests run on."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from pathlib import Path

from trainyard.testing.postgres import PostgresServer


def _rows(server: PostgresServer, database: str) -> list[tuple[int, ...]]:
    with closing(psycopg2.connect(server.dsn(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT x FROM t ORDER BY x")
        return cursor.fetchall()


def test_copies_of_a_template_are_apart(postgres: PostgresServer) -> None:
    """Each test's database starts as the template was and keeps its rows to itself."""
    template = postgres.create_database()
    postgres.execute("CREATE TABLE t AS SELECT 1 AS x", database=template)
    one, two = postgres.create_database(template=template), postgres.create_database(template=template)
    postgres.execute("INSERT INTO t VALUES (2)", database=one)
    assert _rows(postgres, one) == [(1,), (2,)]
    assert _rows(postgres, two) == [(1,)]
    for name in (one, two, template):
        postgres.drop_database(name)


def test_killed_server_comes_back_with_its_data(tmp_path: Path) -> None:
    """After a kill the server starts on the same port with what was committed."""
    server = PostgresServer(tmp_path / "pg")
    server.start()
    try:
        server.execute("CREATE TABLE t AS SELECT 7 AS x")
        server.execute("CHECKPOINT")
        server.kill()
        server.start()
        assert _rows(server, "postgres") == [(7,)]
    finally:
        server.stop()


def test_every_test_gets_a_migrated_database(database_url: str) -> None:
    """The database has the schema of the newest migration, and no rows of other tests."""
    dsn = database_url.replace("postgresql+psycopg2", "postgresql")
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'core'")
        (tables,) = cursor.fetchone() or (0,)
    assert tables > 0
