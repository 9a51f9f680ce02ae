"""Traffic: how many predictions there were in each hour or day, and within which time they were answered."""

from __future__ import annotations

from datetime import timedelta

from trainyard.clock import ManualClock
from trainyard.contracts.monitoring import Traffic
from trainyard.schema import Column
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler.use_cases import traffic
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import model_called, put_model


def test_quantiles_are_those_of_all_that_were_timed() -> None:
    """The least time within which so many were answered, over versions; what nobody timed counts in the number only."""
    at = ManualClock().now()
    found = [Traffic(at, 2, 300.4, 4), Traffic(at, 1, 100.0, 95), Traffic(at, 2, 9000.0, 1), Traffic(at, 2, None, 7)]
    assert traffic.figures(found) == {
        "predictions": 107, "versions": {"2": 12, "1": 95}, "p50_us": 100, "p95_us": 100, "p99_us": 300,
    }  # fmt: skip
    assert traffic.figures([]) == {"predictions": 0, "versions": {}, "p50_us": None, "p95_us": None, "p99_us": None}


def test_every_hour_and_every_day_is_told() -> None:
    """Those without a prediction too, oldest first, to this one; beyond three days by the day."""
    store = MemoryStore(ManualClock())
    store.state.add_dataset("flights", (Column("x", "float").to_dict(), Column("y", "bool", "label").to_dict()))
    with store.begin() as records:
        put_model(records, "late", {"dataset": "flights", "label": "y"}, By("k", None))
        model = model_called(records, "late")
        now = records.upkeep.now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    store.state.traffic = [
        (model.id, Traffic(hour - timedelta(hours=back), 1, 10.0, count)) for back, count in ((49, 5), (2, 7), (0, 1))
    ]
    with store.begin() as records:
        hours = traffic.shown(records, model, 3)
        days = traffic.shown(records, model, 96)
    assert [(one["at"], one["predictions"]) for one in hours["items"]] == [
        ((hour - timedelta(hours=back)).isoformat(), count) for back, count in ((2, 7), (1, 0), (0, 1))
    ]
    assert (hours["bucket_seconds"], hours["total"]["predictions"]) == (3_600, 8)
    assert (days["bucket_seconds"], days["total"]["predictions"]) == (86_400, 13)
    assert sum(one["predictions"] for one in days["items"]) == 13
    assert {one["at"][11:] for one in days["items"]} == {"00:00:00+00:00"}
