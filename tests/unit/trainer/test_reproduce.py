"""Versions fitted again: a worker on fakes, and fresh processes with other numbers of threads."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from trainyard.clock import SystemClock
from trainyard.contracts.runs import Reproduction
from trainyard.model import Blend, Isotonic, Lineage, Linear, Model, decode, encode, with_golden
from trainyard.policy import Policy
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard.testing.fakes import MemoryStudies
from trainyard_trainer import workdir
from trainyard_trainer.child import work
from trainyard_trainer.differences import differences
from trainyard_trainer.domain import EXIT_DONE
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.calibration import Calibration
from trainyard_trainer.learning.candidates import Candidate
from trainyard_trainer.learning.environment import environment
from trainyard_trainer.learning.folds import Fold
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.refit import FOLD, Ground, Known, Member, joined
from trainyard_trainer.learning.refit import again as again_from
from trainyard_trainer.learning.table import Table
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import World

AT = datetime(2026, 1, 1, tzinfo=UTC)


def published(world: World, **settings: Any) -> str:
    """Train a version; return the id of the request."""
    request_id = world.request(settings=settings)
    assert world.trainer.step()
    return request_id


def again(world: World, version: int = 1) -> Any:
    """Reproduce a version; return the request's row."""
    request_id = world.request(reproduces=version, upto_seq=0)
    assert world.trainer.step()
    return world.row(request_id)


def outcome(world: World, version: int = 1) -> Reproduction:
    """Reproduce a version; return what came of it."""
    row = again(world, version)
    assert row.state == "done", row.error
    assert row.published is None
    found = row.runs[-1].reproduction
    assert isinstance(found, Reproduction)
    return found


def test_a_version_is_fitted_again(world: World) -> None:
    """The same bytes come of it, no version, no move of the champion, no object; runs note where they were."""
    published(world, kinds=["linear", "tree_ensemble", "neural_network"])
    model = world.runs.models["flights"]
    stored, aliases = [info.key for info in world.blobs.list("")], dict(model.aliases)
    found = outcome(world)
    assert (found.identical, found.sha256, found.differences) == (True, model.versions[1].sha256, ())
    assert (list(model.versions), model.aliases) == ([1], aliases)
    assert [info.key for info in world.blobs.list("")] == stored
    runs = [request.runs[-1] for request in world.runs.requests.values()]
    assert [run.environment for run in runs] == [environment()] * 2
    assert world.queue.depth().total == 0


def test_later_versions_do_not_matter(world: World) -> None:
    """In the order of time the split follows what versions there were; the lineage knows."""
    schema = Schema([*world.schema.columns, Column("at", "timestamp", role="event_time")])
    timed = [{**row, "at": AT + timedelta(hours=row["id"])} for row in world.rows()]
    world.snapshots._datasets.clear()
    world.snapshots.store(1, schema, timed)
    published(world)
    more = [{**row, "at": AT + timedelta(hours=row["id"])} for row in world.rows(600)[400:]]
    world.snapshots.store(1, schema, more)
    world.request(upto_seq=600)
    assert world.trainer.step()
    assert [outcome(world, version).identical for version in (1, 2)] == [True, True]


def test_the_dataset_has_changed(world: World) -> None:
    """Columns that came, and types that became wider, do not hinder it: the version saw the same rows."""
    published(world)
    rows = [{**row, "age": float(row["age"]), "income": 1.5 * row["id"]} for row in world.rows()]
    wider = {"age": Column("age", "float"), "city": Column("city", "text")}
    columns = [Column("income", "float"), *(wider.get(c.name, c) for c in world.schema.columns)]
    world.snapshots._datasets.clear()
    world.snapshots.store(1, Schema(columns), rows)
    assert outcome(world).identical


def test_rows_that_are_gone(world: World) -> None:
    """What was erased is said before anything is read, and told from rows that are others for no known reason."""
    published(world)
    world.runs.models["flights"].not_reproducible[1] = "rows of its snapshot were removed (erasure, erasure 3)"
    row = again(world)
    assert (row.state, "erasure 3" in row.error) == ("blocked_by_data", True)
    world.runs.models["flights"].not_reproducible.clear()
    world.snapshots._datasets.clear()
    world.snapshots.store(1, world.schema, world.rows(399))
    row = again(world)
    assert (row.state, row.error_class) == ("failed", "data")
    assert "are not those that the version was trained on" in row.error


def test_an_artifact_that_is_gone(world: World) -> None:
    """Without the original there is nothing to compare with."""
    published(world)
    key = world.runs.models["flights"].versions[1].artifact_key
    world.blobs.delete(key)
    row = again(world)
    assert (row.state, row.error_class, row.error) == ("failed", "data", "the artifact of version 1 is missing")
    world.blobs.put(key, b"something else")
    assert "is not what was published" in again(world).error


def forged(world: World, change: Any) -> None:
    """Replace the published artifact by another one."""
    model = world.runs.models["flights"]
    old = decode(world.blobs.get(model.versions[1].artifact_key).data)
    data = encode(with_golden(change(old), old.golden.rows))
    sha256 = hashlib.sha256(data).hexdigest()
    world.blobs.put(f"models/flights/{sha256}.msgpack", data)
    model.versions[1] = replace(model.versions[1], artifact_key=f"models/flights/{sha256}.msgpack", sha256=sha256)


def _nudged(model: Model) -> Model:
    pipeline = model.pipeline
    assert not isinstance(pipeline, Blend)
    assert isinstance(pipeline.estimator, Linear)
    weights = np.array(pipeline.estimator.weights)
    weights[1, 0] += 0.25
    return replace(model, pipeline=replace(pipeline, estimator=replace(pipeline.estimator, weights=weights)))


def test_how_it_differs(world: World) -> None:
    """An outcome that is not identical names causes that are known, and the first field that is not the same."""
    published(world)
    forged(world, _nudged)
    request = next(iter(world.runs.requests.values()))
    request.runs[-1].environment = {**environment(), "cpu": "aarch64"}
    found = outcome(world)
    assert not found.identical
    assert found.differences[0] == f"the CPU family: {environment()['cpu']} here, aarch64 there"
    assert "the first field that differs is pipeline.estimator.weights[1, 0]" in found.differences[-1]
    assert found.words.startswith("version 1 was fitted again and differs: ")


def test_another_release_made_it(world: World) -> None:
    """A model that is the same but for the libraries that its lineage names is told as such."""
    published(world)
    forged(world, lambda m: replace(m, lineage=replace(m.lineage, libraries={**m.lineage.libraries, "numpy": "1.0"})))
    here = decode(world.blobs.get(world.runs.models["flights"].versions[1].artifact_key).data).lineage
    found = outcome(world)
    assert "numpy: " in found.differences[0]
    assert found.differences[-1] == "the models are the same but for where they were made"
    assert here.libraries["numpy"] == "1.0"


def test_a_configuration_that_nobody_knows(world: World) -> None:
    """A lineage of a release that wrote it otherwise names the release to ask."""
    published(world)
    forged(world, lambda m: replace(m, lineage=replace(m.lineage, configuration={"choice": {}})))
    row = again(world)
    assert (row.state, row.error_class) == ("failed", "data")
    assert "reproduce it with the release that made it" in row.error


def test_differences_of_models_without_notes(world: World) -> None:
    """Where the original's run noted nothing, that is said; shapes and lengths are told before values."""
    published(world)
    model = decode(world.blobs.get(world.runs.models["flights"].versions[1].artifact_key).data)
    other = replace(model, classes=(True, False, True))
    first, second = differences(model, other, environment(), None)
    assert first == "the original's run did not note its CPU family and packages"
    assert second == "the first field that differs is the length of classes: 2 here, 3 there"


# --- members that the budget left as they were ---


def _shell(pipeline: Any) -> Model:
    numbers = [Column("a", "float"), Column("c", "float")]
    schema = Schema([*numbers, Column("b", "category"), Column("y", "category", role="label")])
    lineage = Lineage("d", 1, 400, "0" * 64, {}, "1", 0, {})
    return Model("m", "multiclass", schema, pipeline, ("p", "q", "r"), lineage)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("linear", {"penalty": "l2", "strength": 1.0}),
        ("tree_ensemble", {"num_leaves": 7, "extra_trees": True, "feature_fraction": 0.5}),
        ("tree_ensemble", {"max_features": 0.5}),
        ("neural_network", {"hidden": [8]}),
        ("linear", {"penalty": "l2", "strength": 1.0, "scaling": "quantile", "pairs": True}),
        ("tree_ensemble", {"num_leaves": 7, "pairs": True}),
        ("neural_network", {"hidden": [8], "scaling": "quantile", "pairs": True}),
    ],
)
def test_a_member_that_stopped_early(kind: str, params: dict[str, Any]) -> None:
    """What was fitted on the last cut with early stopping is fitted again without it, at the length that it found."""
    rng = np.random.default_rng(1)
    columns = {name: rng.normal(size=400) for name in ("a", "c")}
    columns["b"] = np.array(["u", "v", None, "w"] * 100, dtype=object)
    labels = np.where(columns["a"] * columns["c"] > 0.2, 2, (rng.random(400) < 0.5).astype(np.int64))
    known = Known(Table(_shell(None).schema, columns), labels)
    fold = Fold(np.arange(300), np.arange(300, 400))
    ground, budget = Ground(_shell, "multiclass", 3, 0), Budget(SystemClock(), 600.0)
    held = known.take(fold.validation)
    candidate = Candidate(kind, params)
    early = candidate.fit(
        ground.learning(known.take(fold.train)),
        params,
        budget,
        validation=(held.table, held.labels),
        progress=lambda *_: None,
    )
    member = Member(candidate, early, FOLD, ground.parity(early, held.table, newest=False))
    made = joined([member], [1.0], Calibration(), 1)
    repeated = again_from(ground, made.choice, known, [fold], budget=budget, progress=Progress(lambda _: None, budget))
    assert repeated.choice == made.choice
    pairs = made.choice["members"][0]["params"].get("pairs", [])
    assert (["a", "product", "c"] in pairs or ["c", "product", "a"] in pairs) == ("pairs" in params)
    assert repeated.parity == made.parity
    row = [{"a": 0.25, "c": -1.5, "b": "u"}]
    assert encode(with_golden(_shell(repeated.pipeline), row)) == encode(with_golden(_shell(made.pipeline), row))


# --- threads ---


def _job(directory: Path, x: Any, y: Any) -> None:
    """Write a job for linear models of numbers; its budget is of a few seconds."""
    names = [f"x{i}" for i in range(x.shape[1])]
    label = Column("y", "bool" if y.dtype == bool else "float", role="label")
    columns = [*(Column(name, "float") for name in names), label]
    rows = [
        {"id": i, **dict(zip(names, v, strict=True)), "y": to}
        for i, (v, to) in enumerate(zip(x.tolist(), y.tolist(), strict=True))
    ]
    snapshot = snapshot_of(Schema([Column("id", "int", role="key", nullable=False), *columns]), rows)
    settings = Policy().settings() | {"kinds": ["linear"], "gate": {"min_rows": 20}, "budget_seconds": 5.0}
    workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=settings)


def test_threads_do_not_matter(tmp_path: Path) -> None:
    """A process that computes with two or four threads fits a regression again to the bytes that one thread gave.

    Without one thread for all it does not: sums are added in another order. The table is large enough for BLAS to use
    threads; its budget allows one cut.
    """
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5_500, 130))
    _job(tmp_path, x, x.sum(axis=1) + rng.normal(0, 20, size=len(x)))
    study = MemoryStudies().join("request/0", seed=0, metric="auto")
    train(tmp_path, SystemClock(), lambda _: None, study)
    made = (tmp_path / workdir.ARTIFACT).read_bytes()
    (tmp_path / workdir.ORIGINAL).write_bytes(made)
    members = decode(made).lineage.configuration["choice"]["members"]
    assert "l2" in {member["params"]["penalty"] for member in members}
    for threads in (1, 2, 4):
        (tmp_path / workdir.ARTIFACT).unlink()
        with threadpool_limits(limits=threads):
            assert work(tmp_path, lambda _: None, study) == EXIT_DONE
        assert (tmp_path / workdir.ARTIFACT).read_bytes() == made, f"{threads} threads"


def test_a_curve_behind_the_probabilities(tmp_path: Path) -> None:
    """A step that a linear model smooths takes an isotonic curve, which the lineage keeps to the bit."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(7_000, 2))
    _job(tmp_path, x, rng.random(len(x)) < np.where(x[:, 0] > 1.0, 0.95, 0.05))
    study = MemoryStudies().join("request/0", seed=0, metric="auto")
    train(tmp_path, SystemClock(), lambda _: None, study)
    made = (tmp_path / workdir.ARTIFACT).read_bytes()
    model = decode(made)
    assert isinstance(model.calibration, Isotonic)
    assert model.lineage.configuration["choice"]["calibration"]["kind"] == "isotonic"
    (tmp_path / workdir.ORIGINAL).write_bytes(made)
    (tmp_path / workdir.ARTIFACT).unlink()
    assert work(tmp_path, lambda _: None, study) == EXIT_DONE
    assert (tmp_path / workdir.ARTIFACT).read_bytes() == made
