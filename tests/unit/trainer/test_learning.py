"""From rows to a model: every task and kind, exact export, the same bytes again, honest encodings."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.model import Blend, NeuralNetwork, Number, Predictor, TreeEnsemble, decode
from trainyard.policy import KINDS, Policy
from trainyard.schema import Column, Schema
from trainyard.snapshot import Texts
from trainyard.snapshot.rows import snapshot_of
from trainyard.testing.fakes import MemoryStudies
from trainyard_trainer import workdir
from trainyard_trainer.domain import DataError, ParityError
from trainyard_trainer.learning import trees
from trainyard_trainer.learning.boosting import fit_trees
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.encoders import Encoder
from trainyard_trainer.learning.fitting import Learning
from trainyard_trainer.learning.forest import fit_forest
from trainyard_trainer.learning.linear import fit_linear
from trainyard_trainer.learning.neural import fit_neural
from trainyard_trainer.learning.parity import check_parity
from trainyard_trainer.learning.table import Table, model_schema, table_of
from trainyard_trainer.learning.target import define
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = [
    Column("id", "int", role="key", nullable=False),
    Column("size", "float"),
    Column("full", "int"),
    Column("flag", "bool"),
    Column("city", "category"),
    Column("day", "date"),
    Column("at", "timestamp"),
    Column("y", "bool", role="label"),
]
PAIRS = [["size", "ratio", "full"], ["flag", "product", "size"], ["full", "ratio", "flag"]]
LABELS = {"binary": "bool", "multiclass": "category", "regression": "float"}


def rows(task: str, count: int = 600, seed: int = 0) -> list[dict[str, Any]]:
    """Return rows of every type, with missing values, whose label depends on size, city and hour."""
    rng = np.random.default_rng(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)

    def one(i: int) -> dict[str, Any]:
        size, city, at = float(rng.normal()), int(rng.integers(80)), start + timedelta(minutes=int(rng.integers(10**5)))
        z = 2 * size + (city % 3) - (at.hour > 12) + float(rng.normal(0, 0.5))
        label: Any = z > 0
        if task == "multiclass":
            label = ["low", "mid", "high"][int(np.digitize(z, [-0.5, 1.5]))]
        elif task == "regression":
            label = 1000.0 + 50 * z
        row = {
            "size": size,
            "full": int(rng.integers(1, 9)),
            "flag": bool(rng.random() < 0.5),
            "city": f"c{city}",
            "day": date(2024, 1, 1) + timedelta(days=int(rng.integers(300))),
            "at": at,
        }
        lost = {name: None if name != "full" and rng.random() < 0.08 else value for name, value in row.items()}
        return {"id": i, **lost, "y": label if rng.random() > 0.02 else None}

    return [one(i) for i in range(count)]


def prepared(directory: Path, task: str, given: list[dict[str, Any]] | None = None, **settings: Any) -> Path:
    """Write the directory of a job; return it."""
    directory.mkdir(parents=True, exist_ok=True)
    schema = Schema([*COLUMNS[:-1], Column("y", LABELS[task], role="label")])
    content = rows(task) if given is None else given
    snapshot = snapshot_of(schema, content)
    given_settings = Policy().settings() | {"gate": {"min_rows": 20}} | settings
    workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=given_settings)
    return directory


def trained(directory: Path) -> tuple[bytes, dict[str, Any]]:
    """Do the job; return artifact and report."""
    study = MemoryStudies().join("request/0", seed=0, metric="auto")
    train(directory, SystemClock(), lambda _: None, study)
    return (directory / workdir.ARTIFACT).read_bytes(), json.loads((directory / workdir.REPORT).read_text())


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), list(KINDS)], ids="+".join)
def test_every_task_and_kind(tmp_path: Path, task: str, kinds: list[str]) -> None:
    """Each task is recognised, each kind learns it, and the model on disk answers what was tested."""
    data, report = trained(prepared(tmp_path, task, kinds=kinds))
    model = decode(data)
    Predictor(model).self_test()
    assert model.task == report["task"] == task
    assert report["passed"], report["gate"]["summary"]
    assert {trial["kind"] for trial in report["trials"]} == {"prior", *kinds}
    assert any(trial["chosen"] for trial in report["trials"])
    assert report["holdout"]["test_rows"] > 50
    assert model.lineage.configuration["choice"]
    assert report["evaluation"]["contributions"]["rows"] >= 50
    parity = report["metrics"]["parity"]
    assert 0 <= parity <= 1e-6
    assert report["evaluation"]["parity"]["holdout"] == parity == model.metrics["parity"]
    assert 0 <= report["evaluation"]["parity"]["members"] <= 1e-9


@pytest.mark.parametrize("task", LABELS)
def test_same_snapshot_same_bytes(tmp_path: Path, task: str) -> None:
    """Twice the same job gives the same artifact to the byte, whatever the budget was, as long as it sufficed."""
    first, report = trained(prepared(tmp_path / "a", task, budget_seconds=500.0))
    second, _ = trained(prepared(tmp_path / "b", task, budget_seconds=900.0))
    assert not report["budget_hit"]
    assert first == second
    other, _ = trained(prepared(tmp_path / "c", task, seed=1, budget_seconds=500.0))
    assert other != first


def test_a_blend_is_exported_whole(tmp_path: Path) -> None:
    """Where a mean of two kinds is better than either, the model is a blend and says so in its lineage."""
    data, report = trained(prepared(tmp_path, "regression", kinds=["linear", "tree_ensemble"]))
    model = decode(data)
    chosen = [trial for trial in report["trials"] if trial["chosen"]]
    assert isinstance(model.pipeline, Blend) == (len(chosen) > 1)
    assert sum(member["weight"] for member in model.lineage.configuration["choice"]["members"]) == pytest.approx(1.0)


def test_a_leak_is_left_out_of_model_report_and_questions(tmp_path: Path) -> None:
    """A column that gives the label away is reported, in the lineage, and not asked for; ``keep`` learns from it."""

    def leaking(count: int) -> list[dict[str, Any]]:
        return [{**row, "full": 7 if row["y"] else 2} for row in rows("binary", count)]

    data, report = trained(prepared(tmp_path / "a", "binary", leaking(600), kinds=["linear"]))
    model = decode(data)
    assert [(v["column"], v["kind"]) for v in report["left_out"]] == [("full", "function")]
    assert report["suspects"] == report["left_out"] == report["holdout"]["left_out"]
    assert model.lineage.configuration["columns"] == [{"column": "full", "kind": "function"}]
    assert "full" not in {column.name for column in model.schema.features}
    assert "full" not in report["profile"]["features"]
    kept = {"kinds": ["linear"], "leakage": "keep", "columns": {"exclude": ["size"]}}
    data, report = trained(prepared(tmp_path / "b", "binary", leaking(600), **kept))
    assert "full" in {column.name for column in decode(data).schema.features}
    assert [v["kind"] for v in report["left_out"]] == ["excluded"]
    assert [v["column"] for v in report["suspects"]] == ["full"]
    assert report["metrics"]["roc_auc"] > 0.99


def test_small_budget_still_gives_a_model(tmp_path: Path) -> None:
    """With no time at all the prior and one real candidate are tried, and the report says that the budget was hit."""

    class Hurried(ManualClock):
        def monotonic(self) -> float:
            self.advance(10.0)
            return super().monotonic()

    directory = prepared(tmp_path, "binary", budget_seconds=1.0)
    train(directory, Hurried(), lambda _: None, MemoryStudies().join("request/0", seed=0, metric="auto"))
    report = json.loads((directory / workdir.REPORT).read_text())
    assert report["budget_hit"]
    assert [trial["kind"] for trial in report["trials"]] == ["prior", "linear"]
    decode((directory / workdir.ARTIFACT).read_bytes())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: {**r, "y": True}, "1 distinct value"),
        (lambda r: {**r, "y": None}, "0 distinct value"),
        (lambda r: {"id": r["id"], "y": r["y"]}, "no feature column"),
        (lambda r: {**r, "y": r["y"] if r["id"] < 20 else None}, "labelled row"),
    ],
    ids=["one class", "no label", "nothing known", "few labels"],
)
def test_rows_that_allow_no_model(tmp_path: Path, change: Any, words: str) -> None:
    """Data that nothing can be learnt from are named as such, never a crash."""
    with pytest.raises(DataError, match=words):
        trained(prepared(tmp_path, "binary", [change(row) for row in rows("binary")]))


def learning(task: str, given: list[dict[str, Any]]) -> Learning:
    """Return what candidates learn from, without a hold-out."""
    schema = Schema([*COLUMNS[:-1], Column("y", LABELS[task], role="label")])
    snapshot = snapshot_of(schema, given)
    target = define(schema.column("y"), snapshot.columns["y"], np.ones(len(given), dtype=bool), task)
    kept = np.flatnonzero(target.learnable)
    table = table_of(snapshot, model_schema(schema, "y"), kept)
    labels, n_classes = target.values[kept], len(target.classes)
    return Learning(task, n_classes, table, labels, Encoder(table, labels, n_classes, 0), 0)


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize(
    ("fit", "params"),
    [
        (fit_linear, {"penalty": "l2", "strength": 1.0}),
        (fit_linear, {"penalty": "elastic", "strength": 10.0}),
        (fit_trees, {"num_leaves": 31}),
        (fit_trees, {"num_leaves": 31, "extra_trees": True, "feature_fraction": 0.7}),
        (fit_trees, {"num_leaves": 15, "categories": "sets", "min_data_per_group": 5, "cat_smooth": 1}),
        (fit_forest, {"max_features": 0.5}),
        (fit_neural, {"hidden": [8]}),
        (fit_neural, {"hidden": [8], "activation": "tanh", "alpha": 1e-2}),
        (fit_linear, {"penalty": "l2", "strength": 1.0, "scaling": "quantile", "pairs": PAIRS}),
        (fit_trees, {"num_leaves": 31, "categories": "sets", "pairs": PAIRS}),
        (fit_forest, {"max_features": 0.5, "pairs": PAIRS}),
        (fit_neural, {"hidden": [8], "scaling": "quantile", "pairs": PAIRS}),
    ],
)
def test_exported_models_answer_as_the_library(task: str, fit: Any, params: dict[str, Any]) -> None:
    """On real rows, with every value missing and with unseen levels, also where training saw nothing missing."""
    from trainyard.model import Lineage, Model  # noqa: PLC0415

    complete = [row for row in rows(task, 900) if None not in row.values()]
    for given in (rows(task), complete):
        known = learning(task, given)
        fitted = fit(known, params, Budget(SystemClock(), 60), length=25, progress=lambda *_: None)
        classes = tuple(f"k{i}" for i in range(known.n_classes))
        lineage = Lineage("d", 1, 1, "0" * 64, {}, "1", 0, {})
        model = Model("m", task, known.table.schema, fitted.pipeline, classes, lineage)
        check_parity(fitted, Predictor(model), known.table)


def test_no_version_comes_of_a_model_that_answers_otherwise_on_the_hold_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison with the libraries stands before the artifact: with no difference allowed there is none."""
    monkeypatch.setattr("trainyard_trainer.learning.parity.HOLDOUT_PARITY", -1.0)
    directory = prepared(tmp_path, "regression", kinds=["linear"])
    with pytest.raises(ParityError, match="on the hold-out the finished model differs"):
        trained(directory)
    assert not (directory / workdir.ARTIFACT).exists()


def test_a_wrong_export_is_caught() -> None:
    """A leaf that is off by a millionth stops the publication."""
    from dataclasses import replace  # noqa: PLC0415

    from trainyard.model import Lineage, Model  # noqa: PLC0415

    known = learning("binary", rows("binary"))
    fitted = fit_trees(known, {"num_leaves": 7}, Budget(SystemClock(), 60), length=5, progress=lambda *_: None)
    ensemble = fitted.pipeline.estimator
    assert isinstance(ensemble, TreeEnsemble)
    value = ensemble.value.numpy.copy()
    value[value != 0] += 1e-6
    wrong = replace(fitted.pipeline, estimator=replace(ensemble, value=value))
    model = Model("m", "binary", known.table.schema, wrong, (False, True), Lineage("d", 1, 1, "0" * 64, {}, "1", 0, {}))
    with pytest.raises(ParityError, match="differs"):
        check_parity(replace(fitted, pipeline=wrong), Predictor(model), known.table)


def test_export_refuses_what_it_does_not_know() -> None:
    """Zeros that count as missing are never guessed at."""
    known = learning("regression", rows("regression"))
    params = trees.parameters("regression", 1, 300, 0, {"num_leaves": 7, "zero_as_missing": True})
    budget = Budget(SystemClock(), 60)
    booster, _ = trees.boost(params, known.for_trees(), known.labels, budget, rounds=3, progress=lambda *_: None)
    with pytest.raises(ParityError, match="zero_as_missing"):
        trees.export(booster, 3, "regression", np.zeros(1))


def test_splits_by_sets_of_levels_are_exported() -> None:
    """As LightGBM makes them: a level goes where its set goes, what is missing or unseen goes right."""
    known = learning("binary", rows("binary"))
    params = {"num_leaves": 15, "categories": "sets", "min_data_per_group": 5, "cat_smooth": 1}
    fitted = fit_trees(known, params, Budget(SystemClock(), 60), length=10, progress=lambda *_: None)
    ensemble = fitted.pipeline.estimator
    assert isinstance(ensemble, TreeEnsemble)
    assert len(ensemble.category_start) > 0


def test_frequent_levels_are_ordered_for_trees_by_all_their_rows() -> None:
    """Each level has one value, in the order of its labels' mean: no fold can be told from another by it."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4_000)
    levels = np.array([f"k{i % 4}" for i in range(len(labels))], dtype=object)
    schema = Schema([Column("k", "category"), Column("y", "bool", role="label")])
    x = Encoder(Table(schema, {"k": levels}), labels, 2, 0).for_trees().x[:, 0]
    means = [labels[levels == f"k{i}"].mean() for i in range(4)]
    values = [np.unique(x[levels == f"k{i}"]) for i in range(4)]
    assert [len(v) for v in values] == [1] * 4
    assert np.argsort([v[0] for v in values]).tolist() == np.argsort(means).tolist()


def test_skewed_numbers_are_seen_by_their_logarithm() -> None:
    """Only by linear models and networks, only where it helps: neither a symmetric number nor a rare flag."""
    rng = np.random.default_rng(0)
    columns = {
        "income": np.exp(rng.normal(10, 1.5, 500)),
        "height": rng.normal(170, 10, 500),
        "rare": (rng.random(500) < 0.01).astype(np.float64),
    }
    columns["income"][::9] = np.nan
    schema = Schema([*(Column(name, "float") for name in columns), Column("y", "bool", role="label")])
    encoder = Encoder(Table(schema, columns), rng.integers(0, 2, 500), 2, 0)
    encoded = encoder.for_linear()
    numbers = [step for step in encoded.steps if isinstance(step, Number)]
    assert {step.column: step.transform for step in numbers} == {
        "income": "log",
        "height": "identity",
        "rare": "identity",
    }
    assert np.abs(encoded.x.mean(axis=0)).max() < 0.2
    assert np.nanmax(encoder.for_trees().x) == np.nanmax(columns["income"])


def heavy_tailed(count: int = 1_500) -> Learning:
    """Return a table whose label is the exponential of a sum, times noise of mean 1, in the millions."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=count) for name in ("a", "b")}
    noise = np.exp(rng.normal(-0.125, 0.5, count))
    labels = 1e6 * np.exp(columns["a"] + 0.5 * columns["b"]) * noise
    table = Table(Schema([Column("a", "float"), Column("b", "float"), Column("y", "float", role="label")]), columns)
    return Learning("regression", 0, table, labels, Encoder(table, labels, 0, 0), 0)


LOG_LINKS = [
    (fit_trees, {"num_leaves": 7, "objective": "poisson"}),
    (fit_trees, {"num_leaves": 7, "objective": "gamma", "learning_rate": 0.2}),
    (fit_linear, {"link": "log", "strength": 1.0}),
]


@pytest.mark.parametrize(("fit", "params"), LOG_LINKS)
def test_a_logarithmic_link_estimates_the_mean(fit: Any, params: dict[str, Any]) -> None:
    """Not the median: answers add up to the labels, they are exact in the export, and the label's unit is none."""
    from dataclasses import replace  # noqa: PLC0415

    from trainyard.model import Lineage, Model  # noqa: PLC0415

    known = heavy_tailed()

    def answers(learnt: Learning) -> Any:
        fitted = fit(learnt, params, Budget(SystemClock(), 60), length=100, progress=lambda *_: None)
        lineage = Lineage("d", 1, 1, "0" * 64, {}, "1", 0, {})
        predictor = Predictor(Model("m", "regression", learnt.table.schema, fitted.pipeline, (), lineage))
        check_parity(fitted, predictor, learnt.table)
        return predictor.predict_columns(learnt.table.columns)

    given = answers(known)
    assert given.min() > 0
    assert given.sum() == pytest.approx(known.labels.sum(), rel=0.04)  # 0.88 of it were the median
    assert np.corrcoef(given, known.labels)[0, 1] > 0.8
    assert answers(replace(known, labels=known.labels * 1e-6)) == pytest.approx(given * 1e-6, rel=1e-6)


@pytest.mark.parametrize(("fit", "params"), LOG_LINKS)
def test_labels_that_are_all_zero_leave_a_logarithmic_link_the_prior(fit: Any, params: dict[str, Any]) -> None:
    """A fold in time may have none of the events that are counted."""
    from dataclasses import replace  # noqa: PLC0415

    known = replace(heavy_tailed(50), labels=np.zeros(50))
    fitted = fit(known, params, Budget(SystemClock(), 60), progress=lambda *_: None)
    assert fitted.answer(np.zeros((2, 1))).tolist() == [0.0, 0.0]


def test_target_means_are_out_of_fold() -> None:
    """A category that is different in every row tells a tree nothing about its own row's label."""
    rng = np.random.default_rng(0)
    n = 4_000
    labels = rng.integers(0, 2, n)
    pairs = np.array([f"k{i // 2}" for i in range(n)], dtype=object)
    schema = Schema([Column("k", "category"), Column("x", "float"), Column("y", "bool", role="label")])
    encoder = Encoder(Table(schema, {"k": pairs, "x": rng.normal(size=n)}), labels, 2, 0)
    step, out_of_fold, _ = encoder._means(schema.column("k"))
    assert abs(np.corrcoef(out_of_fold[0], labels)[0, 1]) < 0.06
    assert np.array_equal(encoder.for_trees().x[:, 0], out_of_fold[0])  # of so few rows each, for trees too
    assert step.table.lowest >= 0
    assert step.table.highest <= 1
    assert abs(float(step.unknown.lowest) - labels.mean()) < 0.01


@pytest.mark.parametrize(
    ("kind", "values", "task", "classes"),
    [
        ("bool", [0, 1, 1, 0], "binary", (False, True)),
        ("int", [3, 7, 7, 3], "binary", (3, 7)),
        ("int", [1, 2, 3, 1, 2, 3], "multiclass", (1, 2, 3)),
        ("int", list(range(40)), "regression", ()),
        ("float", [0.5, 1.5, 0.5, 1.5], "regression", ()),
        ("category", ["b", "a", "b", "a"], "binary", ("a", "b")),
        ("text", ["b", "a", "c", "c", "b", "a"], "multiclass", ("a", "b", "c")),
    ],
)
def test_task_is_guessed(kind: str, values: list[Any], task: str, classes: tuple[Any, ...]) -> None:
    """Two values are binary, strings and few whole numbers are classes, everything else is a number."""
    column = Column("y", kind, role="label")
    if kind in ("category", "text"):
        levels = tuple(dict.fromkeys(values))
        given: Any = Texts(np.array([levels.index(v) for v in values], dtype=np.int32), levels)
    else:
        given = np.array(values, dtype=np.float64)
    target = define(column, given, np.ones(len(values), dtype=bool), "auto")
    assert (target.task, target.classes) == (task, classes)


def test_labels_that_training_never_saw() -> None:
    """A class that only the test rows show is no class of the model; its rows are present but not learnable."""
    values = Texts(np.array([0, 1, 0, 1, 2, -1], dtype=np.int32), ("a", "b", "c"))
    train_rows = np.array([True, True, True, True, False, False])
    target = define(Column("y", "category", role="label"), values, train_rows, "multiclass")
    assert target.classes == ("a", "b")
    assert target.values.tolist() == [0, 1, 0, 1, -1, -1]
    assert target.present.tolist() == [True] * 5 + [False]
    assert target.learnable.tolist() == [True] * 4 + [False, False]


def test_neural_network_keeps_its_best_epoch() -> None:
    """The network that is exported is the one of the best epoch, with all its layers."""
    known = learning("binary", rows("binary"))
    fitted = fit_neural(
        known,
        {"hidden": [8, 4]},
        Budget(SystemClock(), 60),
        validation=(known.table, known.labels),
        progress=lambda *_: None,
    )
    assert isinstance(fitted.pipeline.estimator, NeuralNetwork)
    assert len(fitted.pipeline.estimator.layers) == 3
    assert fitted.length is not None
    assert fitted.length >= 1
