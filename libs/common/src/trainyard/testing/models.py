"""Small models of every kind, made from a seed: for the tests of whoever writes, reads or serves models."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.model import (
    Blend,
    DateParts,
    Dense,
    IsMissing,
    Lineage,
    Linear,
    Model,
    NeuralNetwork,
    Number,
    OneHot,
    Pair,
    Pipeline,
    Quantile,
    TableEncoding,
    Temperature,
    TreeEnsemble,
    with_golden,
)
from trainyard.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.model.dto import Estimator
    from trainyard.model.steps import Step

ESTIMATORS = ("linear", "neural_network", "tree_ensemble", "blend")
TASKS = ("binary", "multiclass", "regression")
CARRIERS = ("AA", "DL", "UA")
SCHEMA = Schema(
    [
        Column("flight", "int", role="key", nullable=False),
        Column("distance", "float"),
        Column("seats", "int"),
        Column("holiday", "bool"),
        Column("carrier", "category", categories=CARRIERS),
        Column("remark", "text"),
        Column("day", "date"),
        Column("planned", "timestamp"),
        Column("late", "category", role="label"),
    ]
)
CLASSES: dict[str, tuple[str | int | bool, ...]] = {
    "binary": (False, True),
    "multiclass": ("early", "late", "on time"),
    "regression": (),
}
_OUTPUT = {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity"}


def sample_rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return ``n`` rows in JSON form that fit SCHEMA's features, with missing values and unknown levels."""
    rng = np.random.default_rng(seed)
    start = datetime(2013, 1, 1, tzinfo=UTC)

    def one() -> dict[str, Any]:
        moment = start + timedelta(minutes=int(rng.integers(525_600)))
        row: dict[str, Any] = {
            "distance": float(rng.integers(0, 300)) * 10.5,
            "seats": int(rng.integers(50, 400)),
            "holiday": bool(rng.random() < 0.1),
            "carrier": str(rng.choice([*CARRIERS, "ZZ"])),
            "remark": str(rng.choice(["", "de-icing", "crew"])),
            "day": moment.date().isoformat(),
            "planned": moment.isoformat(),
        }
        return {name: None if rng.random() < 0.1 else value for name, value in row.items()}

    return [one() for _ in range(n)]


def sample_model(estimator: str = "linear", task: str = "binary", seed: int = 0, name: str = "flights") -> Model:
    """Return a model of one of ESTIMATORS for one of TASKS, with five golden rows; the same seed, the same model."""
    rng = np.random.default_rng(seed)
    pipeline: Pipeline | Blend
    if estimator == "blend":
        parts = tuple(_pipeline(kind, task, rng) for kind in ("tree_ensemble", "linear"))
        pipeline = Blend(parts, np.array([0.75, 0.25]))
    else:
        pipeline = _pipeline(estimator, task, rng)
    model = Model(
        name=name,
        task=task,
        schema=SCHEMA,
        pipeline=pipeline,
        classes=CLASSES[task],
        lineage=Lineage(
            dataset="flights",
            snapshot_upto_seq=1_000,
            snapshot_rows=990,
            snapshot_sha256="0" * 64,
            configuration={"estimator": estimator, "rounds": [1, 2, 3], "rate": 0.05},
            code_version="0.1.0",
            seed=seed,
            libraries={"numpy": "2.0"},
        ),
        calibration=None if task == "regression" else Temperature(1.25),
        threshold=0.4 if task == "binary" else 0.5,
        metrics={"log_loss": 0.5, "auc": 0.7},
    )
    return with_golden(model, sample_rows(5, seed + 1))


def random_trees(
    n_trees: int, depth: int, width: int, n_outputs: int, rng: np.random.Generator, *, vector: bool = False
) -> dict[str, Any]:
    """Return node arrays of random trees for TreeEnsemble, all but aggregation and output."""
    nodes: dict[str, list[Any]] = {k: [] for k in ("feature", "threshold", "left", "right", "default_left", "value")}

    def grow(level: int) -> int:
        index = len(nodes["feature"])
        leaf = level == depth or (level > 0 and rng.random() < 0.2)
        nodes["feature"].append(-1 if leaf else int(rng.integers(width)))
        nodes["threshold"].append(0.0 if leaf else float(np.round(rng.normal(), 1)))
        nodes["default_left"].append(0 if leaf else int(rng.integers(2)))
        nodes["value"].append(rng.normal(size=n_outputs if vector else 1) * (1.0 if leaf else 0.0))
        nodes["left"].append(-1)
        nodes["right"].append(-1)
        if not leaf:
            nodes["left"][index] = grow(level + 1)
            nodes["right"][index] = grow(level + 1)
        return index

    start = [grow(0) for _ in range(n_trees)]
    arrays: dict[str, Any] = {name: np.array(values) for name, values in nodes.items()}
    arrays["value"] = arrays["value"].reshape(len(arrays["feature"]), -1) + 0.0  # no negative zeros
    tree_output = np.zeros(n_trees, dtype=np.int32) if vector else np.arange(n_trees, dtype=np.int32) % n_outputs
    return {"tree_start": np.array(start), **arrays, "tree_output": tree_output, "base": rng.normal(size=n_outputs)}


def _steps(trees: bool, width: int, rng: np.random.Generator) -> tuple[Step, ...]:
    table = rng.normal(size=(len(CARRIERS), width))
    prior = table.mean(axis=0)
    encoding = TableEncoding("carrier", CARRIERS, table, prior, np.zeros(width))
    if trees:
        parts = DateParts("planned", ("month", "weekday", "hour"))
        codes = TableEncoding("carrier", CARRIERS, np.arange(len(CARRIERS))[:, None])  # the last column: for categories
        return (
            Number("distance"),
            Number("seats"),
            Number("holiday"),
            encoding,
            parts,
            IsMissing("remark"),
            Pair("distance", "seats", "ratio"),
            codes,
        )
    waves = ("hour_sin", "hour_cos")
    return (
        Number("distance", impute=1500.0, center=1500.0, scale=900.0, clip=5.0),
        Number("seats", impute=225.0, center=225.0, scale=100.0),
        Number("holiday", impute=0.0),
        OneHot("carrier", CARRIERS),
        OneHot("remark", ("crew",), other=False, missing=True),
        DateParts("planned", waves, impute=np.zeros(2)),
        DateParts("day", ("day_of_year",), np.array([183.0]), np.array([183.0]), np.array([100.0])),
        encoding,
        Number("seats", impute=5.0, center=5.0, scale=0.5, transform="log"),
        Quantile("distance", (0.0, 700.0, 2_000.0, 3_150.0), (-1.5, -0.5, 0.5, 1.5), impute=0.0),
        Pair("distance", "seats", "product", impute=0.0, scale=1e6, clip=3.0),
    )


def _pipeline(kind: str, task: str, rng: np.random.Generator) -> Pipeline:
    n_outputs = max(1, len(CLASSES[task])) if task == "multiclass" else 1
    steps = _steps(kind == "tree_ensemble", 2, rng)
    width = sum(step.width for step in steps)
    return Pipeline(steps, _estimator(kind, _OUTPUT[task], width, n_outputs, rng))


def _estimator(kind: str, output: str, width: int, n_outputs: int, rng: np.random.Generator) -> Estimator:
    if kind == "tree_ensemble":
        arrays = random_trees(6, 4, width, n_outputs, rng)
        categorical = np.flatnonzero(arrays["feature"] == width - 1).tolist()
        return TreeEnsemble.from_nodes(
            **arrays,
            aggregation="sum",
            output=output,
            cover=rng.integers(1, 50, len(arrays["feature"])),
            categories={node: rng.choice(len(CARRIERS), 2, replace=False).tolist() for node in categorical},
        )
    baseline = rng.normal(size=width) / 2
    if kind == "linear":
        return Linear(rng.normal(size=(width, n_outputs)), rng.normal(size=n_outputs), output, baseline)
    sizes: Sequence[int] = (width, 8, 6, 4, n_outputs)
    activations = ("relu", "tanh", "gelu", "identity")
    layers = tuple(
        Dense(rng.normal(size=(sizes[i], sizes[i + 1])) / 2, rng.normal(size=sizes[i + 1]), activations[i])
        for i in range(len(activations))
    )
    return NeuralNetwork(layers, output, baseline)


def with_trees(model: Model, trees: TreeEnsemble, steps: Sequence[Step]) -> Model:
    """Return the model with another tree ensemble as its only pipeline, golden rows renewed."""
    golden_rows = model.golden.rows if model.golden else sample_rows(5)
    return with_golden(replace(model, pipeline=Pipeline(tuple(steps), trees), golden=None), golden_rows)


def without_covers(model: Model) -> Model:
    """Return the model with trees that do not say how many rows reached their leaves, as of format version 1."""

    def bare(member: Pipeline) -> Pipeline:
        if not isinstance(member.estimator, TreeEnsemble):
            return member
        return replace(member, estimator=replace(member.estimator, cover=None))

    if isinstance(model.pipeline, Blend):
        return replace(model, pipeline=replace(model.pipeline, members=tuple(map(bare, model.pipeline.members))))
    return replace(model, pipeline=bare(model.pipeline))
