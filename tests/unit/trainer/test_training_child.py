"""The child for tests that does not train: its artifact is accepted like a real one, and it ends as it is told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trainyard import config
from trainyard.errors import ConfigError
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import MemorySnapshots
from trainyard_trainer import workdir
from trainyard_trainer.bootstrap import child_command
from trainyard_trainer.children import CHILD
from trainyard_trainer.selfcheck import verified_artifact

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA = Schema([Column("age", "int"), Column("city", "category"), Column("y", "bool", role="label")])


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A run's directory, ready for a child."""
    snapshots = MemorySnapshots()
    snapshots.store(1, SCHEMA, [{"age": i, "city": "AB"[i % 2], "y": i > 9} for i in range(40)])
    snapshot = snapshots.read(1, 40)
    directory = tmp_path / "run"
    directory.mkdir()
    described = {"model": "m", "dataset": "d", "label": "y", "rows": snapshot.rows, "trials": []}
    workdir.write_json(directory, workdir.JOB, {**described, "snapshot": workdir.write_snapshot(directory, snapshot)})
    return directory


def work(job: Path, *options: str) -> int:
    """Let one child do the job; return its exit code."""
    command = [sys.executable, "-I", "-m", "trainyard.testing.training_child", "--seconds", "0", *options]
    done = subprocess.run(command, input=f"{job}\n", text=True, capture_output=True, check=False, timeout=60)
    return done.returncode


def test_its_artifact_is_valid(job: Path) -> None:
    """The parent loads it, runs its golden rows and gets the same answers."""
    assert work(job) == 0
    assert verified_artifact(job, workdir.read_json(job, workdir.JOB))
    assert workdir.read_json(job, workdir.REPORT)["passed"] is True


def test_it_ends_as_it_is_told_in_turn(job: Path, tmp_path: Path) -> None:
    """One end for each process, counted in a file."""
    turns = ("--end", "segfault,data,done", "--turns", str(tmp_path / "turns"))
    assert [work(job, *turns) for _ in range(4)] == [-11, 65, 0, -11]


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_another_child_is_for_tests_only(env: str) -> None:
    """Whoever can set a variable of a real trainer cannot make it run something else."""
    environ = {"TRAINYARD_ENV": env, "TRAINYARD_TRAINING_CHILD": "python -m trainyard.testing.training_child"}
    with pytest.raises(ConfigError, match="only where TRAINYARD_ENV=test"):
        child_command(config.load(environ))


def test_which_child() -> None:
    """The trainer's own by default; in a test environment the one that is asked for, by its full path."""
    assert child_command(config.load({})) == CHILD
    environ = {"TRAINYARD_ENV": "test", "TRAINYARD_TRAINING_CHILD": "python -m 'a b'"}
    assert child_command(config.load(environ)) == (sys.executable, "-m", "a b")
    with pytest.raises(ConfigError, match="no program"):
        child_command(config.load({**environ, "TRAINYARD_TRAINING_CHILD": "no-such-program-here"}))
