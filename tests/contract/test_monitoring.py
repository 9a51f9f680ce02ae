"""The rooms of watching: the fake and Postgres behave alike."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.clock import ManualClock
from trainyard.contracts.prediction_log import Label, Prediction
from trainyard.testing.contracts import MonitoringContract
from trainyard.testing.contracts.monitoring import HOUR
from trainyard.testing.contracts.scheduling import add_model, add_request
from trainyard.testing.fakes import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.monitoring import Reference
    from trainyard.contracts.prediction_log import ShadowScore


class MemoryWorld:
    """The fake."""

    def __init__(self) -> None:
        self.store = MemoryStore(ManualClock(datetime(2027, 1, 1, tzinfo=UTC)))
        self.store.state.add_dataset("flights", ())
        with self.store.begin() as records:
            self.model_id = add_model(records)
            request = add_request(records, self.model_id).id
        self.store.state.claim(request, lease_until=HOUR + timedelta(days=1_000))
        self.store.state.finish(request)
        with self.store.begin() as records:
            records.versions.point(self.model_id, "champion", 1)

    def refer(self, reference: Reference) -> None:
        """Give version 1 a reference."""
        self.store.state.references[self.model_id, 1] = reference

    def log(
        self, ident: str, *, version: int = 1, at: datetime = HOUR, inputs: Mapping[str, Any] | None = None
    ) -> None:
        """Log a prediction."""
        self.store.state.log("late", version, inputs or {}, {"prediction": ident}, ident=ident, at=at)

    def label(self, ident: str, label: Any) -> None:
        """Give a label."""
        self.store.state.label(ident, label)

    def compare(self, scores: Sequence[ShadowScore]) -> None:
        """Log comparisons."""
        self.store.state.shadows += [(self.store.state.clock.now(), one) for one in scores]


@dataclass
class PostgresWorld:
    """Postgres."""

    engine: sa.Engine

    def __post_init__(self) -> None:
        self.store = PostgresStore(self.engine)
        self._log = PostgresPredictionLog(self.engine)
        warehouse = Warehouse(self.engine)
        with self.store.begin() as records:
            self.model_id = add_model(records)
            request = add_request(records, self.model_id).id
        warehouse.claim(request)
        warehouse.finish(request)
        with self.store.begin() as records:
            records.versions.point(self.model_id, "champion", 1)

    def refer(self, reference: Reference) -> None:
        """Give version 1 a reference."""
        with self.engine.begin() as connection:
            connection.execute(
                sa.text(
                    "UPDATE core.version SET profile = CAST(:profile AS jsonb), metrics = CAST(:metrics AS jsonb),"
                    " gate = jsonb_build_object('rows', CAST(:rows AS bigint)) WHERE version = 1"
                ),
                {
                    "profile": json.dumps(reference.profile),
                    "metrics": json.dumps(reference.metrics),
                    "rows": reference.rows,
                },
            )

    def log(
        self, ident: str, *, version: int = 1, at: datetime = HOUR, inputs: Mapping[str, Any] | None = None
    ) -> None:
        """Log a prediction."""
        output = {"prediction": ident}
        prediction = Prediction(ident, "late", version, None, None, dict(inputs or {}), output, None, at)
        assert self._log.add([prediction]).new == 1

    def label(self, ident: str, label: Any) -> None:
        """Give a label."""
        self._log.give([Label(label, ident)], key_id=None, trace_id=None, once=None)

    def compare(self, scores: Sequence[ShadowScore]) -> None:
        """Log comparisons."""
        assert self._log.add_shadows(scores) == len(scores)


class TestMemoryMonitoring(MonitoringContract):
    """The fake."""

    @pytest.fixture
    def watched(self) -> MemoryWorld:
        """A model with version 1."""
        return MemoryWorld()


class TestPostgresMonitoring(MonitoringContract):
    """The adapter."""

    @pytest.fixture
    def watched(self, engine: sa.Engine) -> PostgresWorld:
        """A model with version 1."""
        return PostgresWorld(engine)

    def test_one_watch_at_a_time(self, watched: PostgresWorld) -> None:
        """Who comes second while the first still holds the watch leaves the model alone, at once."""
        with watched.store.begin() as first:
            assert first.monitoring.hold(watched.model_id) == 0
        with watched.store.begin() as first:
            assert first.monitoring.hold(watched.model_id) == 0
            with watched.store.begin() as second:
                assert second.monitoring.hold(watched.model_id) is None
