"""Statements that must not slow down with the length of the queue, whatever the planner knows about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.contracts.requests import NewRequest
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUED, ENDED = 5_000, 3_000
#: Rows of the table that a claim or a look of a policy may read by a scan; each takes some, never a share of the queue.
MOST_ROWS_READ = 200


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine of the test's database, without statistics and with nobody who makes some."""
    engine = make_engine(database_url, service="test")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE core.training_request SET (autovacuum_enabled = off)")
        connection.exec_driver_sql("INSERT INTO core.dataset (name, columns, last_seq) VALUES ('d', '[]', 1000000)")
    yield engine
    engine.dispose()


def fill(engine: sa.Engine) -> tuple[int, str]:
    """Make a model with one open request, and a backlog beside it; return the model's id and the request's."""
    store = PostgresStore(engine)
    with store.begin() as records:
        dataset = records.models.dataset("d")
        assert dataset is not None
        for name in ("m", "others"):
            records.models.add(name, dataset.id, label="y", task="auto", policy=Policy())
        model, others = records.models.get("m"), records.models.get("others")
        assert model is not None
        assert others is not None
        request = records.requests.add(NewRequest(model.id, "by_hand", 1, 1, Policy().settings(), "policy", None))
        assert request is not None
    for model_id, state, count in ((others.id, "queued", QUEUED), (model.id, "done", ENDED), (model.id, "failed", 3)):
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO core.training_request (id, model_id, reason, state, upto_seq, new_rows, settings,"
                    " requested_by, finished_at) SELECT gen_random_uuid(), :model_id, 'x', :state, n, 1, '{}',"
                    " 'policy', now() FROM generate_series(1, :count) n"
                ),
                {"model_id": model_id, "state": state, "count": count},
            )
    return model.id, request.id


def rows_read(engine: sa.Engine) -> int:
    """Return how many rows of the requests have been read so far, by whatever scan."""
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")
    with engine.begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0) FROM pg_stat_user_tables t"
            " LEFT JOIN pg_stat_user_indexes i ON i.relid = t.relid"
            " WHERE t.relid = 'core.training_request'::regclass GROUP BY t.seq_tup_read"
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("analyzed", [False, True], ids=["without statistics", "with statistics"])
def test_claim_and_look_read_a_few_rows(engine: sa.Engine, *, analyzed: bool) -> None:
    """Among thousands of queued and ended requests, both follow an index to what they want."""
    model_id, request_id = fill(engine)
    if analyzed:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE core.training_request")
    one = make_engine(engine.url.render_as_string(hide_password=False), service="test", pool_size=1)
    before = rows_read(one)

    with PostgresStore(one).begin() as records:
        standing = records.requests.standing(model_id, labels=False)
    looked = rows_read(one) - before
    claim = PostgresRuns(one).claim(request_id, worker="w", instance_id=None, instance_type="t", lease_seconds=60)
    claimed = rows_read(one) - before - looked
    one.dispose()

    assert standing.open_request == request_id
    assert claim.outcome == "claimed"
    assert looked <= MOST_ROWS_READ
    assert claimed <= MOST_ROWS_READ
