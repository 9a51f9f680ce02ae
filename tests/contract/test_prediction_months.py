"""Forgetting predictions by whole months: the fake and Postgres behave alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import ManualClock
from trainyard.testing.contracts import PredictionMonthsContract
from trainyard.testing.fakes import MemoryStore

if TYPE_CHECKING:
    from datetime import datetime


class MemoryMonths:
    """The fake."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock())

    def log(self, ident: str, at: datetime) -> None:
        """Log a prediction."""
        self.store.state.log("late", 1, {}, {"prediction": 1}, ident=ident, at=at, logged_at=at)

    def label(self, ident: str, at: datetime) -> None:
        """Give a label."""
        self.store.state.label(ident, 1, at=at)

    def logged(self) -> list[tuple[int, str]]:
        """Return the log."""
        return [(seq, row.id) for seq, row in self.store.state.numbered()]

    def labelled(self) -> list[str]:
        """Return the labels."""
        return [ident for ident, _ in self.store.state.given()]


class PostgresMonths:
    """Postgres; the release before logs the predictions, as only it may say when that was."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.store = PostgresStore(engine)

    def log(self, ident: str, at: datetime) -> None:
        """Log a prediction."""
        self._run(
            "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at, logged_at)"
            " VALUES (:id, 'late', 1, '{}', '{}', :at, :at)",
            id=ident,
            at=at,
        )

    def label(self, ident: str, at: datetime) -> None:
        """Give a label."""
        self._run("INSERT INTO core.feedback (prediction_id, label, given_at) VALUES (:id, '1', :at)", id=ident, at=at)

    def logged(self) -> list[tuple[int, str]]:
        """Return the log."""
        with self._engine.begin() as connection:
            return [(row.seq, row.id) for row in connection.execute(sa.text(_LOGGED))]

    def labelled(self) -> list[str]:
        """Return the labels."""
        with self._engine.begin() as connection:
            return list(connection.execute(sa.text("SELECT prediction_id FROM core.feedback ORDER BY seq")).scalars())

    def _run(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(sa.text(statement), values)


_LOGGED = "SELECT seq, id FROM core.prediction ORDER BY seq"


class TestMemory(PredictionMonthsContract):
    """The fake."""

    @pytest.fixture
    def log(self) -> MemoryMonths:
        """An empty one."""
        return MemoryMonths()


class TestPostgres(PredictionMonthsContract):
    """The adapter."""

    @pytest.fixture
    def log(self, engine: sa.Engine) -> PostgresMonths:
        """An empty database."""
        return PostgresMonths(engine)
