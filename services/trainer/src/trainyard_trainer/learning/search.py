"""The search: fit every candidate, choose on the validation rows, blend if it helps, learn again from all rows.

A trial is a candidate that was fitted and measured. A search that is cut short leaves its finished trials behind, and
the next one goes on from them (:class:`Study`): it never tries a candidate again. Only the few best are fitted once
more, at the length that was found, because the choice between them needs their answers. So the outcome is the same,
interrupted or not, as long as the budget does not bind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard import metrics
from trainyard.contracts.runs import Trial
from trainyard.gate import measure, row_losses
from trainyard.model import Blend, Model, Pipeline, Predictor
from trainyard.model.features import matrix
from trainyard_trainer.domain import ParityError
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.candidates import Candidate, Fitted, Learning, candidates
from trainyard_trainer.learning.encoders import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.clock import Clock
    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.table import Table

#: Largest difference between the library's answer and the exported model's.
PARITY = 1e-9
_PARITY_ROWS = 2_000
_BLEND_STEPS = 20
_BLEND_GAIN = 1e-3  # share of the loss that a blend must save to be worth its members
#: Only the best may become the model or a part of it (Caruana 2004 prunes its library likewise).
_SHORTLIST = 3
#: What fitting a trial again may take, as a multiple of what it took; it stops at the known length long before.
_AGAIN_FACTOR = 10.0
#: More rounds for the fit on all rows: they are more than those that the length was found on.
_REFIT_FACTOR = 1.1


@dataclass(frozen=True, eq=False)
class Known:
    """Labelled rows: features and class indexes (or values)."""

    table: Table
    labels: npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Found:
    """What the search chose: the pipeline, all trials, and the choice in words fit for the lineage."""

    pipeline: Pipeline | Blend
    trials: tuple[Trial, ...]
    choice: list[dict[str, Any]]


@dataclass(frozen=True, eq=False)
class Study:
    """What earlier searches have finished, on the same rows, and who is told of each new trial."""

    earlier: tuple[Trial, ...]
    finished: Callable[[Trial], None]

    def trial_of(self, candidate: Candidate) -> Trial | None:
        """Return the finished trial of this candidate, if there is one."""

        def given(trial: Trial) -> dict[str, Any]:
            return {name: value for name, value in trial.params.items() if name != "length"}

        same = (t for t in self.earlier if (t.family, given(t)) == (candidate.family, dict(candidate.params)))
        return next(same, None)


@dataclass(frozen=True, eq=False)
class _Entry:
    """A finished trial; what was fitted, and its answers to the validation rows: None from an earlier search."""

    candidate: Candidate
    trial: Trial
    fitted: Fitted | None = None
    answers: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class _Finalist:
    """An entry that may be chosen."""

    candidate: Candidate
    trial: Trial
    fitted: Fitted
    answers: FloatArray


class Search:
    """One search for one model. ``shell`` is the model that pipelines are put into to be asked."""

    def __init__(
        self,
        shell: Callable[[Pipeline | Blend], Model],
        *,
        task: str,
        n_classes: int,
        families: tuple[str, ...],
        metric: str,
        seed: int,
        budget: Budget,
        clock: Clock,
        progress: Callable[[str, int, int], None],
        study: Study,
    ) -> None:
        self._shell = shell
        self._task = task
        self._n_classes = n_classes
        self._families = families
        self._metric = metric
        self._seed = seed
        self._budget = budget
        self._clock = clock
        self._progress = progress
        self._study = study

    def run(self, train: Known, validation: Known, everything: Known) -> Found:
        """Return the choice; ``everything`` is train and validation together, in the snapshot's order."""
        learning = self._learning(train)
        entries = self._try_all(learning, validation)
        finalists = self._finalists(entries, learning, validation)
        weights = self._weights(finalists, validation.labels)
        members = [(entry, weight) for entry, weight in zip(finalists, weights, strict=True) if weight > 0]
        pipelines = self._learn_again([entry for entry, _ in members], everything)
        pipeline: Pipeline | Blend = pipelines[0]
        if len(members) > 1:
            pipeline = Blend(tuple(pipelines), np.array([weight for _, weight in members]))
        chosen = {entry.trial.number for entry, _ in members}
        trials = tuple(replace(e.trial, chosen=e.trial.number in chosen) for e in entries)
        choice = [
            {"family": e.candidate.family, "params": dict(e.trial.params), "weight": float(w)} for e, w in members
        ]
        return Found(pipeline, trials, choice)

    def _learning(self, known: Known) -> Learning:
        encoder = Encoder(known.table, known.labels, self._n_classes, self._seed)
        return Learning(self._task, self._n_classes, known.table, known.labels, encoder, self._seed)

    def _try_all(self, learning: Learning, validation: Known) -> list[_Entry]:
        """Return an entry for every candidate that was tried, now or earlier, in the candidates' order."""
        wanted = candidates(self._families)
        entries: list[_Entry] = []
        for number, candidate in enumerate(wanted, start=1):
            known = self._study.trial_of(candidate)
            if known is not None:
                entries.append(_Entry(candidate, replace(known, number=number)))
                continue
            if number > 2 and not self._budget.allows(0.0):
                break  # the prior and one real candidate are always tried
            # Those still to come, and learning again from all rows, must have their share too.
            share = self._budget.share(len(wanted) - number + 3)
            begun = self._clock.monotonic()
            fitted = self._fit(candidate, learning, validation, share)
            answers = self._answers(fitted, validation.table)
            params = {**candidate.params, **({} if fitted.length is None else {"length": fitted.length})}
            figures = measure(learning.task, validation.labels, answers)
            seconds = self._clock.monotonic() - begun
            trial = Trial(number, candidate.family, params, figures, seconds, chosen=False)
            self._study.finished(trial)
            entries.append(_Entry(candidate, trial, fitted, answers))
            self._progress("searching", number, len(wanted))
        return entries

    def _fit(self, candidate: Candidate, learning: Learning, validation: Known, budget: Budget) -> Fitted:
        return candidate.fit(
            learning,
            candidate.params,
            budget,
            validation=(validation.table, validation.labels),
            progress=self._reporter(candidate.family),
        )

    def _finalists(self, entries: Sequence[_Entry], learning: Learning, validation: Known) -> list[_Finalist]:
        """Return the few best, in order of their numbers; what an earlier search has tried is fitted as it was."""
        # the prior is the first; what is worse than it in the gate's loss may rank well, and promises too much
        able = [entry for entry in entries if entry.trial.metrics["loss"] <= entries[0].trial.metrics["loss"]]
        best = sorted(able, key=lambda entry: (self._rank(entry.trial), entry.trial.number))[:_SHORTLIST]
        finalists = []
        for entry in sorted(best, key=lambda entry: entry.trial.number):
            fitted, answers = entry.fitted, entry.answers
            if fitted is None or answers is None:
                fitted = entry.candidate.fit(
                    learning,
                    entry.candidate.params,
                    Budget(self._clock, _AGAIN_FACTOR * entry.trial.seconds + 1.0),
                    length=entry.trial.params.get("length"),
                    progress=self._reporter(entry.candidate.family),
                )
                answers = self._answers(fitted, validation.table)
            finalists.append(_Finalist(entry.candidate, entry.trial, fitted, answers))
        return finalists

    def _rank(self, trial: Trial) -> float:
        """Return what the choice minimises, read off a trial's figures: as :meth:`_loss` computes it."""
        figures = trial.metrics
        if self._metric in {"roc_auc", "accuracy"} and self._metric in figures:
            return 1.0 - figures[self._metric]
        return figures["mae"] if self._metric == "mae" and "mae" in figures else figures["loss"]

    def _answers(self, fitted: Fitted, table: Table) -> FloatArray:
        """Ask the exported pipeline, and hold it against the library's own answers."""
        predictor = Predictor(self._shell(fitted.pipeline))
        answers = predictor.predict_columns(table.columns)
        rows = np.arange(min(_PARITY_ROWS, table.rows))
        check_parity(fitted, predictor, table.take(rows))
        return answers

    def _weights(self, entries: Sequence[_Finalist], labels: npt.NDArray[Any]) -> FloatArray:
        """Return a weight for each entry: all on the best, or a blend chosen greedily when it helps (Caruana 2004)."""
        losses = [self._loss(labels, entry.answers) for entry in entries]
        best = int(np.argmin(losses))
        alone = np.zeros(len(entries))
        alone[best] = 1.0
        counts = np.zeros(len(entries))
        total = np.zeros_like(entries[best].answers)
        for step in range(_BLEND_STEPS):
            steps = [self._loss(labels, (total + entry.answers) / (step + 1)) for entry in entries]
            pick = int(np.argmin(steps))
            counts[pick] += 1
            total += entries[pick].answers
        blended = self._loss(labels, total / _BLEND_STEPS)
        return counts / _BLEND_STEPS if blended < losses[best] - _BLEND_GAIN * abs(losses[best]) else alone

    def _loss(self, labels: npt.NDArray[Any], answers: FloatArray) -> float:
        """Return what the choice minimises: the gate's loss, unless the policy names another metric."""
        task = self._task
        if self._metric == "roc_auc" and task == "binary" and len(np.unique(labels)) == 2:
            return 1.0 - metrics.roc_auc(labels == 1, answers[:, 1])
        if self._metric == "accuracy" and task != "regression":
            return 1.0 - metrics.accuracy(labels, answers.argmax(axis=1))
        if self._metric == "mae" and task == "regression":
            return metrics.mae(labels, answers)
        return float(row_losses(task, labels, answers).mean())

    def _learn_again(self, entries: Sequence[_Finalist], everything: Known) -> list[Pipeline]:
        """Fit the chosen ones on all rows, where the budget allows as much time as it will take."""
        learning: Learning | None = None
        pipelines = []
        for number, entry in enumerate(entries, start=1):
            self._progress("learning again", number, len(entries))
            expected = entry.trial.seconds * _REFIT_FACTOR * everything.table.rows / max(1, len(entry.answers) * 5)
            if not self._budget.allows(min(expected, entry.trial.seconds * 2)):
                pipelines.append(entry.fitted.pipeline)
                continue
            learning = learning or self._learning(everything)
            length = entry.fitted.length
            fitted = entry.candidate.fit(
                learning,
                entry.candidate.params,
                self._budget.share(1),
                length=None if length is None else max(1, round(length * _REFIT_FACTOR)),
                progress=self._reporter(entry.candidate.family),
            )
            rows = np.arange(max(0, everything.table.rows - _PARITY_ROWS), everything.table.rows)
            check_parity(fitted, Predictor(self._shell(fitted.pipeline)), everything.table.take(rows))
            pipelines.append(fitted.pipeline)
        return pipelines

    def _reporter(self, family: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(f"fitting {family}", done, total)


def check_parity(fitted: Fitted, predictor: Predictor, table: Table) -> None:
    """Hold the exported pipeline against the library on real rows, and on the same rows with nothing known.

    The second half of the rows has every value missing or, in turns, every category unseen.

    Raises:
        ParityError: an answer differs by more than 1e-9 (for values beyond 1: relative).
    """
    rows = _with_strangers(table)
    ours = predictor.predict_columns(rows.columns)
    x = np.ascontiguousarray(matrix(fitted.pipeline.steps, rows.columns, rows.rows).T)
    theirs = fitted.answer(x)
    apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    if ours.shape != theirs.shape or not (apart <= PARITY).all():
        raise ParityError(
            f"the exported model differs from the trained one by {apart.max():.3g}; {PARITY:g} is allowed"
        )


def _with_strangers(table: Table) -> Table:
    columns = {}
    for column in table.schema.features:
        values = table.columns[column.name]
        strange = values.copy()
        if values.dtype == object:
            strange[::2], strange[1::2] = None, "\x7fa level that nobody has seen"
        elif values.dtype.kind == "M":
            strange[:] = np.datetime64("NaT", "us")
        else:
            strange[::2] = np.nan
        columns[column.name] = np.concatenate([values, strange])
    return replace(table, columns=columns)
