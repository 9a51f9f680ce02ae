"""Watching a model on fakes: windows, drift, alarms, and labels in any order."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.scheduler.watched_scene import BY, WATCH, Scene

from trainyard.contracts.monitoring import Sight, Spent
from trainyard.crashpoints import CrashPointError
from trainyard.drift import Effect
from trainyard.errors import TransientError
from trainyard.policy import MonitoringPolicy
from trainyard.testing.crashpoints import armed
from trainyard_scheduler.domain.monitoring import held_back, judge_drift
from trainyard_scheduler.use_cases import monitor
from trainyard_scheduler.use_cases.models import delete_model, put_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.testing.fakes import MemoryStore


def test_nothing_without_champion_or_full_window() -> None:
    """A model that does not serve is not watched, nor is a window that is not full."""
    scene = Scene()
    scene.predict(39)
    assert scene.watch() == 0
    scene.predict(1)
    assert scene.watch() == 1
    assert scene.outcomes() == ["steady"]
    with scene.store.begin() as records:
        delete_model(records, "late", BY)
    assert monitor.monitor_model(scene.store, "late") == (0, True)


def test_a_model_without_champion() -> None:
    """Predictions of a model that nobody serves wait."""
    scene = Scene()
    scene.predict(40)
    del scene.store.state.aliases[scene.model_id, "champion"]
    assert scene.watch() == 0
    assert "no version serves yet" in scene.shown()["missing"][0]


def test_somebody_else_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that another scheduler looks at is left alone."""
    scene = Scene()
    scene.predict(40)
    with monkeypatch.context() as others:
        others.setattr("trainyard.testing.fakes.scheduling_monitoring.MemoryMonitoring.hold", lambda *_: None)
        assert scene.watch() == 0
    assert scene.watch() == 1  # not taken for looked at: whoever held it may have died


def test_a_strong_shift_is_found_in_the_next_window() -> None:
    """One standard deviation raises an alarm at once, with feature, effect and event; twice looking changes nothing."""
    scene = Scene()
    scene.predict(40)
    scene.watch()
    scene.predict(40, shift=1.0)
    assert scene.watch() == 1
    assert scene.outcomes() == ["steady", "alarm"]
    assert scene.alarms() == [("drift", None)]
    (alarm,) = [alarm for _, alarm in scene.store.state.alarms]
    assert alarm.reason.startswith("drift (strong): x: stability index ")
    assert alarm.numbers["drifting"] == ["x"]
    event = scene.store.state.events[-1]
    assert (event.kind, event.subject, event.payload["held_back"]) == ("alarm.raised", "model/late", None)
    assert scene.watch() == 0
    assert len(scene.alarms()) == 1


def test_many_windows_at_once() -> None:
    """After a pause all full windows are cut, in order, up to a bound in each round."""
    scene = Scene()
    scene.predict(40 * (monitor.MOST_WINDOWS + 3))
    assert scene.watch() == monitor.MOST_WINDOWS
    assert scene.watch() == 3
    assert scene.watch() == 0
    with scene.store.begin() as records:
        numbers = [one.span.number for one in records.monitoring.recent(scene.model_id, "drift", 100, version=1)]
    assert numbers == list(range(monitor.MOST_WINDOWS + 3))[::-1]


def test_a_version_without_profile() -> None:
    """A version that was made before there were profiles has windows, and the answer is not enough data."""
    scene = Scene()
    scene.serve(profile=None)
    scene.predict(40)
    scene.watch()
    assert scene.outcomes() == ["not_enough_data"]
    assert scene.report("drift") == {
        "summary": "version 2 was made without a profile of its rows; the next training makes one",
        "drifting": [],
    }
    assert scene.shown()["missing"] == [
        "the champion was made without a profile of its rows: drift is seen from the next version on",
        "no label has come for the predictions shown here: quality needs feedback",
    ]


def test_weak_drift_must_last_within_a_version() -> None:
    """A weak effect is an alarm in its second window in a row; windows of another version in between do not count."""
    scene = Scene(window_rows=400)
    scene.serve()
    for version in (1, 2, 1):
        scene.predict(400, shift=0.45, version=version)
        scene.watch()
        scene.clock.advance(1)
    assert scene.outcomes() == ["suspect", "suspect", "alarm"]
    scene.predict(400, version=2)
    scene.predict(400, shift=0.45, version=2)
    scene.watch()
    assert scene.outcomes()[3:] == ["steady", "suspect"]
    assert [place for place, _ in scene.alarms()] == ["drift"]


def test_each_version_goes_on_where_it_was() -> None:
    """A version's next window begins behind its own last one, whatever other versions answered in between."""
    scene = Scene()
    scene.predict(50)
    scene.serve()
    scene.predict(40)
    assert scene.watch() == 2
    scene.clock.advance(1)
    scene.predict(30, version=1)
    assert scene.watch() == 1
    assert scene.shown()["drift"][0]["window"] == "v1-after-40"


def test_three_windows_in_a_row() -> None:
    """As many windows are looked back at as the policy says."""
    scene = Scene(window_rows=400, persistence=3)
    for _ in range(3):
        scene.predict(400, shift=0.45)
        scene.watch()
    assert scene.outcomes() == ["suspect", "suspect", "alarm"]


@pytest.mark.parametrize("point", ["K42", "K43", "K44", "K45"])
def test_who_dies_in_a_window_leaves_nothing(point: str) -> None:
    """Whatever fails on the way, window, alarm and event are there together or not at all; the next look makes them."""
    scene = Scene()
    scene.predict(40, shift=1.5)
    events = len(scene.store.state.events)
    with armed(point), pytest.raises(CrashPointError):
        scene.watch()
    assert (scene.outcomes(), scene.outcomes("quality"), scene.alarms()) == ([], [], [])
    assert len(scene.store.state.events) == events
    assert scene.watch() == 1
    assert (scene.outcomes(), scene.alarms()) == (["alarm"], [("drift", None)])


def test_a_model_without_news_is_left_alone() -> None:
    """Until predictions or labels come a model is looked at every few seconds only: its policy may have changed."""
    scene = Scene()
    scene.predict(20)
    assert scene.watch() == 0
    with scene.store.begin() as records:
        policy = {"monitoring": {**WATCH, "window_rows": 20}}
        put_model(records, "late", {"dataset": "flights", "label": "late", "policy": policy}, BY)
    assert scene.watch() == 0
    scene.clock.advance(monitor.LOOK_SECONDS - 0.1)
    assert scene.watch() == 0
    scene.clock.advance(0.1)
    assert scene.watch() == 1
    scene.predict(20)
    assert scene.watch() == 1


def test_a_model_that_fails_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models behind one that cannot be looked at have their turn; the failure is told, and tried again."""
    scene = Scene()
    scene.predict(40)
    looked: list[str] = []

    def look(_: MemoryStore, name: str) -> tuple[int, bool]:
        looked.append(name)
        if name == "a":
            raise TransientError("a takes too long")
        return 1, True

    with monkeypatch.context() as patch:
        sights = [Sight("a", 1, waiting=False), Sight("late", 40, waiting=False)]
        patch.setattr("trainyard.testing.fakes.scheduling_monitoring.MemoryMonitoring.sights", lambda _: sights)
        patch.setattr(monitor, "monitor_model", look)
        for _ in range(2):
            with pytest.raises(TransientError, match="a takes too long"):
                scene.watch()
    assert looked == ["a", "late", "a"]


def test_many_windows_take_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round computes so many windows of a model; the next one goes on, without news."""
    monkeypatch.setattr(monitor, "MOST_WINDOWS", 2)
    scene = Scene()
    scene.predict(5 * 40)
    assert [scene.watch() for _ in range(4)] == [2, 2, 1, 0]


def test_bounds_of_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of versions the newest are watched; labels and windows that waited are looked at a bounded number at a time."""
    scene = Scene()
    scene.serve()
    scene.predict(40, version=1)
    monkeypatch.setattr(monitor, "MOST_VERSIONS", 1)
    assert scene.watch() == 0
    monkeypatch.setattr(monitor, "MOST_VERSIONS", 2)
    scene.clock.advance(monitor.LOOK_SECONDS)
    assert scene.watch() == 1
    ids = scene.predict(80)
    assert scene.watch() == 2
    monkeypatch.setattr(monitor, "MOST_LABELS", 30)
    scene.label(ids)
    assert scene.watch() == 4  # labels 1 to 30, to 60 (of both windows), to 80
    assert scene.watch() == 0
    scene.predict(80)
    assert scene.watch() == 2
    scene.clock.advance(101)
    monkeypatch.setattr(monitor, "MOST_WINDOWS", 2)
    assert [scene.watch() for _ in range(3)] == [2, 1, 0]


def test_an_old_version_asks_for_nothing() -> None:
    """Windows of a version that serves no more are looked at, and their alarms are settled at once."""
    scene = Scene()
    scene.serve()
    scene.predict(40, shift=2.0, version=1)
    scene.watch()
    assert scene.alarms() == [("drift", "held back: version 1 is not the champion any more")]


def test_daily_budget_and_cool_down() -> None:
    """More alarms than the budget, or within the cool-down, are stored and ask for nothing; a day later they do."""
    scene = Scene(max_alarms_per_day=2, cool_down=600)
    until = scene.clock.now() + timedelta(seconds=600)
    for _ in range(4):
        scene.predict(40, shift=2.0)
        scene.watch()
        scene.clock.advance(400)
    assert [outcome for _, outcome in scene.alarms()] == [
        None,
        f"held back by the cool-down of 10 min after the last alarm, until {until.isoformat(timespec='seconds')}",
        None,
        "held back by the daily budget: 2 of 2 alarms in 24 h",
    ]
    scene.clock.advance(86_400)
    scene.predict(40, shift=2.0)
    scene.watch()
    assert scene.alarms()[-1] == ("drift", None)


def test_windows_by_time() -> None:
    """With a length of time windows are whole multiples of it, cut a minute after their end."""
    scene = Scene(window="1h")
    began = scene.clock.now().replace(minute=0, second=0, microsecond=0)
    scene.predict(30, at=began + timedelta(minutes=10))
    scene.predict(10, at=began + timedelta(minutes=59))
    assert scene.watch() == 0
    assert scene.shown()["missing"] == [
        "no window of 1 h with predictions is over",
        "no label has come for the predictions shown here: quality needs feedback",
    ]
    scene.clock.advance(3_661)
    assert scene.watch() == 1
    assert scene.outcomes() == ["steady"]
    assert scene.shown()["missing"] == ["no label has come for the predictions shown here: quality needs feedback"]
    scene.predict(5, at=began + timedelta(hours=5))
    scene.clock.advance(6 * 3_600)
    scene.watch()
    assert scene.outcomes() == ["steady", "not_enough_data"]
    assert scene.report("drift")["summary"] == "5 of 20 predictions"


def test_a_flood_of_feedback_stays_within_the_budget() -> None:
    """However many labels turn quality round, no more alarms than the budget ask for a training."""
    scene = Scene(max_alarms_per_day=2)
    for _ in range(10):
        scene.label(scene.predict(40), right=False)
    while scene.watch():
        pass
    assert sum(outcome is None for _, outcome in scene.alarms()) == 2
    assert len(scene.alarms()) == 10


LABELS = [(f"p{number}", value) for number in range(1, 41) for value in (number % 4 != 0,)]


def final_table(events: list[tuple[str, Any]]) -> Any:
    """Let predictions and labels come in this order, with looks in between; return what is left in the end."""
    scene = Scene(window_rows=20)
    for kind, what in events:
        if kind == "predict":
            scene.predict(20)
        elif kind == "watch":
            scene.watch()
        else:
            scene.store.state.label(*what)
    while scene.watch():
        pass
    state = scene.store.state
    return {
        key: (one.record.span.last_seq, one.record.outcome, one.record.report) for key, one in state.windows.items()
    }


@settings(deadline=None)
@given(st.data())
def test_labels_in_any_order(data: st.DataObject) -> None:
    """Labels before their prediction, late, twice, corrected and reordered end in the same table as in order (K41)."""
    corrected = [(ident, not value) for ident, value in LABELS[:8]]
    in_order = [("predict", None)] * 2 + [("label", one) for one in LABELS] + [("label", one) for one in LABELS[:8]]
    chosen = data.draw(st.permutations(range(len(LABELS))))
    # The last label of each prediction is the true one; what comes before it does not matter.
    events: list[tuple[str, Any]] = [("label", one) for one in corrected]
    events += [("label", LABELS[place]) for place in chosen]
    for place in data.draw(st.lists(st.integers(0, len(events)), min_size=2, max_size=2)):
        events.insert(place, ("predict", None))
    for place in data.draw(st.lists(st.integers(0, len(events)), max_size=3)):
        events.insert(place, ("watch", None))
    events += [("label", one) for one in LABELS[:3]]
    assert final_table(events) == IN_ORDER.setdefault("table", final_table(in_order))


IN_ORDER: dict[str, Any] = {}

EFFECT = Effect("x", "number", 0.25, True, 0.1, False, 0.0, 0.0)
SETTINGS = MonitoringPolicy(min_rows=20)


def test_persistence() -> None:
    """A weak effect is suspect until it lasted; another feature's does not count; one window may be enough."""
    first = judge_drift([EFFECT], 50, SETTINGS, [])
    assert (first.outcome, first.report["drifting"]) == ("suspect", ["x"])
    assert first.summary.startswith("drift, not yet 2 windows in a row: x: stability index 0.25 (from 0.2), 0.10 ")
    assert judge_drift([EFFECT], 50, SETTINGS, [first.report]).outcome == "alarm"
    assert judge_drift([EFFECT], 50, SETTINGS, [{"drifting": ["y"]}]).outcome == "suspect"
    assert judge_drift([EFFECT], 50, SETTINGS, [{}]).outcome == "suspect"
    three = replace(SETTINGS, persistence=3)
    assert judge_drift([EFFECT], 50, three, [first.report]).outcome == "suspect"
    assert judge_drift([EFFECT], 50, three, [first.report] * 2).outcome == "alarm"
    assert judge_drift([EFFECT], 50, replace(SETTINGS, persistence=1), []).summary.startswith("drift (1 windows")


def test_strong_and_weak_effects() -> None:
    """Twice the least effect is an alarm at once; what chance explains is nothing; the strongest is told first."""
    strong = replace(EFFECT, feature="y", psi=0.4, new_levels=3, distance=None)
    found = judge_drift([EFFECT, strong], 50, SETTINGS, [])
    assert found.outcome == "alarm"
    assert found.summary == (
        "drift (strong): y: stability index 0.40 (from 0.2), 3 new levels;"
        " x: stability index 0.25 (from 0.2), 0.10 standard deviations away (from 0.3)"
    )
    far = replace(EFFECT, psi_sure=False, distance=0.6, distance_sure=True)
    assert judge_drift([far], 50, SETTINGS, []).outcome == "alarm"
    assert judge_drift([replace(strong, psi_sure=False)], 50, SETTINGS, []).outcome == "steady"
    assert judge_drift([replace(strong, kind="time")], 50, SETTINGS, []).outcome == "steady"
    assert judge_drift([strong], 19, SETTINGS, []).outcome == "not_enough_data"
    assert judge_drift([strong], 20, SETTINGS, []).outcome == "alarm"


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("today", "ago", "said"),
    [
        (0, None, None),
        (3, 3_600, None),
        (
            3,
            3_599,
            "held back by the cool-down of 1 h after the last alarm, until 2026-01-01T00:00:01+00:00",
        ),
        (4, 9_999, "held back by the daily budget: 4 of 4 alarms in 24 h"),
        (5, 10, "held back by the daily budget: 5 of 4 alarms in 24 h"),
    ],
)
def test_held_back(today: int, ago: int | None, said: str | None) -> None:
    """The edges of budget and cool-down, each in words that say how long or how many."""
    spent = Spent(today, None if ago is None else NOW - timedelta(seconds=ago), NOW)
    assert held_back(MonitoringPolicy(), spent, version=1, champion=1) == said
    old = held_back(MonitoringPolicy(), spent, version=1, champion=2)
    assert old == "held back: version 1 is not the champion any more"


def test_the_alarms_line_and_event(said: Callable[..., Any], journal: Callable[..., Any]) -> None:
    """An alarm's line and its event say the same: which window, what was seen, and what holds it back."""
    scene = Scene()
    scene.predict(40, shift=1.5)
    scene.watch()
    ((_, stored),) = scene.store.state.alarms
    held = {"model": "late", "detector": "drift", "reason": stored.reason}
    ((level, action, fields),) = [line for line in said() if line[1] == "alarm.raised"]
    assert (level, action, fields) == ("WARNING", "alarm.raised", {**held, "held": None})
    payload = {"model": "late", "detector": "drift", "window": stored.window_id, "held_back": None}
    assert journal(scene.store)[0][-1] == ("alarm.raised", "model/late", payload)
    assert set(asdict(stored)["numbers"]) == {"drifting", "features"}
