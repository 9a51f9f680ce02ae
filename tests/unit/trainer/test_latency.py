"""The time of one row is measured, or said not to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainyard.clock import ManualClock
from trainyard.schema import Column, Schema
from trainyard_trainer.learning import latency
from trainyard_trainer.learning.table import Table


@dataclass
class Slow:
    """A predictor whose every answer takes 2 ms, and the first a second."""

    clock: ManualClock
    first: bool = True

    def predict_columns(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        assert [len(values) for values in columns.values()] == [1]
        self.clock.advance(1.0 if self.first else 0.002)
        self.first = False
        return np.zeros(1)


def test_median_of_single_rows(monkeypatch) -> None:
    """One row at a time, the first not counted; no row, or a clock that stands still, is no measurement."""
    clock = ManualClock()
    table = Table(Schema([Column("x", "float")]), {"x": np.arange(5.0)})
    monkeypatch.setattr(latency, "Predictor", lambda _: Slow(clock))
    assert abs(latency.one_row_us(None, table, clock) - 2_000.0) < 1.0
    assert latency.one_row_us(None, table.take(np.zeros(0, dtype=int)), clock) is None
    assert latency.one_row_us(None, table, ManualClock()) is None
