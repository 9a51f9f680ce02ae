"""What bounds the watch over one model: how many versions it looks at, and how much of a long window."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tests.unit.scheduler.watched_scene import Scene

from trainyard_scheduler.use_cases import monitor

if TYPE_CHECKING:
    import pytest


def test_an_old_champion_is_watched_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A champion is watched however many newer versions have served, and before them."""
    monkeypatch.setattr(monitor, "MOST_VERSIONS", 2)
    scene = Scene()
    for _ in range(3):
        scene.serve()
    with scene.store.begin() as records:
        records.versions.point(scene.model_id, "champion", 1)
    for version in (1, 2, 3, 4):
        scene.predict(40, version=version)
    assert scene.watch() == 3
    windows = [one.record.span.window_id for (_, kind, _), one in scene.store.state.windows.items() if kind == "drift"]
    assert windows == ["v1-after-0", "v4-after-0", "v3-after-0"]


def test_quality_of_a_long_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long window by time is judged by an even choice, also when most of it came after the cut; the counts say so."""
    monkeypatch.setattr(monitor, "MOST_ROWS", 50)
    scene = Scene(window="1h")
    at = scene.clock.now().replace(minute=10, second=0, microsecond=0)
    ids = scene.predict(40, at=at)
    scene.clock.advance(2 * 3_600)
    assert scene.watch() == 1
    assert [scene.report()[key] for key in ("predictions", "chosen", "labels")] == [40, 40, 0]
    ids += scene.predict(360, at=at + timedelta(minutes=1))
    scene.label(ids)
    assert scene.watch() == 1
    report = scene.report()
    assert [report[key] for key in ("predictions", "chosen", "labels", "uncomparable")] == [400, 50, 50, 0]
    assert report["summary"].endswith("; 50 labels of 50 predictions chosen out of 400")
    assert scene.outcomes("quality") == ["steady"]


def test_a_long_window_waits_for_the_labels_of_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for are labels of the predictions that were chosen, not of all."""
    monkeypatch.setattr(monitor, "MOST_ROWS", 50)
    scene = Scene(window="1h", label_wait=86_400)
    ids = scene.predict(400, at=scene.clock.now().replace(minute=10, second=0, microsecond=0))
    scene.label(ids[:-10])
    scene.clock.advance(2 * 3_600)
    scene.watch()
    report = scene.report()
    assert report["labels"] < report["chosen"] == 50
    assert report["summary"].startswith(f"{report['labels']} labels of 50 predictions chosen out of 400; waits ")
    scene.label(ids[-10:])
    scene.watch()
    assert scene.outcomes("quality") == ["steady"]
