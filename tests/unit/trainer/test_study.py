"""The search goes on elsewhere: nothing is tried twice, and the outcome is that of a search that was left in peace."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.clock import SystemClock
from trainyard.contracts.studies import study_name
from trainyard.leaderboard import rank
from trainyard.messages import TrainingRequest
from trainyard.model import Lineage, Model
from trainyard.policy import KINDS
from trainyard.schema import Column, Schema
from trainyard.testing.fakes import MemoryStudies
from trainyard.testing.fakes.studies import MemoryRecord, MemoryStudy
from trainyard_trainer import workdir
from trainyard_trainer.child import PipedStudy
from trainyard_trainer.learning import candidates, choosing, folds
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.refit import Ground, Known
from trainyard_trainer.learning.search import Search
from trainyard_trainer.learning.table import Table
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World

    from trainyard.contracts.runs import Trial


NAME = study_name("request", 0, "1")


class CutShortError(Exception):
    """The process that searched has gone."""


class Cut(MemoryStudy):
    """A study whose search ends with some trial."""

    def __init__(self, studies: MemoryStudies, after: int | None) -> None:
        super().__init__(studies, studies.records.setdefault(NAME, MemoryRecord()), seed=0)
        self.told: list[Trial] = []
        self._after = after

    def tell(self, trial: Trial) -> None:
        super().tell(trial)
        self.told.append(trial)
        if len(self.told) == self._after:
            raise CutShortError


def run(directory: Path, studies: MemoryStudies | None = None, *, cut_after: int | None = None) -> list[Trial]:
    """Do the job as a child does, or until some trials are finished; return those that it has told."""
    study = Cut(studies or MemoryStudies(), cut_after)
    try:
        train(directory, SystemClock(), lambda _: None, study)
    except CutShortError:
        assert cut_after is not None
    return study.told


def essence(trials: list[Any]) -> list[Any]:
    """Return trials (as dicts) without what they took."""
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in trials]


@pytest.fixture
def job(world: World, tmp_path: Path) -> Callable[[str], Path]:
    """Makes the directory of a run for the world's rows, always the same job."""

    def make(name: str, earlier: tuple[Trial, ...] = (), **settings: Any) -> Path:
        snapshot = world.snapshots.read(1, 400)
        directory = tmp_path / name
        directory.mkdir()
        given = {"kinds": list(KINDS), "gate": {"min_rows": 20}, "budget_seconds": 3_600.0, **settings}
        told = [asdict(trial) for trial in earlier]
        workdir.write_job(directory, snapshot, model="m", dataset="d", label="y", settings=given, trials=told)
        return directory

    return make  # type: ignore[return-value]


@pytest.mark.parametrize(("metric", "cuts"), [("auto", 3), ("roc_auc", 1), ("accuracy", 1)])
def test_a_search_that_was_cut_short_ends_like_one_that_was_not(
    job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, metric: str, cuts: int
) -> None:
    """The same trials, the same choice and the same artifact to the byte; and no candidate was tried twice."""
    monkeypatch.setattr(folds, "how_many", lambda *_: cuts)
    whole = job("whole", metric=metric)
    expected = run(whole)
    wanted = workdir.read_json(whole, workdir.REPORT)
    for cut_after in (1, 3, 5):
        studies = MemoryStudies()
        first = run(job(f"first-{cut_after}", metric=metric), studies, cut_after=cut_after)
        second = job(f"second-{cut_after}", tuple(first), metric=metric)
        later = run(second, studies)
        numbers = [trial.number for trial in first + later]
        assert numbers == [trial.number for trial in expected] == [1, 2, 3, 4, 5], cut_after
        assert essence(workdir.read_json(second, workdir.REPORT)["trials"]) == essence(wanted["trials"]), cut_after
        assert (whole / workdir.ARTIFACT).read_bytes() == (second / workdir.ARTIFACT).read_bytes(), cut_after


def test_a_fold_without_rounds_is_fitted_again_as_it_was() -> None:
    """Sales begin late: on the first cut in time there is nothing to learn for a log link, on the others there is."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=400) for name in ("a", "b")}
    labels = np.where(np.arange(400) < 300, 0.0, rng.gamma(2, size=400))
    known = Known(Table(Schema([Column("a", "float"), Column("b", "float")]), columns), labels)

    def searched(studies: MemoryStudies, earlier: tuple[Trial, ...], cut_after: int | None) -> tuple[Any, list[Trial]]:
        study, budget = Cut(studies, cut_after), Budget(SystemClock(), 600.0)
        search = Search(
            Ground(_sales, "regression", 0, 0),
            kinds=("tree_ensemble",),
            metric="auto",
            drifting=True,
            most_trials=6,
            budget=budget,
            clock=SystemClock(),
            progress=Progress(lambda _: None, budget),
            study=study,
            earlier=earlier,
        )
        try:
            return search.run(known, folds.by_time(400)), study.told
        except CutShortError:
            return None, study.told

    whole, told = searched(MemoryStudies(), (), None)
    assert any(None in trial.params.get("lengths", []) for trial in told)
    studies = MemoryStudies()
    _, first = searched(studies, (), 5)
    resumed, _ = searched(studies, tuple(first), None)
    assert resumed.choice == whole.choice
    assert essence([asdict(t) for t in resumed.trials]) == essence([asdict(t) for t in whole.trials])


def _sales(pipeline: Any) -> Model:
    lineage = Lineage("d", 1, 400, "0" * 64, {}, "1", 0, {})
    return Model("m", "regression", Schema([Column("a", "float"), Column("b", "float")]), pipeline, (), lineage)


def test_only_the_best_are_fitted_once_more(job: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With every trial finished the next run fits the shortlist and the choice, and no loser."""
    studies = MemoryStudies()
    first = run(job("first"), studies, cut_after=5)
    fitted: list[tuple[str, str]] = []

    def counted(method: str, fit: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*given: Any, **more: Any) -> Any:
            fitted.append(("again" if "validation" not in more else "trial", method))
            return fit(*given, **more)

        return spy

    spies = {method: counted(method, fit) for method, fit in candidates._METHODS.items()}
    monkeypatch.setattr(candidates, "_METHODS", spies)
    monkeypatch.setattr(choosing, "SHORTLIST", 3)
    assert run(job("second", tuple(first)), studies) == []
    best = choosing.shortlist(first, "auto")
    assert len(best) == 3
    methods = [candidate.method for candidate in candidates._PORTFOLIO]
    assert {method for _, method in fitted} == {methods[number - 1] for number in best}
    assert {how for how, _ in fitted} == {"again"}


def test_the_budget_is_one_for_all_runs(job: Callable[..., Path]) -> None:
    """What earlier runs have spent is gone: the rest of the candidates is not tried when nothing is left."""
    studies = MemoryStudies()
    first = [replace(trial, seconds=1_000.0) for trial in run(job("first"), studies, cut_after=3)]
    second = job("second", tuple(first), budget_seconds=2_999.0)
    assert run(second, studies) == []
    report = workdir.read_json(second, workdir.REPORT)
    assert report["budget_hit"] is True
    assert [trial["number"] for trial in report["trials"]] == [1, 2, 3]
    assert any(trial["chosen"] for trial in report["trials"])


def test_finalists_of_others_come_out_of_the_budget(job: Callable[..., Path]) -> None:
    """With nothing left of it only the best of them is fitted again, for something has to come of the search."""
    studies = MemoryStudies()
    first = [replace(trial, seconds=1_000.0) for trial in run(job("first"), studies, cut_after=5)]
    second = job("second", tuple(first), budget_seconds=4_999.0)
    assert run(second, studies) == []
    report = workdir.read_json(second, workdir.REPORT)
    best = min(first, key=lambda trial: rank(trial.metrics, "auto"))
    assert [trial["number"] for trial in report["trials"] if trial["chosen"]] == [best.number]


def test_what_helpers_took_is_no_time_of_the_run(job: Callable[..., Path]) -> None:
    """It passed beside the leader's: the run that takes over has as much left as the leader had."""
    studies = MemoryStudies()
    first = run(job("first"), studies, cut_after=3)
    helped = [first[0], *(replace(trial, seconds=300.0, helped=True) for trial in first[1:])]
    later = run(job("second", tuple(helped), budget_seconds=500.0), studies)
    assert [trial.number for trial in later] == [4, 5]


def test_the_report_has_a_profile_of_the_fitted_rows(job: Callable[..., Path]) -> None:
    """Drift is measured against the rows that the version was fitted on: labelled, and outside of the test."""
    directory = job("profiled", kinds=["linear"])
    run(directory)
    report = workdir.read_json(directory, workdir.REPORT)
    assert report["profile"]["rows"] == report["holdout"]["fit_rows"]
    assert set(report["profile"]["features"]) == {"age", "city"}


# --- the same through the parent ---


def test_the_next_run_goes_on_from_the_trials_of_the_last(world: World) -> None:
    """Released after two trials: the next run gets them in job.json, and the version has the whole study once."""
    given: list[dict[str, Any]] = []

    def cut(directory: Path) -> None:
        given.append(workdir.read_json(directory, workdir.JOB))
        child = world.children.made[-1]

        def say(what: dict[str, Any]) -> None:
            child.say(what)
            if len(child.said) == 2:
                raise CutShortError

        with pytest.raises(CutShortError):
            train(directory, SystemClock(), say, PipedStudy(say, child.answers.get))
        world.stop.request("spot notice")

    def whole(directory: Path) -> int:
        given.append(workdir.read_json(directory, workdir.JOB))
        return world.children.learn(directory)

    world.children.script = cut
    request_id = world.request()
    world.trainer.step()
    assert [run.state for run in world.row(request_id).runs] == ["released"]
    assert sorted(world.row(request_id).runs[0].trials) == [1, 2]
    world.stop.reason = None
    world.children.script = whole
    world.queue.send([TrainingRequest(request_id).outgoing()])
    world.trainer.step()
    assert world.row(request_id).state == "done"
    assert [[t["number"] for t in job["trials"]] for job in given] == [[], [1, 2]]
    version = world.runs.models["flights"].versions[1]
    assert [trial.number for trial in version.trials] == [1, 2]
    assert version.profile is not None


def test_a_trial_is_stored_while_the_child_goes_on(world: World) -> None:
    """A finished trial is in the database before the run is over, and a database that is away is asked again."""
    seen: list[list[int]] = []
    trial = {"number": 1, "kind": "prior", "params": {}, "metrics": {"loss": 1.0}, "seconds": 0.5, "chosen": False}
    clock = SystemClock()

    def slow(_: Path) -> int | None:
        child, row = world.children.made[-1], world.row(request_id)
        if not seen:
            child.said.append(trial)
            seen.append([])
        clock.sleep(0.02)
        seen.append(sorted(row.runs[0].trials))
        return 65 if seen[-1] or len(seen) > 500 else None

    world.children.script = slow
    request_id = world.request()
    world.trainer.step()
    assert seen[-1] == [1]


def test_nonsense_from_the_child_is_no_trial(world: World, said: Callable[[str], list[dict[str, Any]]]) -> None:
    """What cannot be stored is told and left out; the run goes on."""

    def babble(_: Path) -> int:
        world.children.made[-1].said += [{"number": "one"}, {"trial": None}]
        return 65

    world.children.script = babble
    request_id = world.request()
    world.trainer.step()
    assert world.row(request_id).error_class == "data"
    assert len(said("trial.unreadable")) == 2
    assert world.row(request_id).runs[0].trials == {}
