"""What the trainer reports of a version beside its artifact, and that the artifact knows nothing of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.trainer.test_learning import LABELS, prepared, trained

from trainyard.model import decode
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard_trainer import workdir
from trainyard_trainer.learning.reporting import _span

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.trainer.conftest import World


@pytest.mark.parametrize("task", LABELS)
def test_every_task_is_reported_on(tmp_path: Path, task: str) -> None:
    """The report is of the model on disk: its metrics, its test rows, its lineage; what it took is there too."""
    data, report = trained(prepared(tmp_path, task, kinds=["linear"]))
    model, found = decode(data), report["evaluation"]
    assert (found["task"], found["rows"]) == (task, report["gate"]["rows"])
    values = {name: of["value"] for name, of in found["metrics"].items() if name in model.metrics}
    assert values == pytest.approx({name: model.metrics[name] for name in values}, rel=1e-5)
    assert {"loss", "rmse" if task == "regression" else "accuracy"} <= set(values)
    assert all(of["low"] <= of["value"] <= of["high"] for of in found["metrics"].values())
    assert found["importance"]["features"][0]["feature"] == "size"
    assert found["contributions"]["features"][0]["feature"] == "size"
    assert found["lineage"]["snapshot_sha256"] == model.lineage.snapshot_sha256
    assert found["lineage"]["configuration"]["choice"] == model.lineage.configuration["choice"]
    assert found["cost"]["seconds"] > 0
    assert found["cost"]["peak_memory_bytes"] > 1 << 20
    assert found["data"] == {"features": 6, "time_column": None, "from": None, "upto": None}
    assert (found["confusion"] is None) is (task == "regression")


@pytest.mark.parametrize(("task", "kind"), [*((task, "linear") for task in LABELS), ("binary", "tree_ensemble")])
def test_more_rows_bring_something(tmp_path: Path, task: str, kind: str) -> None:
    """The learning curve doubles the rows up to those of the version, whose own loss is its last point's."""
    data, report = trained(prepared(tmp_path, task, kinds=[kind]))
    curve, choice = report["evaluation"]["learning_curve"], decode(data).lineage.configuration["choice"]
    points, whole = curve["points"], report["evaluation"]["cost"]["rows"]
    rows = [point["rows"] for point in points]
    assert (curve["cut"], rows[-1], rows[:-1]) == (None, whole, [n for d in (16, 8, 4, 2) if (n := whole // d) >= 30])
    assert points[-1]["loss"] < points[0]["loss"]
    assert all(point["learnt"] > 0 for point in points)
    if len(choice["members"]) == 1 and choice["calibration"] is None:
        assert points[-1]["loss"] == pytest.approx(decode(data).metrics["loss"], rel=1e-5)


def test_the_learning_curve_keeps_to_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without time there is the published model's point alone, and the words say why."""
    monkeypatch.setattr("trainyard_trainer.learning.train._CURVE_SHARE", 0.0)
    monkeypatch.setattr("trainyard_trainer.learning.train._LEAST_CURVE_SHARE", 0.0)
    curve = trained(prepared(tmp_path, "binary", kinds=["linear"]))[1]["evaluation"]["learning_curve"]
    assert len(curve["points"]) == 1
    assert curve["cut"].startswith("the time was up after 0 of ")


def test_the_artifact_does_not_depend_on_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the report becomes, the artifact has the same bytes."""
    data, _ = trained(prepared(tmp_path / "one", "binary", kinds=["linear"]))
    monkeypatch.setattr("trainyard_trainer.learning.train.version_report", lambda *_, **__: {"form": 99})
    again, report = trained(prepared(tmp_path / "two", "binary", kinds=["linear"]))
    assert report["evaluation"]["form"] == 99
    assert data == again


def test_the_version_is_registered_with_its_report(world: World) -> None:
    """What the child left is stored with the version, as it is."""
    request_id = world.request()
    left: list[Any] = []

    def script(directory: Path) -> int:
        code = world.children.learn(directory)
        left.append(workdir.read_json(directory, workdir.REPORT)["evaluation"])
        return code

    world.children.script = script
    world.trainer.step()
    assert world.row(request_id).state == "done"
    assert world.runs.models["flights"].versions[1].report == left[0]
    assert left[0]["form"] == 1


def test_a_time_of_the_rows_is_told() -> None:
    """A dataset with an event time says from when to when its rows are."""
    schema = Schema([Column("at", "timestamp", role="event_time"), Column("x", "int")])
    start = datetime(2024, 1, 31, 12, tzinfo=UTC)
    rows = [{"at": start + timedelta(hours=i) if i else None, "x": i} for i in range(3)]
    told = _span(snapshot_of(schema, rows))
    assert told == {"time_column": "at", "from": "2024-01-31T13:00:00", "upto": "2024-01-31T14:00:00"}
    assert _span(snapshot_of(schema, [{"at": None, "x": 1}]))["from"] is None
