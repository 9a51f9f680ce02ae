"""A table becomes the same case for all methods, and a job that the trainer takes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.models import catalog
from benchmarks.models.cases import build
from benchmarks.models.job import OWN_HOLDOUT, write_job

from trainyard_trainer import workdir
from trainyard_trainer.learning.train import Training

if TYPE_CHECKING:
    from pathlib import Path


def table(directory: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> catalog.Dataset:
    """Write a prepared table of 400 rows, one level being in a single row of them; return its description."""
    monkeypatch.setattr(catalog, "STATE", directory)
    rng = np.random.default_rng(0)
    lines = ["size:float,town:category,full:int,late:category"]
    for number in range(400):
        size, town = ("" if number % 9 == 0 else f"{rng.normal():.3f}"), ("only" if number == 399 else f"t{number % 7}")
        lines.append(f"{size},{town},{number % 5},{'yes' if rng.random() < 0.3 else 'no'}")
    content = "\n".join(lines) + "\n"
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    dataset = catalog.Dataset("t", "p", "f", "l", "late", "binary", rule, sha256)
    dataset.prepared.parent.mkdir()
    dataset.prepared.write_text(content)
    assert dataset.is_prepared()
    return dataset


@pytest.mark.parametrize("rule", catalog.SPLITS)
def test_the_trainer_learns_from_all_but_a_few_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    """The job holds the learnt rows alone, and its own hold-out is as small as promised."""
    dataset = table(tmp_path, monkeypatch, rule)
    case = build(dataset, 1, tmp_path / "case")
    write_job(dataset, 1, case)
    described = workdir.read_json(case.directory / "job", workdir.JOB)
    training = Training(described, workdir.read_snapshot(case.directory / "job", described["snapshot"]))
    assert described["rows"] == len(case.learnt)
    assert training.split.test.sum() == OWN_HOLDOUT
    assert training.split.fit.sum() == len(case.learnt) - OWN_HOLDOUT
    assert training.target.classes == case.levels == ("no", "yes")


def test_levels_that_were_not_learnt_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that only asked rows have is no level of the learnt part; codes mean the same in both parts."""
    dataset = table(tmp_path, monkeypatch, "time")
    case = build(dataset, 4, tmp_path / "case")
    about = json.loads((case.directory / "case.json").read_text())
    town = next(i for i, column in enumerate(about["columns"]) if column["name"] == "town")
    assert about["columns"][town]["more"] == ["only"]
    names = [*about["columns"][town]["levels"], *about["columns"][town]["more"]]
    asked = np.load(case.directory / "ask" / f"{town}.npy")
    assert [names[code] for code in asked[-3:]] == ["t5", "t6", "only"]
    assert len(asked) == len(case.truth) == 80
    assert replace(dataset, task="regression").metric == "rmse"
