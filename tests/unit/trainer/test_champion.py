"""The model to beat answers in the challenger's order of classes and decides by its own threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.unit.trainer.test_learning import COLUMNS, LABELS, prepared, rows, trained

from trainyard.model import Predictor, decode
from trainyard.schema import Column, Schema
from trainyard.snapshot.rows import snapshot_of
from trainyard_trainer.learning import champion
from trainyard_trainer.learning.table import Table, model_schema, table_of
from trainyard_trainer.learning.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def asked(task: str) -> Table:
    """Return rows that the champion is asked about."""
    schema = Schema([*COLUMNS[:-1], Column("y", LABELS[task], role="label")])
    return table_of(snapshot_of(schema, rows(task, 200, seed=7)), model_schema(schema, "y"))


def target(task: str, *classes: object) -> Target:
    """Return what the challenger predicts."""
    return Target(task, classes, np.zeros(200, dtype=np.int64), np.ones(200, dtype=np.bool_))  # type: ignore[arg-type]


def test_classes_are_mapped(tmp_path: Path) -> None:
    """Of the champion's classes one that the challenger lacks is answered as none; one that it gained has no share."""
    data, _ = trained(prepared(tmp_path, "multiclass", kinds=["linear"]))
    table = asked("multiclass")
    own = champion.ask(data, table, target("multiclass", *decode(data).classes))
    told = champion.ask(data, table, target("multiclass", "new", "mid", "low"))
    place = {label: index for index, label in enumerate(decode(data).classes)}
    assert told.outputs[:, 0].tolist() == [0.0] * 200
    for index, label in ((1, "mid"), (2, "low")):
        assert (told.outputs[:, index] == own.outputs[:, place[label]]).all()
        assert ((told.decided == index) == (own.decided == place[label])).all()
    assert ((told.decided == -1) == (own.decided == place["high"])).all()
    assert (told.decided == -1).any()


@pytest.mark.parametrize("metric", ["f1", "balanced_accuracy"])
def test_the_gate_hears_what_is_served(tmp_path: Path, metric: str) -> None:
    """A threshold that was tuned to the metric is the champion's in the gate, and its predictor's."""
    rare = [
        {**row, "y": None if row["y"] is None else row["y"] and row["id"] % 3 == 0} for row in rows("binary", 1_500)
    ]
    data, report = trained(prepared(tmp_path, "binary", rare, kinds=["linear"], metric=metric))
    model, table = decode(data), asked("binary")
    assert model.threshold < 0.4
    told = champion.ask(data, table, target("binary", False, True))
    features = [column.name for column in model.schema.features]
    cells = ({name: row[name] for name in features} for row in rows("binary", 200, seed=7))
    given = [{name: v.isoformat() if hasattr(v, "isoformat") else v for name, v in row.items()} for row in cells]
    served = [one.prediction for one in Predictor(model).predict(given)]
    assert [bool(index) for index in told.decided] == served
    assert report["gate"]["metrics"]["challenger"][metric] == pytest.approx(model.metrics[metric])
    assert report["evaluation"]["metrics"][metric]["value"] == pytest.approx(model.metrics[metric], rel=1e-5)
