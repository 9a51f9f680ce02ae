"""What is shown of live quality must not cost more the longer the log is, whatever the planner knows about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.contracts.monitoring import Span
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGED, OPEN = 20_000, 40
BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
#: Rows of the log that one look may read by a scan: what no window has, and a few on the way there.
MOST_ROWS_READ = 3 * OPEN


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine of one connection, of a database without statistics and with nobody who makes some."""
    engine = make_engine(database_url, service="test", pool_size=1)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE core.prediction SET (autovacuum_enabled = off)")
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
                "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)"
                " SELECT v || '-' || n, 'm', v, '{}', '{}', :began + make_interval(secs => n)"
                " FROM generate_series(1, :count) n, generate_series(1, 2) v ORDER BY n, v"
            ),
            {"began": BEGAN, "count": LOGGED},
        )
    return model.id


def rows_read(engine: sa.Engine) -> int:
    """Return how many rows of the log have been read so far, by whatever scan."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with engine.begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0) FROM pg_stat_user_tables t"
            " LEFT JOIN pg_stat_user_indexes i ON i.relid = t.relid"
            " WHERE t.relid = 'core.prediction'::regclass GROUP BY t.seq_tup_read"
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("cut", ["rows", "time"])
@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
def test_only_the_open_window_is_read(engine: sa.Engine, *, analyzed: bool, cut: str) -> None:
    """Behind a long log the versions are found, and what no window has is read; nothing of the closed windows."""
    model_id = fill(engine)
    if analyzed:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE core.prediction")
    ended = BEGAN + timedelta(seconds=LOGGED - OPEN + 1)
    last = Span("w", 2, 0, cut, 0, 2 * (LOGGED - OPEN), BEGAN, ended, LOGGED - OPEN)
    before = rows_read(engine)
    with PostgresStore(engine).begin() as records:
        versions = records.monitoring.answering(model_id, 20)
        behind = list(records.monitoring.unwatched(model_id, 2, last, 20_000))
    assert (versions, len(behind)) == ([2, 1], OPEN)
    assert rows_read(engine) - before <= MOST_ROWS_READ
