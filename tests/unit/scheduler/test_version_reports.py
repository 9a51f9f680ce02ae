"""The report of a version: what it is put together from, and what an hour of its instance cost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from trainyard.clock import ManualClock
from trainyard.errors import ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler import views
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask
from trainyard_scheduler.use_cases.version_reports import report_of

COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float"})


def published(report: dict[str, Any] | None) -> MemoryStore:
    """Return a store whose model 'late' has version 1 with this report."""
    clock = ManualClock()
    store = MemoryStore(clock)
    store.state.add_dataset("flights", COLUMNS)
    store.state.add_rows("flights", 5)
    with store.begin() as records:
        put_model(records, "late", {"dataset": "flights", "label": "late"}, By("me", "trace"))
        ident = ask(records, "late", {}, By("me", "trace"))[1].id
    store.state.claim(ident, lease_until=clock.now())
    store.state.finish(ident, report=report)
    return store


@pytest.mark.parametrize("report", [{"form": 1}, None])
def test_what_belongs_together(report: dict[str, Any] | None) -> None:
    """The version, the run that made it, and the report if there is one."""
    store = published(report)
    with store.begin() as records:
        found = report_of(records, "late", 1)
    shown = views.version_report(found)
    assert (found.report, found.version.version, found.model.name) == (report, 1, "late")
    assert shown["run"]["id"] == shown["version"]["run_id"] == store.state.runs[0].id
    assert shown["report"] == report
    assert "trials" not in shown["run"]


@pytest.mark.parametrize(
    ("cost", "seconds", "per_hour"), [(0.05, 1800, 0.1), (None, 1800, None), (0.05, 0, None), (0.05, None, None)]
)
def test_the_price_is_that_of_the_run(cost: float | None, seconds: float | None, per_hour: float | None) -> None:
    """Cost by hours, where the run has ended, took time and has a cost."""
    store = published(None)
    run = store.state.runs[0]
    ended = None if seconds is None else run.started_at + timedelta(seconds=seconds)
    store.state.runs[0] = replace(run, cost_usd=cost, ended_at=ended)
    with store.begin() as records:
        assert report_of(records, "late", 1).usd_per_hour == per_hour


@pytest.mark.parametrize(("model", "number", "code"), [("late", 2, "unknown_version"), ("x", 1, "unknown_model")])
def test_what_there_is_not(model: str, number: int, code: str) -> None:
    """Model and version are refused by name."""
    store = published(None)
    with store.begin() as records, pytest.raises(ServiceError) as caught:
        report_of(records, model, number)
    assert caught.value.code == code
