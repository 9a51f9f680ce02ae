"""One job from its directory to its artifact: split, search, test against prior and champion, encode."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version as installed
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.contracts.runs import Trial
from trainyard.drift import profile_of
from trainyard.gate import Cost, judge
from trainyard.holdout import Split, split_by_hash, split_by_time
from trainyard.metrics.answers import Answers
from trainyard.metrics.measures import measure
from trainyard.metrics.slicing import cuts_of
from trainyard.model import Lineage, Model, Predictor, encode, with_golden
from trainyard.policy import Policy
from trainyard_trainer import workdir
from trainyard_trainer.domain import DataError
from trainyard_trainer.learning import champion, folds, refit
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.calibration import Calibration
from trainyard_trainer.learning.environment import environment, one_thread
from trainyard_trainer.learning.fitting import prior_of
from trainyard_trainer.learning.golden import golden_rows
from trainyard_trainer.learning.latency import one_row_us
from trainyard_trainer.learning.learning_curve import learning_curve
from trainyard_trainer.learning.parity import check_holdout
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.refit import Ground, Known
from trainyard_trainer.learning.reporting import version_report
from trainyard_trainer.learning.screen import Rules, screen
from trainyard_trainer.learning.search import Search
from trainyard_trainer.learning.table import Table, model_schema, table_of
from trainyard_trainer.learning.target import define
from trainyard_trainer.learning.verdicts import Screening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.contracts.studies import Study
    from trainyard.gate import GateReport
    from trainyard.model import Blend, Pipeline
    from trainyard.model.dto import FloatArray
    from trainyard.schema import Schema
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.learning.refit import Outcome
    from trainyard_trainer.learning.search import Found
    from trainyard_trainer.learning.target import Target

#: Labelled rows below which there is nothing to learn from, and to choose with.
MIN_FIT_ROWS = 30
MIN_VALIDATION_ROWS = 5
#: Test rows whose answers the parent process asks for again.
MOST_CHECKED = 256
#: What computes the fits.
_LIBRARIES = ("lightgbm", "numpy", "scikit-learn", "scipy")
#: The learning curve may take so much of what is left of the budget, and so much of it all when none is left.
_CURVE_SHARE, _LEAST_CURVE_SHARE = 0.2, 0.05
#: The search for leaks takes at most one part of so many of the budget.
_SCREEN_SHARE = 8


@one_thread()
def train(
    directory: Path,
    clock: Clock,
    say: Callable[[dict[str, Any]], None],
    study: Study,
) -> None:
    """Do the job in ``directory`` and leave artifact, report and check rows there.

    The search goes on from the trials that earlier runs of the request have finished (``job.json``), with what they
    have left of the budget; a budget of trials has no time. ``say`` is told how far it is, and when the search is over.

    Raises:
        DataError: the rows allow no model.
        ParityError: the exported model does not answer as the trained one.
    """
    job = workdir.read_json(directory, workdir.JOB)
    earlier = tuple(Trial(**trial) for trial in job["trials"])
    spent = sum(trial.seconds for trial in earlier if not trial.helped)
    begun = clock.monotonic() - spent
    policy = Policy.from_dict(job["settings"])
    budget = Budget(clock, math.inf if policy.budget_trials is not None else policy.budget_seconds - spent)
    progress = Progress(say, budget)
    training = Training(job, workdir.read_snapshot(directory, job["snapshot"]), budget.share(_SCREEN_SHARE))
    workdir.write_json(directory, workdir.SCREENING, {"left_out": training.screening.record()})
    found = training.search(budget, clock, progress, study, earlier, searched=lambda: say({"searched": 1}))
    progress("testing", 0, training.split.record["test_rows"])
    champion_file = directory / workdir.CHAMPION
    model, tested = training.test(found, champion_file.read_bytes() if champion_file.exists() else None, clock)
    (directory / workdir.ARTIFACT).write_bytes(encode(model))
    np.save(directory / workdir.CHECK_ROWS, tested.rows[:MOST_CHECKED], allow_pickle=False)
    np.save(directory / workdir.CHECK, tested.answers[:MOST_CHECKED], allow_pickle=False)
    report = {
        "task": training.target.task,
        "trials": [asdict(trial) for trial in found.trials],
        "holdout": {**training.split.record, **training.screening.as_dict()},
        **training.screening.as_dict(),
        "metrics": dict(model.metrics),
        "gate": tested.report.as_dict(),
        "passed": tested.report.passed,
        "waits": training.waits(tested.report),
        "budget_hit": budget.hit,
        "profile": training.profile(),
        "evaluation": {
            **training.evaluation(model, tested, begun, clock, progress),
            "parity": {"holdout": model.metrics.get("parity"), "members": found.parity},
            "learning_curve": training.learning_curve(found, tested, begun, clock, progress),
        },
        "environment": environment(),
    }
    workdir.write_json(directory, workdir.REPORT, report)


def split_of(snapshot: Snapshot, *, known_seq: int, policy: Policy) -> Split:
    """Return the parts by the rule that the dataset calls for."""
    if snapshot.schema.event_time is None:
        return split_by_hash(snapshot.unit, upto_seq=snapshot.upto_seq, seed=policy.seed)
    return split_by_time(
        snapshot.seq,
        snapshot.first_seq,
        upto_seq=snapshot.upto_seq,
        known_seq=known_seq,
        min_rows=policy.gate.min_rows,
    )


@dataclass(frozen=True, eq=False)
class Tested:
    """What became of the test: the verdict, the rows it was on (indexes), and the model's answers to them."""

    report: GateReport
    rows: npt.NDArray[np.int64]
    answers: FloatArray


@dataclass(frozen=True, eq=False)
class Answered:
    """The test rows: their indexes, features and labels, and a model's answers to them."""

    rows: npt.NDArray[np.int64]
    table: Table
    labels: npt.NDArray[Any]
    answers: FloatArray


class Training:
    """One job: what it is about, and the steps on it.

    ``screening``: what columns are screened with, or the verdicts where they are known.
    """

    def __init__(self, job: Mapping[str, Any], snapshot: Snapshot, screening: Budget | Screening) -> None:
        self._job = job
        self._policy = Policy.from_dict(job["settings"])
        self._snapshot = snapshot
        #: with all features of the dataset: the champion may read some that this version leaves out
        self._table = table_of(snapshot, _schema_of(snapshot.schema, job["label"]))
        self.split = split_of(snapshot, known_seq=job["known_seq"], policy=self._policy)
        self._unit = snapshot.unit if snapshot.schema.event_time is None else None
        label = snapshot.schema.column(job["label"])
        self.target: Target = define(label, snapshot.columns[label.name], self.split.train, job["task"])
        self.screening = screening if isinstance(screening, Screening) else self._screened(snapshot, screening)
        self._schema = self.screening.schema(self._table.schema)

    def _screened(self, snapshot: Snapshot, budget: Budget) -> Screening:
        """Decide what may be learnt from, by the rows to learn from alone."""
        time = snapshot.schema.event_time
        moments = None if time is None else np.asarray(snapshot.columns[time.name])
        rows = self._enough(self.split.train, "to learn from", MIN_FIT_ROWS - MIN_VALIDATION_ROWS)
        rules = Rules(self._policy.leakage == "leave_out", self._policy.columns)
        return screen(self._table, self.target, rows, moments, rules=rules, budget=budget)

    def search(
        self,
        budget: Budget,
        clock: Clock,
        progress: Progress,
        study: Study,
        earlier: tuple[Trial, ...],
        *,
        searched: Callable[[], None],
    ) -> Found:
        """Find the best model on the fit part; ``searched`` is called when no more candidates are tried."""
        search, known, cuts = self._search(budget, clock, progress, study, earlier)
        explored = search.explore(known, cuts)
        searched()
        return search.choose(known, explored)

    def help(self, budget: Budget, clock: Clock, progress: Progress, study: Study) -> None:
        """Try candidates of another worker's search; what comes of them is in its study."""
        search, known, cuts = self._search(budget, clock, progress, study, ())
        search.explore(known, cuts)

    def _search(
        self, budget: Budget, clock: Clock, progress: Progress, study: Study, earlier: tuple[Trial, ...]
    ) -> tuple[Search, Known, list[folds.Fold]]:
        """Return the search, the rows that it has, and how they are cut."""
        self._enough(self.split.train, "to learn from", MIN_FIT_ROWS - MIN_VALIDATION_ROWS)
        self._enough(self.split.validation, "to choose with", MIN_VALIDATION_ROWS)
        rows, known = self._known()
        outputs = self.target.n_outputs
        # what is to be the same again must not depend on the budget of time
        timed = self._policy if self._policy.budget_trials is None else Policy()
        count = folds.how_many(len(rows), len(known.table.columns), outputs, timed.budget_seconds)
        search = Search(
            self._ground(),
            kinds=self._policy.kinds,
            metric=self._policy.metric,
            drifting=self._unit is None,
            most_trials=self._policy.budget_trials,
            budget=budget,
            clock=clock,
            progress=progress,
            study=study,
            earlier=earlier,
        )
        return search, known, self._cuts(rows, known, count)

    def again(self, choice: Mapping[str, Any], budget: Budget, progress: Progress) -> Outcome:
        """Fit what a lineage says was chosen."""
        rows, known = self._known()
        cuts = self._cuts(rows, known, choice["folds"])
        return refit.again(self._ground(), choice, known, cuts, budget=budget, progress=progress)

    def _ground(self) -> Ground:
        return Ground(
            lambda pipeline: self._model(pipeline, {}, Calibration()),
            self.target.task,
            len(self.target.classes),
            self._policy.seed,
        )

    def _known(self) -> tuple[npt.NDArray[np.int64], Known]:
        """Return the indexes of the fit part's rows, and the rows."""
        rows = self._enough(self.split.fit, "to learn from", MIN_FIT_ROWS)
        return rows, Known(self._learnt(self._table.take(rows)), self.target.values[rows])

    def _cuts(self, rows: npt.NDArray[np.int64], known: Known, count: int) -> list[folds.Fold]:
        classes = len(self.target.classes)
        return folds.cut(
            self.split.validation[rows],
            known.labels if classes else None,
            n_classes=classes,
            unit=None if self._unit is None else self._unit[rows],
            seed=self._policy.seed,
            count=count,
        )

    def complete(self, outcome: Outcome) -> tuple[Model, Answered]:
        """Return the model with its metrics on the test rows and golden rows: as it is published.

        Raises:
            ParityError: on the test rows it does not answer as the libraries that trained it.
        """
        model = self._model(outcome.pipeline, outcome.choice, outcome.calibration)
        rows = np.flatnonzero(self.split.test & self.target.present)
        table, labels = self._table.take(rows), self.target.values[rows]
        answers = Predictor(model).predict_columns(table.columns)
        if len(rows):
            decided = Answers.of(model.task, answers, model.threshold).decided
            figures = measure(model.task, labels, answers, threshold=model.threshold)
            figures["parity"] = check_holdout(outcome.trained, self._learnt(table), answers, decided)
            model = replace(model, metrics=figures)
        golden = golden_rows(self._learnt(self._table), np.flatnonzero(self.split.fit))
        return with_golden(model, golden), Answered(rows, table, labels, answers)

    def test(self, found: Found, champion_file: bytes | None, clock: Clock) -> tuple[Model, Tested]:
        """Judge the model on the test rows; return it complete, and the verdict."""
        model, answered = self.complete(found)
        fitted = self.target.values[self.split.fit & self.target.learnable]
        theirs, note = self._champion(champion_file, answered.table)
        report = judge(
            self.target.task,
            answered.labels,
            challenger=Answers.of(model.task, answered.answers, model.threshold),
            champion=theirs,
            prior=Answers.of(model.task, prior_of(model.task, len(self.target.classes), fitted, len(answered.rows))),
            settings=self._policy.gate,
            metric=self._policy.metric,
            seed=self._policy.seed,
            cuts=cuts_of(
                {column.name: column.type for column in answered.table.schema.features}, answered.table.columns
            ),
            cost=Cost(one_row_us(model, answered.table, clock), len(encode(model))),
            champion_version=self._job["champion_version"],
            champion_note=note,
        )
        return model, Tested(report, answered.rows, answered.answers)

    def waits(self, report: GateReport) -> bool:
        """Tell whether a person decides on the version, by the policy."""
        return self._policy.waits(passed=report.passed, borderline=report.borderline)

    def profile(self) -> dict[str, Any]:
        """Return what the rows look like that the version was fitted on: later rows are held against it."""
        fitted = self._learnt(self._table.take(np.flatnonzero(self.split.fit & self.target.learnable)))
        return profile_of(fitted.schema.features, fitted.columns)

    def evaluation(
        self, model: Model, tested: Tested, begun: float, clock: Clock, progress: Callable[[str, int, int], None]
    ) -> dict[str, Any]:
        """Return what the test rows tell of the complete model, for the version's report.

        ``begun``: when the run and those before it would have begun, had they been one.
        """
        seconds = clock.monotonic() - begun
        return version_report(
            model,
            self._learnt(self._table.take(tested.rows)),
            self.target.values[tested.rows],
            tested.answers,
            snapshot=self._snapshot,
            cost={"seconds": round(seconds, 3), "rows": int((self.split.fit & self.target.learnable).sum())},
            seconds_left=self._policy.budget_seconds - seconds,
            clock=clock,
            progress=progress,
        )

    def learning_curve(
        self, found: Found, tested: Tested, begun: float, clock: Clock, progress: Callable[[str, int, int], None]
    ) -> dict[str, Any]:
        """Return what more rows bring, for the version's report."""
        whole, spent = self._policy.budget_seconds, clock.monotonic() - begun
        seconds = max(_CURVE_SHARE * (whole - spent), _LEAST_CURVE_SHARE * whole)
        fit = np.flatnonzero(self.split.fit & self.target.learnable)
        return learning_curve(
            found.pipeline,
            found.choice["members"],
            self._ground(),
            *(Known(self._learnt(self._table.take(rows)), self.target.values[rows]) for rows in (fit, tested.rows)),
            budget=Budget(clock, seconds),
            progress=progress,
        )

    def _champion(self, champion_file: bytes | None, table: Table) -> tuple[Answers | None, str]:
        """Return the champion's answers, or None and why there are none."""
        version, note = self._job["champion_version"], str(self._job["champion_note"])
        if champion_file is None:
            return None, note
        try:
            return champion.ask(champion_file, table, self.target), ""
        except champion.CannotCompareError as e:
            return None, f"version {version} cannot be compared with: {e}; treated as if there were no champion"

    def _enough(self, rows: npt.NDArray[np.bool_], what: str, needed: int) -> npt.NDArray[np.int64]:
        """Return the indexes of those of the rows that can be learnt from."""
        chosen = np.flatnonzero(rows & self.target.learnable)
        if len(chosen) < needed:
            raise DataError(f"{len(chosen)} labelled row(s) {what}; at least {needed} are needed")
        return chosen

    def _learnt(self, table: Table) -> Table:
        """Return the table without the columns that are left out."""
        return Table(self._schema, {column.name: table.columns[column.name] for column in self._schema.features})

    def _model(self, pipeline: Pipeline | Blend, choice: dict[str, Any], calibration: Calibration) -> Model:
        return Model(
            self._job["model"],
            self.target.task,
            self._schema,
            pipeline,
            self.target.classes,
            self._lineage(choice),
            calibration=calibration.curve,
            threshold=calibration.threshold,
        )

    def _lineage(self, choice: dict[str, Any]) -> Lineage:
        """Return all that it takes to train the same model again; the budget is no part of it, nor any time."""
        job, policy = self._job, self._policy
        return Lineage(
            dataset=job["dataset"],
            snapshot_upto_seq=job["snapshot"]["upto_seq"],
            snapshot_rows=job["rows"],
            snapshot_sha256=job["snapshot"]["sha256"],
            configuration={
                "label": job["label"],
                "task": job["task"],
                "kinds": list(policy.kinds),
                "metric": policy.metric,
                "known_seq": job["known_seq"],
                "gate": {"min_rows": policy.gate.min_rows},
                "holdout": self.split.record,
                "columns": self.screening.record(),
                "choice": choice,
            },
            code_version=installed("trainyard"),
            seed=policy.seed,
            libraries={name: installed(name) for name in _LIBRARIES},
        )


def _schema_of(schema: Schema, label: str) -> Schema:
    if label not in schema:
        raise DataError(f"the dataset has no column '{label}' to be the label")
    if schema.column(label).role in ("key", "event_time"):
        raise DataError(f"the column '{label}' is the dataset's {schema.column(label).role}; it cannot be the label")
    seen = model_schema(schema, label)
    if not seen.features:
        raise DataError("the dataset has no feature column")
    return seen
