"""The months of the prediction log in Postgres: who makes them, what keeps out of them, what goes and what stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.contracts.prediction_log import Added, Prediction
from trainyard.contracts.upkeep import Forgotten
from trainyard.errors import TransientError

DAY = 86_400.0
#: As the release before inserts.
OLD = (
    "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at, logged_at)"
    " VALUES (:id, 'm', 1, '{}', '{}', :at, :at) ON CONFLICT (id) DO NOTHING"
)


def _prediction(ident: str, at: datetime = datetime(2026, 3, 1, tzinfo=UTC)) -> Prediction:
    return Prediction(ident, "m", 1, None, None, {}, {"prediction": 1}, None, at)


def _sql(engine: sa.Engine, statement: str, **values: object) -> list[tuple[object, ...]]:
    with engine.begin() as connection:
        done = connection.execute(sa.text(statement), values)
        return [tuple(row) for row in done] if done.returns_rows else []


def _forget(engine: sa.Engine, days: float, limit: int = 100) -> Forgotten:
    with PostgresStore(engine).begin() as records:
        return records.upkeep.forget_predictions(older_than_seconds=days * DAY, limit=limit)


def _months(engine: sa.Engine) -> list[str]:
    found = _sql(
        engine, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'core.prediction'::regclass"
    )
    return sorted(str(name) for (name,) in found)


def test_months_are_made(engine: sa.Engine) -> None:
    """The first prediction makes its month, forgetting makes the next; each has every index of the log."""
    assert _months(engine) == []
    PostgresPredictionLog(engine).add([_prediction("p")])
    (this,) = _months(engine)
    assert _forget(engine, 400) == Forgotten(None, 0)
    assert _months(engine)[0] == this
    assert len(_months(engine)) == 2
    indexes = "SELECT indrelid, count(*) FROM pg_index WHERE indrelid = ANY(CAST(:log AS regclass[])) GROUP BY 1"
    counted = _sql(engine, indexes, log=["core.prediction", *_months(engine)])
    assert len(counted) == 3
    assert {count for _, count in counted} == {6}


def test_nothing_gets_into_another_month(engine: sa.Engine) -> None:
    """A table refuses what was not logged in its month, by name; nothing new lies in the parent itself."""
    PostgresPredictionLog(engine).add([_prediction("p")])
    (this,) = _months(engine)
    wrong = OLD.replace("core.prediction", this).replace(" ON CONFLICT (id) DO NOTHING", "")
    with pytest.raises(sa.exc.IntegrityError, match="logged_at_check"):
        _sql(engine, wrong, id="q", at=datetime(2020, 1, 1, tzinfo=UTC))
    _sql(engine, OLD, id="r", at=datetime(2020, 1, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    assert _months(engine) == ["core.prediction_2020_01", this]
    assert _sql(engine, "SELECT count(*) FROM ONLY core.prediction") == [(0,)]


def test_a_month_is_utc(engine: sa.Engine) -> None:
    """Whatever zone a session or a server lives in, a month begins at midnight UTC."""
    with engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL timezone = 'Pacific/Auckland'"))
        connection.execute(sa.text(OLD), {"id": "p", "at": datetime(2020, 1, 31, 23, tzinfo=UTC)})
    assert _months(engine) == ["core.prediction_2020_01"]


def test_ids_are_unique_over_months(engine: sa.Engine) -> None:
    """An id that an older month has is not logged again, by neither release; eight at once log each id once."""
    _sql(engine, OLD, id="p", at=datetime(2020, 1, 1, tzinfo=UTC))
    log = PostgresPredictionLog(engine)
    assert log.add([_prediction("p")]) == Added(0)
    _sql(engine, OLD, id="p", at=datetime(2021, 1, 1, tzinfo=UTC))
    assert _sql(engine, "SELECT count(*) FROM core.prediction") == [(1,)]

    def both(number: int) -> int:
        if number % 2:
            _sql(engine, OLD, id="twin", at=datetime(2022, 1, 1, tzinfo=UTC))
        return log.add([_prediction(f"q{n}") for n in range(20)]).new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(both, range(16))) == 20
    assert _sql(engine, "SELECT count(*), count(DISTINCT id), count(DISTINCT seq) FROM core.prediction") == [(22,) * 3]


def test_a_reader_is_not_disturbed(engine: sa.Engine) -> None:
    """A month that somebody reads does not go: nothing has changed, the bound included; afterwards it goes."""
    old = datetime(2020, 1, 15, tzinfo=UTC)
    _sql(engine, OLD, id="p", at=old)
    with engine.begin() as reader:
        reader.execute(sa.text("SELECT id FROM core.prediction")).all()
        with pytest.raises(TransientError):
            _forget(engine, 400)
    assert PostgresPredictionLog(engine).add([_prediction("late", old)]) == Added(1)
    assert _forget(engine, 400) == Forgotten("prediction_2020_01", 0)
    assert PostgresPredictionLog(engine).add([_prediction("p", old), _prediction("late", old)]) == Added(0, expired=1)


def test_what_was_there_before_months(engine: sa.Engine) -> None:
    """Rows of the parent itself go in pieces, oldest first, by the same bound; young ones stay, known to writers."""
    began = datetime(2020, 1, 1, tzinfo=UTC)
    _sql(engine, "ALTER TABLE core.prediction DISABLE TRIGGER prediction_redirected")
    for number in range(5):
        _sql(engine, OLD, id=f"old{number}", at=began + timedelta(days=number))
    ((now,),) = _sql(engine, "SELECT clock_timestamp()")
    _sql(engine, OLD, id="young", at=now)
    _sql(engine, "ALTER TABLE core.prediction ENABLE TRIGGER prediction_redirected")
    assert [_forget(engine, 400, limit=2).rows for _ in range(4)] == [2, 2, 1, 0]
    assert _sql(engine, "SELECT id FROM core.prediction") == [("young",)]
    assert PostgresPredictionLog(engine).add([_prediction("young"), _prediction("old0", began)]) == Added(0, expired=1)
