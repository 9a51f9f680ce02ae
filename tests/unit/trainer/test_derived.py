"""Columns that the search derives: pairs of numbers where they tell more than the two do, and scales by quantiles."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import ManualClock, SystemClock
from trainyard.model import IsMissing, Number, Pair, Predictor, Quantile, decode
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard.testing.fakes import MemoryStudies
from trainyard_trainer import workdir
from trainyard_trainer.child import work
from trainyard_trainer.domain import EXIT_DONE
from trainyard_trainer.learning import scales
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.candidates import Portfolio
from trainyard_trainer.learning.encoders import Encoder
from trainyard_trainer.learning.fitting import Learning
from trainyard_trainer.learning.pairs import LINEAR, MOST_PAIRS, TREES, Derived, find
from trainyard_trainer.learning.table import Table
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("debt", "income", "age", "noise")


def drawn(count: int = 2_000, seed: int = 0) -> dict[str, Any]:
    """Return numbers, all of them positive, some of them unknown."""
    rng = np.random.default_rng(seed)
    columns = {
        "debt": np.exp(rng.normal(0, 1, count)),
        "income": np.exp(rng.normal(0, 1, count)),
        "age": rng.uniform(18, 80, count),
        "noise": rng.normal(size=count),
    }
    columns["debt"][::37] = np.nan
    return columns


def by_ratio(columns: dict[str, Any], seed: int = 0) -> Any:
    """Return labels that depend on debt / income, and somewhat on chance."""
    ratio = np.nan_to_num(columns["debt"] / columns["income"], nan=1.0)
    return np.log(ratio) + np.random.default_rng(seed + 1).normal(0, 0.3, len(ratio)) > 0.0


def by_product(columns: dict[str, Any], seed: int = 0) -> Any:
    """Return labels that depend on (age - 49) x noise, and somewhat on chance."""
    return (columns["age"] - 49) * columns["noise"] + np.random.default_rng(seed + 1).normal(0, 10, len(columns["age"]))


def prepared(directory: Path, columns: dict[str, Any], labels: Any, **settings: Any) -> Path:
    """Write the directory of a job; return it."""
    directory.mkdir(parents=True)
    kind = "bool" if labels.dtype == bool else "float"
    features = [Column(name, "float") for name in columns]
    schema = Schema([Column("id", "int", role="key", nullable=False), *features, Column("y", kind, role="label")])
    values = [[None if np.isnan(v) else v for v in column.tolist()] for column in columns.values()]
    rows = [
        {"id": i, **dict(zip([*columns, "y"], row, strict=True))}
        for i, row in enumerate(zip(*values, labels.tolist(), strict=True))
    ]
    snapshot = snapshot_of(schema, rows)
    given = {"gate": {"min_rows": 20}, "budget_seconds": 20.0, **settings}
    workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=given)
    return directory


def trained(directory: Path) -> tuple[bytes, dict[str, Any]]:
    """Do the job; return artifact and report."""
    train(directory, SystemClock(), lambda _: None, MemoryStudies().join("request/0", seed=0, metric="auto"))
    return (directory / workdir.ARTIFACT).read_bytes(), json.loads((directory / workdir.REPORT).read_text())


def reproduced(directory: Path, made: bytes) -> bytes:
    """Fit the version again from its lineage."""
    (directory / workdir.ORIGINAL).write_bytes(made)
    (directory / workdir.ARTIFACT).unlink()
    study = MemoryStudies().join("request/1", seed=0, metric="auto")
    assert work(directory, lambda _: None, study) == EXIT_DONE
    return (directory / workdir.ARTIFACT).read_bytes()


def pairs_of(data: bytes) -> set[tuple[str, str, str]]:
    """Return the pairs that an artifact reads."""
    steps = [step for member in decode(data).members for step in member.steps]
    return {(step.left, step.operation, step.right) for step in steps if isinstance(step, Pair)}


@pytest.mark.usefixtures("whole_portfolio")
def test_a_ratio_is_found_and_wins(tmp_path: Path) -> None:
    """Trees with it lose far less on the folds and on the test rows; lineage, curve and explanations have it."""
    columns = drawn()
    given = {"kinds": ["tree_ensemble"]}
    plain, before = trained(prepared(tmp_path / "two", columns, by_ratio(columns), budget_trials=2, **given))
    made, after = trained(prepared(tmp_path / "three", columns, by_ratio(columns), budget_trials=3, **given))
    without, with_pairs = (trial["metrics"]["loss"] for trial in after["trials"][1:])
    assert after["trials"][2]["params"]["pairs"] is True
    assert with_pairs < 0.9 * without
    assert after["metrics"]["loss"] < 0.95 * before["metrics"]["loss"]
    assert not pairs_of(plain)
    assert pairs_of(made) & {("debt", "ratio", "income"), ("income", "ratio", "debt")}
    model = decode(made)
    recorded = [tuple(one) for member in model.lineage.configuration["choice"]["members"]
                for one in member["params"].get("pairs", [])]  # fmt: skip
    assert set(recorded) == pairs_of(made)
    assert len(after["evaluation"]["learning_curve"]["points"]) == 5
    explained = Predictor(model).explain_columns({name: values[:50] for name, values in columns.items()})
    shares = dict(
        zip(NAMES, np.abs(explained.contributions).mean(axis=0).reshape(len(NAMES), -1).sum(axis=1), strict=True)
    )
    assert min(shares["debt"], shares["income"]) > 5 * max(shares["age"], shares["noise"])
    assert reproduced(tmp_path / "three", made) == made


@pytest.mark.usefixtures("whole_portfolio")
def test_who_takes_a_search_over_finds_the_same(tmp_path: Path) -> None:
    """Nothing but trials is left of a search that was cut short: their pairs are found again, for the same bytes."""
    columns, given = drawn(1_000), {"kinds": ["tree_ensemble"], "budget_trials": 3}
    made, report = trained(prepared(tmp_path / "whole", columns, by_ratio(columns), **given))
    assert pairs_of(made)
    later = prepared(tmp_path / "later", columns, by_ratio(columns), **given)
    job = workdir.read_json(later, workdir.JOB)
    workdir.write_json(later, workdir.JOB, job | {"trials": [{**t, "chosen": False} for t in report["trials"]]})
    assert trained(later)[0] == made


@pytest.mark.usefixtures("whole_portfolio")
def test_a_linear_model_sees_a_product_too(tmp_path: Path) -> None:
    """What no straight line says it says of a product; the same bytes come of the lineage."""
    columns = drawn(1_000)
    made, report = trained(prepared(tmp_path / "job", columns, by_product(columns), kinds=["linear"], budget_trials=3))
    without, with_pairs = (trial["metrics"]["loss"] for trial in report["trials"][1:])
    assert with_pairs < 0.5 * without
    assert ("age", "product", "noise") in pairs_of(made) or ("noise", "product", "age") in pairs_of(made)
    assert reproduced(tmp_path / "job", made) == made


def learning(columns: dict[str, Any], labels: Any, task: str) -> Learning:
    """Return what candidates learn from."""
    schema = Schema([*(Column(name, "float") for name in columns), Column("y", "float", role="label")])
    classes, table = {"regression": 0, "binary": 2, "multiclass": 3}[task], Table(schema, columns)
    return Learning(task, classes, table, labels, Encoder(table, labels, classes, 0), 0)


def plenty() -> Budget:
    """Return all the time there is."""
    return Budget(SystemClock(), 600.0)


@pytest.mark.parametrize("view", [TREES, LINEAR])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_is_found_is_the_same_every_time(view: str, task: str) -> None:
    """For every task, whatever sees it: the pair that decides comes first, few follow, none twice."""
    columns = drawn(1_500)
    columns["age"] -= 49  # a product of numbers that have no sign is half of one of them
    signal = columns["age"] * columns["noise"] + np.random.default_rng(1).normal(0, 10, 1_500)
    labels = signal if task == "regression" else np.digitize(signal, [0.0] if task == "binary" else [-15.0, 15.0])
    found = find(learning(columns, labels, task), view, plenty())
    assert {found[0].left, found[0].right} == {"age", "noise"}
    assert len(found) == len(set(found)) <= MOST_PAIRS
    assert find(learning(columns, labels, task), view, plenty()) == found
    assert all({pair.left, pair.right} <= set(columns) for pair in found)


@pytest.mark.parametrize("view", [TREES, LINEAR])
def test_where_nothing_is_hidden_little_is_found(view: str) -> None:
    """Of sums and of noise hardly ever a pair is made."""
    counts = []
    for seed in range(8):
        columns, rng = drawn(1_000, seed), np.random.default_rng(seed + 100)
        additive = columns["age"] / 20 + columns["noise"] + rng.normal(0, 1, 1_000)
        counts += [
            len(find(learning(columns, y, "regression"), view, plenty())) for y in (additive, rng.normal(size=1_000))
        ]
    assert np.mean(counts) < 1.0


def test_no_time_few_rows_or_one_number() -> None:
    """Then there are none, and that is no fault."""
    columns = drawn(500)
    labels = by_product(columns)
    known = learning(columns, labels, "regression")
    budget = Budget(ManualClock(), 0.0)
    assert find(known, TREES, budget) == ()
    assert budget.hit
    few = {name: values[:50] for name, values in columns.items()}
    assert find(learning(few, labels[:50], "regression"), TREES, plenty()) == ()
    assert find(learning({"age": columns["age"]}, labels, "regression"), LINEAR, plenty()) == ()


def test_hostile_numbers_make_pairs_all_the_same() -> None:
    """Zeros to divide by, numbers too large to multiply, columns that are unknown or never vary."""
    rng = np.random.default_rng(0)
    columns = {
        "zero": np.where(rng.random(600) < 0.5, 0.0, rng.normal(size=600)),
        "huge": rng.normal(size=600) * 1e300,
        "gone": np.full(600, np.nan),
        "same": np.ones(600),
        "usual": rng.normal(size=600),
    }
    labels = columns["zero"] * columns["usual"] + rng.normal(0, 0.1, 600)
    known = learning(columns, labels, "regression")
    pairs = tuple(Derived(a, op, b) for a in columns for b in columns for op in ("ratio", "difference", "product"))
    for view in (TREES, LINEAR):
        assert Derived("zero", "product", "usual") in find(known, view, plenty())
    assert np.isfinite(known.for_linear(pairs=pairs).x).all()
    trees = known.for_trees(pairs=pairs).x[:, len(columns) :]
    assert np.nanmax(np.abs(trees)) <= 1e30


def test_they_are_proposed_where_there_are_numbers() -> None:
    """Two for a pair, one for a scale."""
    kinds = ["linear", "tree_ensemble", "neural_network"]
    spaces = [Portfolio(kinds, cells=1_000, n_outputs=1, numbers=numbers).space for numbers in (0, 1, 2)]
    assert ["pairs" in space["tree_ensemble"].params for space in spaces] == [False, False, True]
    assert ["scaling" in space["linear"].params for space in spaces] == [False, True, True]


# --- scales by quantiles ---


def test_any_tail_becomes_that_of_a_normal_distribution() -> None:
    """Whatever the distribution, with a missing value in the middle and a flag beside it."""
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(0, 4, 3_000)) * np.sign(rng.normal(size=3_000))
    values[::10] = np.nan
    step, flag = scales.by_quantiles("x", values)
    assert isinstance(step, Quantile)
    assert isinstance(flag, IsMissing)
    known = learning({"x": values, "z": rng.normal(size=3_000)}, rng.normal(size=3_000), "regression")
    x = known.for_linear(scaling="quantile").x[:, 0]
    assert np.abs(np.quantile(x[~np.isnan(values)], [0.025, 0.5, 0.975]) - [-1.96, 0.0, 1.96]).max() < 0.1
    assert (x[np.isnan(values)] == 0.0).all()
    order = np.argsort(values[~np.isnan(values)])
    assert (np.diff(x[~np.isnan(values)][order]) >= 0).all()


@pytest.mark.parametrize(
    "values",
    [
        np.tile([0.0, 1.0], 50),
        np.ones(100),
        np.full(100, np.nan),
        np.linspace(-1.0, 1.0, 100) * 1.7e308,
        np.append(np.arange(99) * 5e-324, 1.0),
    ],
    ids=["flag", "constant", "unknown", "huge", "denormal"],
)
def test_where_there_is_no_scale_numbers_are_standardised(values: Any) -> None:
    """Two values are a flag, and lines that are too steep or too long to be drawn are none."""
    steps = scales.by_quantiles("x", values)
    assert not any(isinstance(step, Quantile) for step in steps)
    assert all(isinstance(step, Number | IsMissing) for step in steps)
