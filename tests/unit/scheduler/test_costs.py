"""What runs and instances cost, by day."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.fleet_scene import Scene

from trainyard.errors import ServiceError
from trainyard.testing.fakes.scheduling_fleet import MemoryCosts
from trainyard_scheduler.use_cases import costs

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_costs_are_settled_by_whatever_road(scene: Scene) -> None:
    """Every run that has ended costs its seconds at its instance's price; the answer by day adds them up."""
    ident = scene.request()
    scene.keeper.step()
    (instance,) = scene.alive()
    until = scene.clock.now() + timedelta(seconds=60)
    scene.store.state.claim(ident, lease_until=until, instance_id=instance)
    assert costs.settle(scene.store) == 0
    scene.clock.advance(10)
    scene.store.state.finish(ident)
    assert [costs.settle(scene.store), costs.settle(scene.store)] == [1, 0]
    with scene.store.begin() as records:
        first, last = costs.days(records, None, None)
        assert (last - first).days == 29
        runs, instances = costs.between(records, first, last)
    assert [(row.model, row.usd) for row in runs] == [("late", pytest.approx(0.01))]
    assert [(row.instances, row.usd) for row in instances] == [(1, pytest.approx(0.01))]


@pytest.mark.parametrize(
    ("first", "last", "wrong"),
    [
        ("2026-02-30", None, "from must be a day"),
        (None, "today", "upto must be a day"),
        ("20260101", None, "from must be a day"),
        ("2026-02-02", "2026-02-01", "is after"),
        ("2024-01-01", "2026-01-01", "366 days"),
    ],
)
def test_days_that_cannot_be(scene: Scene, first: str | None, last: str | None, wrong: str) -> None:
    """Bad days are refused with the parameter's name."""
    with scene.store.begin() as records, pytest.raises(ServiceError, match=wrong):
        costs.days(records, first, last)


def test_days_that_can_be(scene: Scene) -> None:
    """A day alone, a leap year, and the first days of the calendar are days."""
    with scene.store.begin() as records:
        for first, last in (("2026-01-01", "2026-01-01"), ("2024-01-01", "2024-12-31")):
            assert [day.isoformat() for day in costs.days(records, first, last)] == [first, last]
        assert costs.days(records, None, "0001-01-05")[0].isoformat() == "0001-01-02"


def test_what_settled_costs_say(scene: Scene, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the number of runs, none when there are none."""
    for settled in (0, 3):
        monkeypatch.setattr(MemoryCosts, "settle", lambda _, settled=settled: settled)
        assert costs.settle(scene.store) == settled
    assert said() == [("INFO", "costs.settled", {"runs": 3})]
