"""The prediction log contract on the fake and on Postgres."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.testing.contracts import PredictionLogContract
from trainyard.testing.fakes import MemoryPredictionLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from trainyard.adapters.postgres.warehouse import PostgresWarehouse
    from trainyard.schema import Schema


class TestMemoryPredictionLog(PredictionLogContract):
    """The fake."""

    @pytest.fixture
    def log(self) -> MemoryPredictionLog:
        """An empty log."""
        return MemoryPredictionLog()

    @pytest.fixture
    def add_model_of(self, log: MemoryPredictionLog) -> Callable[[str, Schema], None]:
        """Models as the fake knows them."""
        return log.models.__setitem__

    @pytest.fixture
    def keep_since(self, log: MemoryPredictionLog) -> Callable[[datetime], None]:
        """The fake's bound."""
        return functools.partial(setattr, log, "since")


class TestPostgresPredictionLog(PredictionLogContract):
    """The adapter."""

    @pytest.fixture
    def log(self, engine: sa.Engine) -> PostgresPredictionLog:
        """An empty log."""
        return PostgresPredictionLog(engine)

    @pytest.fixture
    def keep_since(self, engine: sa.Engine) -> Callable[[datetime], None]:
        """The bound that forgetting moves on."""

        def keep(since: datetime) -> None:
            with engine.begin() as connection:
                connection.execute(sa.text("UPDATE core.prediction_kept SET since = :since"), {"since": since})

        return keep

    @pytest.fixture
    def add_model_of(self, engine: sa.Engine, warehouse: PostgresWarehouse) -> Callable[[str, Schema], None]:
        """A dataset and a model's record, as the scheduler writes it."""
        statement = (
            "INSERT INTO core.model (name, dataset_id, label, task, policy)"
            " SELECT :model, id, 'x', 'auto', '{}' FROM core.dataset"
        )

        def add(model: str, schema: Schema) -> None:
            warehouse.create("shop", schema, actor="k1")
            with engine.begin() as connection:
                connection.execute(sa.text(statement), {"model": model})

        return add
