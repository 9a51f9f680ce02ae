"""Live quality on fakes: windows wait for their labels and are judged, and what readers are shown."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.scheduler.watched_scene import Scene

from trainyard_scheduler.use_cases import quality


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


def test_what_is_shown() -> None:
    """The page has windows, effects, alarms and their outcome, newest first; and nothing is missing."""
    scene = Scene()
    assert scene.shown()["missing"] == [
        "no window is full: 0 of 40 predictions of the champion",
        "no label has come for the predictions shown here: quality needs feedback",
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


def test_a_collapse_to_one_class_is_an_alarm() -> None:
    """When every label turns out to be of one class the area under the curve is not defined, and the alarm is raised by
    what is defined; page and alarm say so.
    """
    scene = Scene()
    for ident in scene.predict(40):
        scene.store.state.label(ident, label=True)
    scene.watch()
    assert scene.outcomes("quality") == ["alarm"]
    (shown,) = scene.shown()["live"]
    assert (shown["metric"], shown["because"]) == ("log_loss", "all 40 labels are 'true': roc_auc is not defined")
    assert shown["summary"] == (
        "quality dropped by more than 0.06: log_loss 1.204 (0.7102 to 1.698), on the hold-out 0.3; 40 labels of 40"
        " predictions; all 40 labels are 'true': roc_auc is not defined, so log_loss is judged"
    )
    assert scene.alarms() == [("quality", None)]


def test_the_open_windows() -> None:
    """What no closed window has is read, and nothing else: by version, the newest first, with its metrics."""
    scene = Scene()
    scene.label(scene.predict(50))
    scene.watch()
    scene.serve()
    scene.predict(40)
    scene.watch()
    scene.clock.advance(5)
    ids = scene.predict(3)
    scene.label(ids[:2], right=False)
    scene.store.state.label(ids[2], None)
    second, first = scene.shown()["windows"]
    assert {key: first[key] for key in ("version", "predictions", "labels", "complete")} == {
        "version": 1,
        "predictions": 10,
        "labels": 10,
        "complete": True,
    }
    decided = {"accuracy": 1.0, "f1": 1.0, "balanced_accuracy": 1.0}
    assert first["metrics"] == {"roc_auc": 1.0, "log_loss": pytest.approx(-math.log(0.9)), **decided}
    assert set(first["intervals"]) == {"log_loss", "accuracy"}
    assert first["intervals"]["accuracy"]["value"] == 1.0
    assert (second["version"], second["predictions"], second["labels"]) == (2, 3, 2)
    assert second["metrics"]["accuracy"] == 0.0
    at = scene.clock.now()
    assert (first["from"], second["upto"]) == ((at - timedelta(seconds=5)).isoformat(), at.isoformat())


def test_answers_that_do_not_fit_are_counted() -> None:
    """Answers that cannot be compared with their labels are left out and counted, in open windows and in closed ones;
    a window in which none can be is not judged, and nothing fails.
    """
    scene = Scene()
    strange: list[Any] = [{"prediction": 1.0}, {"prediction": True, "probabilities": {"a": 0.5, "b": 0.5}}]
    ids = scene.predict(20)
    ids += [scene.store.state.log("late", 1, {"x": 0.0}, output) for output in strange]
    scene.label(ids)
    shown = scene.shown()
    (window,) = shown["windows"]
    assert (window["labels"], window["uncomparable"], window["metrics"]["accuracy"]) == (22, 2, 1.0)
    told = "2 of 22 labels in the open window of version 1 cannot be compared with their answers"
    assert shown["missing"][1:] == [f"{told}: metrics are of the others"]
    scene.label(scene.predict(18))
    scene.watch()
    (live,) = scene.shown()["live"]
    assert (live["outcome"], live["labels"], live["uncomparable"]) == ("steady", 40, 2)
    assert "; 40 labels of 40 predictions, 2 of which cannot be compared with an answer" in live["summary"]
    scene.label([scene.store.state.log("late", 1, {"x": 0.0}, {"prediction": None}) for _ in range(40)])
    assert scene.shown()["windows"][0]["metrics"] == {}
    scene.watch()
    report = scene.report()
    assert report == {
        "summary": "40 labels of 40 predictions; none of them can be compared with an answer",
        "predictions": 40,
        "chosen": 40,
        "labels": 40,
        "uncomparable": 40,
        "because": "none of them can be compared with an answer",
    }


def test_whose_predictions_fill_the_window() -> None:
    """What is missing to the first window are predictions of the champion, whatever others answered."""
    scene = Scene()
    scene.serve()
    scene.predict(5, version=1)
    assert scene.shown()["missing"][0] == "no window is full: 0 of 40 predictions of the champion"
    scene.predict(3)
    assert scene.shown()["missing"][0] == "no window is full: 3 of 40 predictions of the champion"


def test_open_windows_are_bounded() -> None:
    """Over all versions no more predictions are read than the bound; the champion's come first, then the newest."""
    scene = Scene()
    scene.predict(15)
    scene.predict(9, version=2)
    scene.predict(4, version=3)

    def found() -> tuple[list[tuple[Any, ...]], list[str]]:
        shown = scene.shown(20)
        windows = [tuple(one[key] for key in ("version", "predictions", "complete")) for one in shown["windows"]]
        return windows, [sentence for sentence in shown["missing"] if "left out" in sentence]

    assert found() == ([(3, 4, True), (2, 1, False), (1, 15, True)], [])
    scene.predict(5)
    left_out = "open windows of these versions are left out, as 20 predictions are read: 3, 2"
    assert found() == ([(1, 20, True)], [left_out])
    scene.predict(1)
    assert found() == ([(1, 20, False)], [left_out])
    assert scene.shown(20)["windows"][0]["from"] == scene.clock.now().isoformat()
    without = scene.shown(0)
    assert (without["windows"], without["missing"]) == ([], [])


def test_predictions_of_a_model_that_nobody_serves() -> None:
    """They are shown as well, whatever version they name; what is said to be missing is a version that serves."""
    scene = Scene()
    scene.predict(2, version=7)
    del scene.store.state.aliases[scene.model_id, "champion"]
    shown = scene.shown()
    assert [one["version"] for one in shown["windows"]] == [7]
    assert shown["missing"] == ["no version serves yet: what is watched are the predictions of versions that do"]


def test_every_key_of_a_closed_window() -> None:
    """A window says where it lies and what was found, as far as labels have come."""
    scene = Scene()
    began = scene.clock.now()
    scene.predict(20)
    scene.clock.advance(7)
    scene.predict(20, shift=1.5)
    scene.watch()
    shown = scene.shown()
    (drift,), (live,) = shown["drift"], shown["live"]
    place = {
        "window": "v1-after-0",
        "version": 1,
        "number": 0,
        "rows": 40,
        "from": began.isoformat(),
        "upto": (began + timedelta(seconds=7)).isoformat(),
    }
    assert {key: drift[key] for key in place} == place
    assert set(drift) == {*place, "outcome", "summary", "drifting", "features"}
    assert {key: live[key] for key in place} == place
    assert set(live) == {*place, "outcome", "summary", "predictions", "chosen", "labels", "uncomparable"}
    assert {live[key] for key in ("predictions", "chosen")} == {40}
    scene.label(scene.predict(40, shift=1.5))
    scene.watch()
    figures = {"metrics", "metric", "reference", "reference_rows", "value", "low", "high", "confidence"}
    assert set(scene.shown()["live"][0]) == {*live, *figures, "lost", "max_quality_drop"}


def test_no_more_than_so_many_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of windows, alarms and versions beside the champion the newest are shown."""
    monkeypatch.setattr(quality, "MOST_SHOWN", 2)
    scene = Scene()
    scene.predict(120, shift=3.0)
    scene.watch()
    for version in (1, 2, 3, 4):
        scene.predict(1, version=version)
    shown = scene.shown()
    assert [len(shown[part]) for part in ("drift", "live", "alarms")] == [2, 2, 2]
    assert [one["number"] for one in shown["drift"]] == [2, 1]
    assert [one["version"] for one in shown["windows"]] == [4, 3, 1]


def test_what_an_open_alarm_waits_for() -> None:
    """An alarm that nothing has come of says what holds it: the policy's last word, an open request for example."""
    scene = Scene()
    scene.predict(40, shift=1.5)
    scene.watch()
    waits = [alarm["waits_for"] for alarm in scene.shown()["alarms"]]
    assert waits == ["the policy has not looked at it yet"]
    with scene.store.begin() as records:
        said = "not fired: a request is open already; 12 new rows wait"
        records.requests.decide(scene.model_id, fired=False, reason=said, numbers={}, request_id=None)
    (alarm,) = scene.shown()["alarms"]
    assert (alarm["outcome"], alarm["waits_for"]) == (None, "a request is open already; 12 new rows wait")
    ((_, stored),) = scene.store.state.alarms
    assert alarm == {**asdict(stored), "raised_at": stored.raised_at.isoformat(), "waits_for": alarm["waits_for"]}
    with scene.store.begin() as records:
        records.requests.decide(scene.model_id, fired=True, reason="fired: by hand", numbers={}, request_id=None)
    assert scene.shown()["alarms"][0]["waits_for"] == "the policy has not looked at it yet"
    with scene.store.begin() as records:
        records.alarms.settle([stored.id], outcome="training was requested", request_id=None)
    assert scene.shown()["alarms"][0]["waits_for"] is None
