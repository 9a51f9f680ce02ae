"""A table becomes the same case for all methods, and a job that the trainer takes."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.models import catalog, runs, scores
from benchmarks.models.cases import build
from benchmarks.models.job import OWN_HOLDOUT, write_job

from trainyard.clock import SystemClock
from trainyard_trainer import workdir
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.train import Training

if TYPE_CHECKING:
    from pathlib import Path


_ANSWERS = """
import numpy, pathlib, sys
numpy.save(sys.argv[1], numpy.full((80, 2), 0.5))
pathlib.Path(sys.argv[1]).with_name("said.json").write_text("{}")
"""


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
    training = Training(
        described, workdir.read_snapshot(case.directory / "job", described["snapshot"]), Budget(SystemClock(), 5)
    )
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


@pytest.mark.parametrize(
    ("script", "budget", "ended"),
    [
        ("raise SystemExit(3)", 60.0, "failed"),
        ("import time; time.sleep(600)", 0.05, "cut off"),
        (_ANSWERS, 60.0, "by itself"),
    ],
)
def test_every_end_of_a_run_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, budget: float, ended: str
) -> None:
    """A method without answers, because it failed or took too long, has the prior's score; both are in its note."""
    dataset = table(tmp_path, monkeypatch, "time")

    def command_of(_run: runs.Run, _case: Path, out: Path, _deadline: float) -> list[str]:
        return [sys.executable, "-c", script, str(out / "answers.npy")]

    monkeypatch.setattr(runs, "command_of", command_of)
    runs.make([runs.Run("t", 4, budget, "flaml")], {"t": dataset}, jobs=1)
    (result,) = runs.noted().values()
    assert result["ended"] == ended
    case = build(dataset, 4, tmp_path / "case")
    answers = np.full((80, 2), 0.5) if ended == "by itself" else scores.prior(case.learnt, 2, 80)
    assert result["metric"] == scores.score(case.truth, answers, 2)["metric"]
    assert not runs.missing([runs.Run("t", 4, budget, "flaml")], runs.noted(), {"t": dataset})
    assert not list(tmp_path.glob("case-*"))
