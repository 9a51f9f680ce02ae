"""Every toxic, seen from a Postgres client behind the proxy."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest

from trainyard.clock import SystemClock
from trainyard.testing.pgproxy import PgProxy
from trainyard.testing.processes import free_port
from trainyard.testing.toxics import (
    Bandwidth,
    Down,
    DropCommitReply,
    Latency,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.testing.postgres import PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """A database with an empty table t(x)."""
    name = postgres.create_database()
    postgres.execute("CREATE TABLE t (x int)", database=name)
    yield name
    postgres.drop_database(name)


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[PgProxy]:
    """A proxy before the server, without a toxic."""
    with PgProxy(postgres.port) as proxy:
        yield proxy


@pytest.fixture
def dsn(postgres: PostgresServer, proxy: PgProxy, database: str) -> str:
    """The database's address through the proxy."""
    return postgres.dsn(database, port=proxy.port)


def _insert(dsn: str, value: int) -> None:
    with closing(psycopg2.connect(dsn, connect_timeout=5)) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s)", (value,))
        connection.commit()


def _stored(postgres: PostgresServer, database: str) -> list[int]:
    with closing(psycopg2.connect(postgres.dsn(database))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT x FROM t ORDER BY x")
        return [row[0] for row in cursor.fetchall()]


def _seconds(dsn: str, rows: int) -> float:
    """Return how long a client behind the proxy takes for ``rows`` rows of 1 kB."""
    clock = SystemClock()
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        start = clock.monotonic()
        cursor.execute("SELECT repeat('x', 1000) FROM generate_series(1, %s)", (rows,))
        assert len(cursor.fetchall()) == rows
        return clock.monotonic() - start


def test_without_toxic_nothing_changes(postgres: PostgresServer, dsn: str, database: str) -> None:
    """The proxy alone is invisible, also for answers larger than its buffers."""
    _insert(dsn, 1)
    _seconds(dsn, 2_000)
    assert _stored(postgres, database) == [1]


@pytest.mark.parametrize("nth", [1, 2])
def test_dropped_commit_reply(postgres: PostgresServer, proxy: PgProxy, dsn: str, database: str, nth: int) -> None:
    """The client sees a broken connection at its n-th commit, and yet the rows are there; the next commit is fine."""
    with proxy.toxic(DropCommitReply(nth=nth)):
        for value in range(1, nth):
            _insert(dsn, value)
        with pytest.raises(psycopg2.OperationalError):
            _insert(dsn, nth)
        _insert(dsn, nth + 1)
    assert _stored(postgres, database) == list(range(1, nth + 2))
    assert proxy.commits_dropped == 1


def test_rollback_is_not_a_commit(postgres: PostgresServer, proxy: PgProxy, dsn: str, database: str) -> None:
    """Only the answer to a commit is dropped, whatever else the client says, COMMIT inside a value included."""
    with proxy.toxic(DropCommitReply()), closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 'COMMIT'")
        connection.rollback()
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
    assert proxy.commits_dropped == 0


def test_down_refuses_and_closes(proxy: PgProxy, dsn: str) -> None:
    """While down, old connections break and new ones are refused; afterwards the same port answers again."""
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        with proxy.toxic(Down()):
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
            with pytest.raises(psycopg2.OperationalError, match="refused"):
                _insert(dsn, 1)
        _insert(dsn, 2)


@pytest.mark.parametrize("toxic", [ResetPeer(), ResetPeer(timeout_ms=50), Timeout(timeout_ms=50)])
def test_broken_connections(proxy: PgProxy, dsn: str, toxic: Toxic) -> None:
    """A connection that is reset, or falls silent and is closed, fails at the client instead of hanging."""
    with (
        proxy.toxic(toxic),
        pytest.raises(psycopg2.OperationalError),
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(5)")


def test_silence_until_removed(proxy: PgProxy, dsn: str) -> None:
    """A timeout of 0 swallows data for as long as it is there: connecting runs into the client's own limit."""
    with proxy.toxic(Timeout()), pytest.raises(psycopg2.OperationalError, match="timeout"):
        psycopg2.connect(dsn, connect_timeout=2)
    _insert(dsn, 1)


def test_latency(proxy: PgProxy, dsn: str) -> None:
    """Every answer takes at least the time that was ordered."""
    with proxy.toxic(Latency(latency_ms=120, jitter_ms=20)):
        assert _seconds(dsn, 1) >= 0.1


def test_bandwidth(proxy: PgProxy, dsn: str) -> None:
    """100 kB at 400 kB/s take at least a quarter of a second."""
    with proxy.toxic(Bandwidth(rate_kb=400)):
        assert _seconds(dsn, 100) >= 0.25


def test_slices(postgres: PostgresServer, proxy: PgProxy, dsn: str, database: str) -> None:
    """Data that arrives in crumbs, both ways, is still the same data, and a COMMIT among them is still found."""
    up, down = Slicer("upstream", 3, 2), Slicer("downstream", 7, 5, 10)
    with proxy.toxic(up), proxy.toxic(down), proxy.toxic(DropCommitReply()):
        _seconds(dsn, 4)
        with pytest.raises(psycopg2.OperationalError):
            _insert(dsn, 1)
    assert _stored(postgres, database) == [1]


def test_slow_close(proxy: PgProxy, dsn: str, postgres: PostgresServer) -> None:
    """The server's end of a connection reaches the client late."""
    clock = SystemClock()
    with (
        proxy.toxic(SlowClose(delay_ms=300)),
        closing(psycopg2.connect(dsn)) as connection,
        connection.cursor() as cursor,
    ):
        start = clock.monotonic()
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        assert clock.monotonic() - start >= 0.25


def test_no_server_behind() -> None:
    """A proxy whose server is gone resets its clients, as the network would."""
    with PgProxy(free_port()) as proxy, pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(f"postgresql://x@127.0.0.1:{proxy.port}/x", connect_timeout=5)
