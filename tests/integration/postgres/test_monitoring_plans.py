"""What is shown of live quality must not cost more the longer the log is, whatever the planner knows about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.contracts.monitoring import Span
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGED, OPEN, MONTHS = 20_000, 40, 4
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
#: Rows of the log that one look may read by a scan: what no window has, and a few in each month on the way there.
MOST_ROWS_READ = 3 * OPEN + 10 * MONTHS


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine of one connection, of a database without statistics."""
    engine = make_engine(database_url, service="test", pool_size=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO core.dataset (name, columns, last_seq) VALUES ('d', '[]', 0)")
    yield engine
    engine.dispose()


def fill(engine: sa.Engine) -> int:
    """Make a model and a log of two versions, a prediction of each every second; return the model's id."""
    with PostgresStore(engine).begin() as records:
        dataset = records.models.dataset("d")
        assert dataset is not None
        records.models.add("m", dataset.id, label="y", task="auto", policy=Policy())
        model = records.models.get("m")
        assert model is not None
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at, logged_at)"
                " SELECT v || '-' || n, 'm', v, '{}', '{}', :began + make_interval(secs => n),"
                " clock_timestamp() + make_interval(months => n * :months / (:count + 1))"
                " FROM generate_series(1, :count) n, generate_series(1, 2) v ORDER BY n, v"
            ),
            {"began": BEGAN, "count": LOGGED, "months": MONTHS},
        )
        for table in tables(connection):
            connection.exec_driver_sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    return model.id


def tables(connection: sa.Connection) -> list[str]:
    """Return the tables of the log: the parent and its months."""
    found = connection.exec_driver_sql(
        "SELECT 'core.prediction' UNION ALL"
        " SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'core.prediction'::regclass"
    )
    return list(found.scalars())


def rows_read(engine: sa.Engine) -> int:
    """Return how many rows of the log have been read so far, by whatever scan."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with engine.begin() as connection:
        found = connection.execute(
            sa.text(
                "SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relid = ANY(CAST(:log AS regclass[])))"
                " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE relid = ANY(CAST(:log AS regclass[])))"
            ),
            {"log": tables(connection)},
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("cut", ["rows", "time"])
@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
def test_only_the_open_window_is_read(engine: sa.Engine, *, analyzed: bool, cut: str) -> None:
    """Behind a long log the versions are found, and what no window has is read; nothing of the closed windows."""
    model_id = fill(engine)
    if analyzed:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"ANALYZE {', '.join(tables(connection))}")
    ended = BEGAN + timedelta(seconds=LOGGED - OPEN + 1)
    last = Span("w", 2, 0, cut, 0, 2 * (LOGGED - OPEN), BEGAN, ended, LOGGED - OPEN)
    before = rows_read(engine)
    with PostgresStore(engine).begin() as records:
        versions = records.monitoring.answering(model_id, 20)
        behind = list(records.monitoring.unwatched(model_id, 2, last, 20_000))
    assert (versions, len(behind)) == ([2, 1], OPEN)
    assert rows_read(engine) - before <= MOST_ROWS_READ


def test_a_look_into_the_log_reads_what_it_shows(engine: sa.Engine) -> None:
    """A page, one prediction, the newest place and the look for known ids take steps in each month's index, no scan."""
    fill(engine)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"ANALYZE {', '.join(tables(connection))}")
    log = PostgresPredictionLog(engine)
    middle = log.find(f"2-{LOGGED // 2}")
    assert middle is not None
    sights = sa.text("SELECT coalesce(max(p.seq), 0) FROM core.prediction p WHERE p.model = 'm'")

    def newest() -> list[object]:
        with engine.begin() as connection:
            return list(connection.execute(sights).scalars())

    looks = {
        "a page": lambda: log.page(model=None, version=None, limit=OPEN, after=middle.seq),
        "a model's page": lambda: log.page(model="m", version=None, limit=OPEN, after=middle.seq),
        "a version's page": lambda: log.page(model="m", version=2, limit=OPEN, after=middle.seq),
        "the newest page": lambda: log.page(model=None, version=None, limit=OPEN, newest=True),
        "a model's newest": lambda: log.page(model="m", version=None, limit=OPEN, after=middle.seq, newest=True),
        "one": lambda: [log.find("1-7")],
        "known ids": lambda: [log.add([middle.prediction, replace(middle.prediction, id="new")])],
        "the newest": newest,
    }
    for name, look in looks.items():
        before = rows_read(engine)
        found = look()
        assert len(found) in {1, OPEN}, name
        assert rows_read(engine) - before <= MOST_ROWS_READ, name
