"""A budget of trials: the search ends after exactly so many, and gives the same bytes whatever the clock says."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from trainyard.adapters.postgres.studies import OptunaStudy
from trainyard.clock import ManualClock, SystemClock
from trainyard_trainer import workdir
from trainyard_trainer.learning import folds
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Trial

#: Prior, linear, boosted trees and a forest are planned; the rest is proposed.
PLANNED, TRIALS = 4, 6


class GoneError(Exception):
    """The process that searched has gone."""


class Hurried(ManualClock):
    """A clock by which every look takes ten minutes."""

    def monotonic(self) -> float:
        self.advance(600.0)
        return super().monotonic()


class Watched(OptunaStudy):
    """A study that notes what it was told, and ends the search after some of it."""

    def __init__(self, study: optuna.Study, seed: int, after: int | None = None) -> None:
        super().__init__(study, seed, "auto")
        self.told: list[Trial] = []
        self._after = after

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self.told.append(trial)
        if len(self.told) == self._after:
            raise GoneError


@pytest.fixture
def job(world: World, tmp_path: Path) -> Callable[..., Path]:
    """Makes the directory of a run for the world's rows."""

    def make(name: str, earlier: list[Trial], **settings: Any) -> Path:
        snapshot = world.snapshots.read(1, 400)
        directory = tmp_path / name
        directory.mkdir()
        given = {"gate": {"min_rows": 20}, "budget_seconds": 1.0, "budget_trials": TRIALS, **settings}
        told = [asdict(trial) for trial in earlier]
        workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=given, trials=told)
        return directory

    return make


def searched(directory: Path, study: Watched, clock: Clock) -> tuple[bytes, list[Any]]:
    """Search; return the model's bytes, and all trials but for what they took."""
    train(directory, clock, lambda _: None, study)
    trials = workdir.read_json(directory, workdir.REPORT)["trials"]
    return (directory / workdir.ARTIFACT).read_bytes(), [{**trial, "seconds": 0.0} for trial in trials]


def test_the_same_trials_and_bytes_whatever_happens(job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """In peace, by a clock that runs away, and cut off twice: exactly as many trials, and the same model."""
    monkeypatch.setattr(folds, "how_many", lambda *_: 2)
    data, trials = searched(job("peace", []), Watched(optuna.create_study(), 0), SystemClock())
    assert [trial["number"] for trial in trials] == list(range(1, TRIALS + 1))
    assert searched(job("hurry", []), Watched(optuna.create_study(), 0), Hurried()) == (data, trials)
    kept = optuna.create_study()
    told: list[Trial] = []
    for name, after in (("first", 2), ("second", PLANNED - 1)):
        study = Watched(kept, 0, after)
        with pytest.raises(GoneError):
            searched(job(name, told), study, SystemClock())
        told += study.told
    assert searched(job("last", told), Watched(kept, 0), SystemClock()) == (data, trials)


def test_fewer_than_are_planned(job: Callable[..., Path]) -> None:
    """Two trials are two trials."""
    _, trials = searched(job("two", [], budget_trials=2), Watched(optuna.create_study(), 0), SystemClock())
    assert [trial["kind"] for trial in trials] == ["prior", "linear"]
