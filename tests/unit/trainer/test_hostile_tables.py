"""Never below the class prior: tables as they come in life, each of which has broken some library's defaults."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import SystemClock
from trainyard.model import Predictor, decode
from trainyard.policy import Policy
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard.testing.fakes import MemoryStudies
from trainyard_trainer import workdir
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: By how much the hold-out's loss may be above that of always answering the shares: chance, on so few rows.
TOLERANCE = 0.02
BUDGET_SECONDS = 6.0
AT = datetime(2024, 5, 1, 9, tzinfo=UTC)
ROLES = {"y": "label", "happened": "event_time"}
Rows = list[dict[str, Any]]


def learnt(directory: Path, types: dict[str, str], rows: Rows, **settings: Any) -> dict[str, Any]:
    """Do the whole job on rows with the label ``y``; return the report, the artifact read again and tested."""
    columns = [Column(name, kind, role=ROLES.get(name, "feature")) for name, kind in types.items()]
    schema = Schema([Column("id", "int", role="key", nullable=False), *columns])
    snapshot = snapshot_of(schema, [{"id": i, **row} for i, row in enumerate(rows)])
    given = Policy().settings() | {"gate": {"min_rows": 20}, "budget_seconds": BUDGET_SECONDS} | settings
    workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=given)
    train(directory, SystemClock(), lambda _: None, MemoryStudies().join("request/0", seed=0, metric="auto"))
    Predictor(decode((directory / workdir.ARTIFACT).read_bytes())).self_test()
    report: dict[str, Any] = json.loads((directory / workdir.REPORT).read_text())
    return report


def mostly_zero(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """As many columns as a dataset may have, nearly all of them nearly always 0, three of which say something."""
    x = np.where(rng.random((500, 1_498)) < 0.03, rng.integers(1, 9, (500, 1_498)), 0)
    x[:, :3] = np.where(rng.random((500, 3)) < 0.5, 0, rng.integers(1, 4, (500, 3)))
    y = x[:, :3].sum(axis=1) + rng.normal(0, 1, 500) > 2.5
    names = [f"x{i}" for i in range(1_498)]
    rows = [{**dict(zip(names, map(int, row), strict=True)), "y": bool(v)} for row, v in zip(x, y, strict=True)]
    return {**dict.fromkeys(names, "int"), "y": "bool"}, rows


def many_classes(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """47 classes, a few common, many with a handful of rows, ten with one."""
    sizes = [300, 200, 120, 80, 50, *[12] * 8, *[4] * 12, *[2] * 12, *[1] * 10]
    classes = rng.permutation(np.repeat(np.arange(47), sizes))
    a, b = classes % 7 + rng.normal(0, 1.0, len(classes)), classes % 5 + rng.normal(0, 1.5, len(classes))
    rows = [{"a": float(u), "b": float(v), "y": f"k{c}"} for u, v, c in zip(a, b, classes, strict=True)]
    return {"a": "float", "b": "float", "y": "category"}, rows


def many_levels(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """A category with 1,400 levels, most of them in one or two rows, that says next to nothing."""
    level = (1400 * rng.random(4500) ** 1.5).astype(int)
    y = rng.random(4500) < np.where(level < 20, 0.6, 0.4)
    rows = [{"level": f"l{c}", "x": float(rng.normal()), "y": bool(v)} for c, v in zip(level, y, strict=True)]
    return {"level": "category", "x": "float", "y": "bool"}, rows


def strangers(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """Levels and a class that only the newest rows, the hold-out's, know."""
    known = rng.integers(0, 4, 800)
    rows: Rows = []
    for i, level in enumerate(known.tolist()):
        new = i >= 640
        label = "z" if new and i % 20 == 0 else "abc"[(level + int(rng.integers(0, 2))) % 3]
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=i)
        rows.append({"level": f"n{level}" if new and i % 3 else f"l{level}", "happened": at, "y": label})
    return {"level": "category", "happened": "timestamp", "y": "category"}, rows


def few_positives(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """One row in twenty is positive, and little tells which."""
    x = rng.normal(size=(1500, 4))
    y = rng.random(1500) < 0.05 * np.exp(0.5 * x[:, 0] - 0.125)
    return _numeric(x, y, "bool")


def constants(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """Columns with one value that is missing at times, or with none at all, of every type."""
    fixed = {"n": 5.0, "whole": 3, "flag": True, "level": "a", "day": date(2024, 5, 1), "at": AT}
    kinds = {"n": "float", "whole": "int", "flag": "bool", "level": "category", "day": "date", "at": "timestamp"}
    rows: Rows = []
    for _ in range(400):
        x = float(rng.normal())
        seen = {name: value if rng.random() < 0.7 else None for name, value in fixed.items()}
        rows.append({**seen, "void": None, "x": x, "y": bool(x + rng.normal() > 0)})
    return {**kinds, "void": "float", "x": "float", "y": "bool"}, rows


def heavy_tails(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """Features from 1e-6 to 1e6 with tails of many medians, and a label of two classes."""
    x = rng.lognormal(0, 2.0, (800, 4)) * np.array([1e-6, 1e-3, 1.0, 1e6])
    y = np.log(x[:, 0] * 1e6) + np.log(x[:, 3] * 1e-6) + rng.normal(0, 3, 800) > 0
    return _numeric(x, y, "bool")


def odd_dates(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """Dates that came as text: M/D/YYYY, nearly all different, and Mar-2018, a few."""
    rows: Rows = []
    for _ in range(600):
        month, day, year = int(rng.integers(1, 13)), int(rng.integers(1, 29)), int(rng.integers(2010, 2020))
        short = f"{['Jan', 'Feb', 'Mär', 'Apr'][month % 4]}-{year}"
        rows.append({"us": f"{month}/{day}/{year}", "short": short, "y": bool(rng.random() < 0.3 + 0.03 * month)})
    return {"us": "text", "short": "text", "y": "bool"}, rows


def called_none(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """A label whose commonest value is the string None, as others write it for none of the defects."""
    x = rng.normal(size=(700, 3))
    z = x[:, 0] + rng.normal(0, 0.7, 700)
    labels = np.where(z < 0.6, "None", np.where(x[:, 1] > 0, "Kratzer", "Beule"))
    return _numeric(x, labels, "category")


def noise(rng: np.random.Generator) -> tuple[dict[str, str], Rows]:
    """Nothing to be learnt but for a breath, in few rows with many columns."""
    x = rng.normal(size=(300, 30))
    return _numeric(x, rng.random(300) < 0.5 + 0.02 * np.tanh(x[:, 0]), "bool")


def _numeric(x: Any, y: Any, kind: str) -> tuple[dict[str, str], Rows]:
    names = [f"x{i}" for i in range(x.shape[1])]
    rows = [
        {**dict(zip(names, map(float, values), strict=True)), "y": label}
        for values, label in zip(x, y.tolist(), strict=True)
    ]
    return {**dict.fromkeys(names, "float"), "y": kind}, rows


TABLES: list[Callable[[np.random.Generator], tuple[dict[str, str], Rows]]] = [
    mostly_zero, many_classes, many_levels, strangers, few_positives, constants, heavy_tails, odd_dates, called_none,
    noise,
]  # fmt: skip


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_never_below_the_prior(tmp_path: Path, table: Callable[..., tuple[dict[str, str], Rows]]) -> None:
    """The run ends with a model whose log-loss on the hold-out is at most that of the classes' shares."""
    types, rows = table(np.random.default_rng(5))
    report = learnt(tmp_path, types, rows)
    assert "level" not in {verdict["column"] for verdict in report["left_out"]}
    figures = report["gate"]["metrics"]
    assert figures["challenger"]["loss"] <= figures["prior"]["loss"] + TOLERANCE


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy"])
def test_another_metric_chooses_among_those_that_beat_the_prior(tmp_path: Path, metric: str) -> None:
    """Also where the policy's metric does not ask for honest probabilities, none worse than the shares is chosen."""
    types, rows = few_positives(np.random.default_rng(6))
    figures = learnt(tmp_path, types, rows, metric=metric)["gate"]["metrics"]
    assert figures["challenger"]["loss"] <= figures["prior"]["loss"] + TOLERANCE


def test_heavy_tails_of_the_label(tmp_path: Path) -> None:
    """A label with a tail of many medians, and one that is capped, are no worse than their mean."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(600, 3))
    y = np.minimum(np.exp(1.5 * x[:, 0] + rng.normal(size=600)), 40.0)
    types, rows = _numeric(x, y, "float")
    figures = learnt(tmp_path, types, rows)["gate"]["metrics"]
    assert figures["challenger"]["loss"] <= 1.02 * figures["prior"]["loss"]
