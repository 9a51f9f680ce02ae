"""A model on fakes whose champion is watched: what the tests of watching and of live quality act on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from trainyard.clock import ManualClock
from trainyard.contracts.monitoring import Reference
from trainyard.drift import profile_of
from trainyard.schema import Column
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler.use_cases import monitor, quality
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import model_called, put_model
from trainyard_scheduler.use_cases.requests import ask

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
WATCH = {"window_rows": 40, "min_rows": 20, "label_wait": 100, "cool_down": 0, "persistence": 2}
HOLDOUT = {"roc_auc": 0.9, "log_loss": 0.3, "accuracy": 0.9}
PROFILE = profile_of(
    [Column("x", "float", "feature", nullable=True)], {"x": np.random.default_rng(0).normal(size=2_000)}
)


class Scene:
    """A model whose champion is version 1, watched in windows of 40 predictions."""

    def __init__(self, **watch: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.rng = np.random.default_rng(1)
        self.store.state.add_dataset("flights", COLUMNS)
        policy = {"monitoring": {**WATCH, **watch}}
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": policy}, BY)
        self.model_id = self.store.state.models[0].id
        self.version = 0
        self.monitor = monitor.Monitor(self.store, self.clock)
        self.serve()

    def serve(self, profile: Any = PROFILE) -> None:
        """Make the next version the champion."""
        self.store.state.add_rows("flights", 10)
        with self.store.begin() as records:
            request = ask(records, "late", {}, BY)[1].id
        self.store.state.claim(request, lease_until=self.clock.now() + timedelta(days=1))
        self.version = self.store.state.finish(request)
        self.store.state.references[self.model_id, self.version] = Reference(profile, HOLDOUT)
        with self.store.begin() as records:
            alias = records.versions.point(self.model_id, "champion", self.version)
            records.versions.deployed(
                self.model_id, alias, previous_version=None, removed=False, actor="test", reason="test"
            )

    def predict(self, count: int = 40, *, shift: float = 0.0, version: int | None = None, at: Any = None) -> list[str]:
        """Log predictions; every second says "true" with 0.9, the others with 0.1. Return their ids."""
        ids = []
        for number in range(count):
            p = 0.9 if number % 2 else 0.1
            output = {"prediction": p > 0.5, "probabilities": {"true": p, "false": 1 - p}}
            inputs = {"x": float(self.rng.normal()) + shift}
            ids.append(self.store.state.log("late", version or self.version, inputs, output, at=at))
        return ids

    def label(self, ids: list[str], *, right: bool = True) -> None:
        """Give the labels that the predictions said, or the others."""
        for number, ident in enumerate(ids):
            self.store.state.label(ident, bool(number % 2) is right)

    def watch(self) -> int:
        """Run the loop once."""
        return self.monitor.step()

    def outcomes(self, detector: str = "drift") -> list[str]:
        """Return the windows' outcomes, oldest first."""
        with self.store.begin() as records:
            return [one.outcome for one in records.monitoring.recent(self.model_id, detector, 100)][::-1]

    def report(self, detector: str = "quality") -> Any:
        """Return the newest window's report."""
        with self.store.begin() as records:
            return records.monitoring.recent(self.model_id, detector, 1)[0].report

    def alarms(self) -> list[tuple[str, str | None]]:
        """Return detector and outcome of each alarm, oldest first."""
        return [(alarm.detector, alarm.outcome) for _, alarm in self.store.state.alarms]

    def shown(self, most: int = quality.MOST_PREDICTIONS) -> dict[str, Any]:
        """Return what the quality page says, of so many predictions."""
        with self.store.begin() as records:
            return quality.shown(records, model_called(records, "late"), most)
