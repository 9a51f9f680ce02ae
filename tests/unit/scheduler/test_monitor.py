"""Watching a model on fakes: windows, drift, quality, alarms, and labels in any order."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.clock import ManualClock
from trainyard.contracts.monitoring import Reference, Spent
from trainyard.contracts.scheduling import Answered
from trainyard.drift import Effect, profile_of
from trainyard.monitoring_policy import MonitoringPolicy
from trainyard.schema import Column
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler.domain.monitoring import allowed_drop, held_back, judge_drift, judge_quality
from trainyard_scheduler.domain.scoring import scores_of
from trainyard_scheduler.use_cases import monitor, quality
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import delete_model, model_called, put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
WATCH = {"window_rows": 40, "min_rows": 20, "label_wait": 100, "cool_down": 0, "persistence": 2}
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
        self.serve()

    def serve(self, profile: Any = PROFILE) -> None:
        """Make the next version the champion."""
        self.store.state.add_rows("flights", 10)
        with self.store.begin() as records:
            request = ask(records, "late", {}, BY)[1].id
        self.store.state.claim(request, lease_until=self.clock.now() + timedelta(days=1))
        self.version = self.store.state.finish(request)
        self.store.state.references[self.model_id, self.version] = Reference(profile, {"roc_auc": 0.9})
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
        return monitor.monitor_models(self.store)

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

    def shown(self) -> dict[str, Any]:
        """Return what the quality page says beside its windows."""
        with self.store.begin() as records:
            model = model_called(records, "late")
            answered = {1: 0}
            for row in self.store.state.predictions:
                answered[row.version] = answered.get(row.version, 0) + 1
            labels = len(self.store.state.feedback)
            windows = [{"version": v, "predictions": n, "labels": labels} for v, n in answered.items()]
            return quality.watched(records, model, windows)


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
    assert monitor.monitor_model(scene.store, "late") == 0


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
    monkeypatch.setattr("trainyard.testing.fakes.scheduling_monitoring.MemoryMonitoring.hold", lambda *_: None)
    assert scene.watch() == 0


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
    assert scene.report("drift")["summary"].startswith("version 2 was made without a profile")
    assert "without a profile" in scene.shown()["missing"][0]


def test_an_old_version_asks_for_nothing() -> None:
    """Windows of a version that serves no more are looked at, and their alarms are settled at once."""
    scene = Scene()
    scene.serve()
    scene.predict(40, shift=2.0, version=1)
    scene.watch()
    assert scene.alarms() == [("drift", "not raised: version 1 is not the champion any more")]


def test_daily_budget_and_cool_down() -> None:
    """More alarms than the budget, or within the cool-down, are stored and ask for nothing; a day later they do."""
    scene = Scene(max_alarms_per_day=2, cool_down=600)
    for _ in range(4):
        scene.predict(40, shift=2.0)
        scene.watch()
        scene.clock.advance(400)
    assert [outcome for _, outcome in scene.alarms()] == [
        None,
        "not raised: the last alarm was 6.7 min ago, of 10 min",
        None,
        "not raised: 2 alarms in 24 h, of at most 2",
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
        "no label has come for any prediction: quality needs feedback",
    ]
    scene.clock.advance(3_661)
    assert scene.watch() == 1
    assert scene.outcomes() == ["steady"]
    scene.predict(5, at=began + timedelta(hours=5))
    scene.clock.advance(6 * 3_600)
    scene.watch()
    assert scene.outcomes() == ["steady", "not_enough_data"]
    assert scene.report("drift")["summary"] == "5 of 20 predictions"


def test_quality_waits_for_labels_then_judges() -> None:
    """A window waits for its labels; when all have come it is judged, and a drop is an alarm of its own."""
    scene = Scene()
    ids = scene.predict(40)
    scene.watch()
    assert scene.outcomes("quality") == ["not_enough_data"]
    assert "waits 1.7 min for the others" in scene.report()["summary"]
    scene.label(ids[:39])
    assert scene.watch() == 1
    assert scene.outcomes("quality") == ["not_enough_data"]
    assert scene.report()["value"] == 1.0
    scene.label(ids[39:], right=False)
    scene.watch()
    assert scene.outcomes("quality") == ["steady"]
    scene.label(ids, right=False)
    scene.watch()
    assert scene.outcomes("quality") == ["alarm"]
    assert scene.alarms() == [("quality", None)]
    assert scene.report()["max_quality_drop"] == 0.05
    scene.label(ids)  # corrected again: the table says so, the alarm was raised and stays
    scene.watch()
    assert scene.outcomes("quality") == ["steady"]
    assert scene.alarms() == [("quality", None)]


def test_quality_without_all_labels() -> None:
    """When the wait is over a window is judged by the labels there are, if they are enough."""
    scene = Scene()
    ids = scene.predict(40)
    scene.watch()
    scene.label(ids[:10])
    scene.watch()
    scene.clock.advance(101)
    assert scene.watch() == 1
    assert scene.report()["summary"] == "10 labels of 40 predictions; 20 are needed"
    assert scene.watch() == 0
    scene.label(ids[10:30])
    scene.watch()
    assert scene.outcomes("quality") == ["steady"]


def test_null_and_unknown_labels() -> None:
    """Labels that are null, or of predictions that nobody knows, count for nothing; the latter are counted."""
    scene = Scene()
    scene.store.state.label("nowhere", label=True)
    ids = scene.predict(40)
    for ident in ids:
        scene.store.state.label(ident, None)
    scene.watch()
    scene.clock.advance(101)
    scene.watch()
    assert scene.report()["labels"] == 0
    assert scene.shown()["waiting_labels"] == 1


def test_a_flood_of_feedback_stays_within_the_budget() -> None:
    """However many labels turn quality round, no more alarms than the budget ask for a training."""
    scene = Scene(max_alarms_per_day=2)
    for _ in range(10):
        scene.label(scene.predict(40), right=False)
    while scene.watch():
        pass
    assert sum(outcome is None for _, outcome in scene.alarms()) == 2
    assert len(scene.alarms()) == 10


def test_what_is_shown() -> None:
    """The page has windows, effects, alarms and their outcome, newest first; and nothing is missing."""
    scene = Scene()
    assert scene.shown()["missing"] == [
        "no window is full: 0 of 40 predictions of the champion",
        "no label has come for any prediction: quality needs feedback",
    ]
    scene.label(scene.predict(40))
    scene.watch()
    scene.label(scene.predict(40, shift=1.5))
    scene.watch()
    scene.watch()
    shown = scene.shown()
    assert shown["missing"] == []
    newest, oldest = shown["drift"]
    assert (newest["window"], newest["number"], newest["outcome"], newest["drifting"]) == (
        "v1-after-40",
        1,
        "alarm",
        ["x"],
    )
    assert newest["features"][0]["distance"] > 1
    assert oldest["outcome"] == "steady"
    assert [one["value"] for one in shown["live"]] == [1.0, 1.0]
    (alarm,) = shown["alarms"]
    assert (alarm["detector"], alarm["window_id"], alarm["outcome"]) == ("drift", "v1-after-40", None)


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


@settings(max_examples=1_000, deadline=None)
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


def judged(truth: list[Any], said: list[Any], reference: dict[str, float], **changes: Any) -> Any:
    """Judge a window in which every prediction has a label."""
    outputs = [one if isinstance(one, dict) else {"prediction": one} for one in said]
    return judge_quality(
        scores_of(outputs, truth),
        predictions=len(said),
        labels=len(truth),
        age=0.0,
        reference=reference,
        metric=changes.pop("metric", "auto"),
        settings=replace(SETTINGS, **changes),
    )


def test_quality_of_numbers() -> None:
    """For errors less is better, and a fifth of the hold-out's value is allowed."""
    truth = [float(n % 5) for n in range(100)]
    said = [one + (1.0 if n % 2 else -1.0) for n, one in enumerate(truth)]
    assert judged(truth, said, {"rmse": 1.0}).outcome == "steady"
    assert judged(truth, said, {"rmse": 0.84}).outcome == "steady"
    bad = judged(truth, said, {"rmse": 0.8})
    assert bad.outcome == "alarm"
    assert bad.summary.startswith("quality dropped by more than 0.16: rmse 1 (1 to 1), on the hold-out 0.8; 100 labels")
    assert judged(truth, said, {"rmse": 0.8}, max_quality_drop=0.3).outcome == "steady"
    assert judged(truth, said, {"mae": 0.5}, metric="mae").outcome == "alarm"
    assert judged(["x"] * 100, said, {"rmse": 1.0}).summary.endswith("they give the metric no value")
    assert judged([10**400] * 100, said, {"rmse": 1.0}).outcome == "not_enough_data"
    assert judged([True] * 100, said, {"rmse": 1.0}).outcome == "not_enough_data"
    assert judged(truth, said, {}).summary.endswith("the version has no rmse on its hold-out")


def test_quality_of_classes() -> None:
    """One class has no area under the curve; three classes have a log-loss; the answer given makes the accuracy."""
    said = [{"prediction": "a", "probabilities": {"a": 0.4, "b": 0.6}}] * 50
    one = judged(["a"] * 50, said, {"roc_auc": 0.9})
    assert (one.outcome, one.report["metric"]) == ("not_enough_data", "roc_auc")
    accurate = judged(["a"] * 50, said, {"accuracy": 1.0}, metric="accuracy")
    assert (accurate.outcome, accurate.report["value"]) == ("steady", 1.0)
    three = [{"prediction": "a", "probabilities": {"a": 0.5, "b": 0.3, "c": 0.2}}] * 50
    assert judged(["a", "b"] * 25, three, {"log_loss": 0.5}).outcome == "alarm"
    assert judged([], [], {"roc_auc": 0.9}).outcome == "not_enough_data"


def test_allowed_drop() -> None:
    """Without a figure in the policy the loss that is allowed depends on the metric's unit."""
    assert allowed_drop("roc_auc", 0.8, SETTINGS) == 0.05
    assert allowed_drop("rmse", 10.0, SETTINGS) == 2.0
    assert allowed_drop("rmse", 10.0, replace(SETTINGS, max_quality_drop=0.0)) == 0.0


@pytest.mark.parametrize(
    ("spent", "said"),
    [
        (Spent(0, None), None),
        (Spent(3, 3_600.0), None),
        (Spent(3, 3_599.0), "not raised: the last alarm was 1 h ago, of 1 h"),
        (Spent(4, 9_999.0), "not raised: 4 alarms in 24 h, of at most 4"),
    ],
)
def test_held_back(spent: Spent, said: str | None) -> None:
    """The edges of budget and cool-down."""
    found = held_back(MonitoringPolicy(), spent, version=1, champion=1)
    assert (found or "").split(" ago")[0].replace("60 min", "1 h") == (said or "").split(" ago")[0]


AT = datetime(2026, 1, 1, tzinfo=UTC)


def answered(p: float, label: Any, version: int = 1) -> Answered:
    """Return a binary answer and its label."""
    output = {"prediction": p > 0.5, "probabilities": {"true": p, "false": 1 - p}}
    return Answered(version, AT, output, label is not None, label)


def test_intervals_are_shown() -> None:
    """Each version's live metrics come with their intervals, newest version first, from its labelled predictions."""
    rows = [answered(p, label) for p, label in [(0.9, True), (0.4, True), (0.2, False), (0.6, False)] * 5]
    rows += [answered(0.9, None), answered(0.9, "x", 2), answered(0.9, None, 3)]
    unlabelled, strange, first = quality.quality(rows, since=AT, confidence=0.9)
    interval = first["intervals"]["roc_auc"]
    assert interval["low"] < interval["value"] == first["metrics"]["roc_auc"] < interval["high"]
    assert (first["predictions"], first["labels"], first["metrics"]["accuracy"]) == (21, 20, 0.5)
    assert (strange["metrics"], strange["intervals"]) == ({"accuracy": 0.0}, {})
    assert (unlabelled["labels"], unlabelled["metrics"], unlabelled["intervals"]) == (0, {}, {})
    assert quality.quality(rows, since=AT + timedelta(seconds=1)) == []


def test_live_metrics_of_numbers() -> None:
    """Errors of numbers; a label that is none, or whose square leaves the float range, is left out."""

    def value(label: Any) -> Answered:
        return Answered(1, AT, {"prediction": 1.0}, has_label=True, label=label)

    (window,) = quality.quality([value(2.0), value(4.0), value("x"), value(True)], since=AT)
    assert window["metrics"] == {"rmse": pytest.approx(5**0.5), "mae": 2.0}
    assert window["intervals"]["mae"]["value"] == 2.0
    assert quality.quality([value("x")], since=AT)[0]["metrics"] == {}
    assert quality.quality([value(1e300)], since=AT)[0]["metrics"] == {"mae": 1e300}
    (one_class,) = quality.quality([answered(0.9, label=True)] * 2, since=AT)
    assert "roc_auc" not in one_class["metrics"]


def test_every_key_of_the_page(said: Callable[..., Any], journal: Callable[..., Any]) -> None:
    """Windows and alarms have each the keys that readers rely on; the alarm's line and event say the same."""
    scene = Scene()
    scene.label(scene.predict(40, shift=1.5))
    scene.watch()
    shown = scene.shown()
    (window,) = shown["drift"]
    assert {"window", "version", "number", "rows", "from", "upto", "outcome", "summary", "drifting", "features"} == set(
        window
    )
    assert (window["version"], window["rows"]) == (1, 40)
    ((_, stored),) = scene.store.state.alarms
    (alarm,) = shown["alarms"]
    assert (set(alarm), alarm["raised_at"]) == (set(asdict(stored)), stored.raised_at.isoformat())
    held = {"model": "late", "detector": "drift", "reason": stored.reason}
    ((level, action, fields),) = [line for line in said() if line[1] == "alarm.raised"]
    assert (level, action, {key: fields[key] for key in held}) == ("WARNING", "alarm.raised", held)
    assert (set(fields), fields["held"]) == ({*held, "held"}, None)
    payload = {"model": "late", "detector": "drift", "window": stored.window_id, "held_back": None}
    assert journal(scene.store)[0][-1] == ("alarm.raised", "model/late", payload)


def test_every_key_of_live_quality() -> None:
    """A window's own numbers; what came before the model was made is passed over, and unlabelled ones are counted."""
    early = replace(answered(0.9, label=True), at=AT - timedelta(seconds=1))
    late = replace(answered(0.2, label=True), at=AT + timedelta(seconds=5))
    unlabelled = replace(answered(0.9, None), has_label=False, label=True)
    (window,) = quality.quality([early, answered(0.8, label=False), late, unlabelled], since=AT)
    assert {key: window[key] for key in ("version", "predictions", "labels", "from", "upto")} == {
        "version": 1,
        "predictions": 3,
        "labels": 2,
        "from": AT.isoformat(),
        "upto": (AT + timedelta(seconds=5)).isoformat(),
    }
    assert window["metrics"] == {"accuracy": 0.0, "roc_auc": 0.0, "log_loss": pytest.approx(1.6094379)}
