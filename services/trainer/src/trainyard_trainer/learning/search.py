"""The search: fit candidates while the budget lasts, choose on rows they have not seen, learn again from all rows.

A trial is a candidate that was fitted and measured on every fold (:mod:`trainyard_trainer.learning.folds`). Which one
is next a study says (:mod:`trainyard.contracts.studies`), which outlives this process: a search that is cut short
leaves its finished trials there, and the next one goes on from them and never tries a candidate again. Only the few
best are fitted once more, at the lengths that were found, because the choice between them needs their answers. So the
outcome is the same, interrupted or not, as long as no time binds: with a budget of trials it never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.contracts.runs import Trial
from trainyard.leaderboard import rank, score
from trainyard.metrics.measures import measure
from trainyard.model import Predictor
from trainyard_trainer.learning import choosing
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.calibration import calibrate
from trainyard_trainer.learning.candidates import Candidate, Portfolio
from trainyard_trainer.learning.refit import FOLD, Known, Member, Outcome, fit_on_all, joined
from trainyard_trainer.learning.thresholds import threshold_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.studies import Study
    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.fitting import Fitted, Learning
    from trainyard_trainer.learning.folds import Fold
    from trainyard_trainer.learning.progress import Progress
    from trainyard_trainer.learning.refit import Ground

#: More rounds for the fit on all rows: they are more than those that the length was found on.
_REFIT_FACTOR = 1.1
#: What fitting a trial again may take, as a multiple of what it took; it stops at the known length long before.
_AGAIN_FACTOR = 10.0
#: What is left of the budget for candidates: a candidate may take so much of it (less where the fit on all rows will
#: take longer than the trial did, which must fit into the rest), and is not begun with less than this share of what the
#: quickest of its method has taken, or of the whole budget.
_CANDIDATE_SHARE = 0.5
_SLACK = 0.15
_WORTH_BEGINNING = 0.7
_LEAST_SHARE = 0.03
#: Learning again may keep back no more than this share of the whole budget.
_MOST_RESERVED = 0.4
#: Proposals in a row that there is no time for, after which the search ends.
_MOST_SKIPPED = 3


@dataclass(frozen=True, eq=False)
class Found(Outcome):
    """What the search chose, and all its trials."""

    trials: tuple[Trial, ...]


@dataclass(frozen=True, eq=False)
class _Part:
    """One fold: what is learnt from, and the rows that it is measured on."""

    learning: Learning
    validation: Known


@dataclass(frozen=True, eq=False)
class _Fit:
    """A candidate fitted on every fold: the fit on the last, and the answers to all folds' validation rows in turn.

    A length is None where a fit has none, on one fold perhaps and not on another: there was nothing to learn there.
    ``pruned``: it was given up after the first fold, so there is that one alone.
    """

    last: Fitted
    lengths: tuple[int | None, ...]
    answers: tuple[FloatArray, ...]
    parity: float
    pruned: bool = False

    @property
    def joined(self) -> FloatArray:
        """The answers of all folds, one after the other."""
        return np.concatenate(self.answers)


@dataclass(frozen=True, eq=False)
class _Entry:
    """A finished trial, and what was fitted: None from an earlier search."""

    candidate: Candidate
    trial: Trial
    fit: _Fit | None = None


class Search:
    """One search for one model.

    ``drifting``: the rows are in order of time, so those measured on may differ from those that come. ``most_trials``:
    the search ends after so many, and not before, whatever time it takes; ``earlier`` ones are among them.
    """

    def __init__(
        self,
        ground: Ground,
        *,
        kinds: tuple[str, ...],
        metric: str,
        drifting: bool,
        most_trials: int | None,
        budget: Budget,
        clock: Clock,
        progress: Progress,
        study: Study,
        earlier: tuple[Trial, ...],
    ) -> None:
        self._ground = ground
        self._task = ground.task
        self._kinds = kinds
        self._metric = metric
        self._drifting = drifting
        self._most_trials = most_trials
        self._budget = budget
        self._whole = max(0.0, budget.left)
        self._clock = clock
        self._progress = progress
        self._study = study
        self._earlier = earlier

    def run(self, known: Known, folds: Sequence[Fold]) -> Found:
        """Return the choice between candidates that were fitted on ``folds`` of the known rows, fitted on them all."""
        parts = [_Part(self._ground.learning(known.take(f.train)), known.take(f.validation)) for f in folds]
        entries = self._try_all(parts, known)
        finalists = self._finalists(entries, parts)
        labels = np.concatenate([part.validation.labels for part in parts])
        answers = [fit.joined for _, fit in finalists]
        weights = choosing.weights(self._task, self._metric, labels, answers)
        blended = np.asarray(sum(weight * given for weight, given in zip(weights, answers, strict=True)))
        calibration = calibrate(self._task, labels, blended, self._metric, drifting=self._drifting)
        members = [(*finalist, float(weight)) for finalist, weight in zip(finalists, weights, strict=True) if weight]
        members.sort(key=lambda member: -member[-1])  # what counts most is learnt again first
        finals = self._learn_again([(entry, fit) for entry, fit, _ in members], known, len(parts))
        outcome = joined(finals, [weight for *_, weight in members], calibration, len(folds))
        chosen = {entry.trial.number for entry, *_ in members}
        trials = tuple(replace(e.trial, chosen=e.trial.number in chosen) for e in entries)
        return Found(outcome.pipeline, outcome.calibration, outcome.choice, outcome.parity, trials)

    def _try_all(self, parts: Sequence[_Part], known: Known) -> list[_Entry]:
        """Return an entry for every candidate that was tried, now or earlier, in the order of their numbers."""
        cells = known.table.rows * len(known.table.columns)
        portfolio = Portfolio(
            self._kinds,
            cells=cells,
            n_outputs=parts[0].learning.n_outputs,
            metric=self._metric,
            least=float(known.labels.min()) if self._task == "regression" else None,
            categories=any(column.type in {"category", "text"} for column in known.table.schema.features),
        )
        self._study.plan(portfolio.planned, portfolio.space)
        entries = [_Entry(Candidate(trial.kind, trial.params).given, trial) for trial in self._earlier]
        self._note(entries)
        last, skipped = max((entry.trial.number for entry in entries), default=0), 0
        while self._goes_on(entries, portfolio, last) and skipped < _MOST_SKIPPED:
            proposal = self._study.ask()
            last = proposal.number
            candidate = Candidate(proposal.kind, proposal.params)
            budget = self._allowed(candidate, entries, len(parts))
            if budget is None:
                self._study.skip(last)
                skipped += last > len(portfolio.candidates)
                continue
            skipped = 0
            begun = self._clock.monotonic()
            planned = len(portfolio.candidates)
            bar = choosing.bar([e.trial for e in entries], planned=planned) if last > planned else math.inf
            fit = self._fit(candidate, parts, budget, bar=bar)
            seconds = self._clock.monotonic() - begun
            figures = self._figures(fit, parts)
            trial = Trial(last, candidate.kind, _params(candidate, fit), figures, seconds, False, fit.pruned)
            self._study.tell(trial)
            entries.append(_Entry(candidate, trial, fit))
            self._note(entries)
            self._progress("searching", len(entries), self._most_trials or len(portfolio.candidates))
        return sorted(entries, key=lambda entry: entry.trial.number)

    def _goes_on(self, entries: Sequence[_Entry], portfolio: Portfolio, last: int) -> bool:
        """Tell whether another trial is to be asked for: up to the budget of trials, else while it may be worth it."""
        if self._most_trials is not None:
            return len(entries) < self._most_trials
        planned = len(portfolio.candidates)
        if last < planned:
            return True
        trials = [entry.trial for entry in entries]
        worth = choosing.worth_going_on(trials, self._metric, planned=planned, patience=portfolio.patience)
        return bool(portfolio.space) and worth and self._budget.allows(_LEAST_SHARE * self._whole)

    def _note(self, entries: Sequence[_Entry]) -> None:
        """Let the progress tell of the newest trial and the best one."""
        if entries:
            whole = [entry.trial for entry in entries if not entry.trial.pruned]
            best = min(whole, key=lambda trial: rank(trial.metrics, self._metric))
            name, value = score(best.metrics, self._metric)
            self._progress.note(trial=max(entry.trial.number for entry in entries), best=value, metric=name)

    def _allowed(self, candidate: Candidate, entries: Sequence[_Entry], n_folds: int) -> Budget | None:
        """Return what this candidate may take; None where that would not bring it to an end.

        The prior and one real candidate are always tried. What learning the best again will take is kept back.
        """
        tried = [entry.trial for entry in entries if not entry.trial.pruned]
        reserved, best = 0.0, 0.0
        if any(trial.kind == "prior" for trial in tried):
            finalists = set(choosing.shortlist(tried, self._metric))
            reserved = sum(_again(trial, n_folds) for trial in tried if trial.number in finalists)
            best = _again(min(tried, key=lambda trial: rank(trial.metrics, self._metric)), n_folds)
        left = self._budget.left
        share = min(_CANDIDATE_SHARE, 1.0 / (1.0 + _SLACK + _again_factor(n_folds)))
        most = (left - max(best, min(reserved, _MOST_RESERVED * self._whole))) * share
        if len(tried) >= 2:
            alike = [e.trial.seconds for e in entries if e.candidate.method == candidate.method and e.trial in tried]
            least = max(_WORTH_BEGINNING * min(alike, default=0.0), _LEAST_SHARE * self._whole)
            if not self._budget.within(most).allows(least):
                return None
        return self._budget.within(most)

    def _fit(
        self,
        candidate: Candidate,
        parts: Sequence[_Part],
        budget: Budget,
        *,
        trial: Trial | None = None,
        bar: float = math.inf,
    ) -> _Fit:
        """Fit on every fold and ask; stopping early, or at the lengths that ``trial`` has found.

        Above ``bar`` on the first of several folds it is given up.
        """
        fits, answers, parity = [], [], 0.0
        at = None if trial is None else trial.params.get("lengths", [trial.params.get("length")] * len(parts))
        for index, part in enumerate(parts):
            rows = part.validation
            how: dict[str, Any] = {"validation": (rows.table, rows.labels)} if at is None else {"length": at[index]}
            fitted = candidate.fit(
                part.learning,
                candidate.params,
                budget.share(len(parts) - index),
                progress=self._reporter(candidate.kind),
                **how,
            )
            answers.append(Predictor(self._ground.shell(fitted.pipeline)).predict_columns(rows.table.columns))
            if index == 0 and len(parts) > 1 and self._first_cut(parts, answers) > bar:
                return _Fit(fitted, (fitted.length,), tuple(answers), parity, pruned=True)
            if index == len(parts) - 1:
                parity = self._ground.parity(fitted, rows.table, newest=False)
            fits.append(fitted)
        return _Fit(fits[-1], tuple(fitted.length for fitted in fits), tuple(answers), parity)

    def _figures(self, fit: _Fit, parts: Sequence[_Part]) -> dict[str, float]:
        """Return the means of the folds' figures; of those that have one, for a metric that has not always a value.

        Where there are several folds, ``first_cut`` is what the first one says, by which proposals are pruned.
        """
        asked = list(zip((part.validation.labels for part in parts), fit.answers, strict=False))
        at = threshold_for(self._task, self._metric, np.concatenate([labels for labels, _ in asked]), fit.joined)
        each = [measure(self._task, labels, answers, threshold=at) for labels, answers in asked]
        first = {"first_cut": self._first_cut(parts, fit.answers)} if len(parts) > 1 else {}
        return {name: fmean(f[name] for f in each if name in f) for name in {n: None for f in each for n in f}} | first

    def _first_cut(self, parts: Sequence[_Part], answers: Sequence[FloatArray]) -> float:
        """Return what the choice would minimise, on the first fold alone."""
        return choosing.loss(self._task, self._metric, parts[0].validation.labels, answers[0])

    def _finalists(self, entries: Sequence[_Entry], parts: Sequence[_Part]) -> list[tuple[_Entry, _Fit]]:
        """Return the few best, in order of their numbers; what an earlier search has tried is fitted as it was."""
        best = choosing.shortlist([entry.trial for entry in entries], self._metric)
        finalists = []
        for entry in entries:
            if entry.trial.number in best:
                seconds = _AGAIN_FACTOR * entry.trial.seconds + len(parts)
                budget = self._budget if self._most_trials is not None else Budget(self._clock, seconds)
                finalists.append((entry, entry.fit or self._fit(entry.candidate, parts, budget, trial=entry.trial)))
        return finalists

    def _learn_again(self, members: Sequence[tuple[_Entry, _Fit]], known: Known, n_folds: int) -> list[Member]:
        """Fit the members on all rows, where the budget allows as much time as it will take.

        A fit that the budget has cut off short of the length that was found is thrown away: it has learnt less.
        """
        learning: Learning | None = None
        finals = []
        for number, (entry, fit) in enumerate(members, start=1):
            self._progress("learning again", number, len(members))
            final = Member(entry.candidate, fit.last, FOLD, fit.parity)
            length = entry.trial.params.get("length")
            if self._budget.allows(_again(entry.trial, n_folds)):
                learning = learning or self._ground.learning(known)
                longer = None if length is None else max(1, round(length * _REFIT_FACTOR))
                refitted = fit_on_all(
                    self._ground, learning, entry.candidate, longer, budget=self._budget, progress=self._progress
                )
                if length is None or not self._budget.spent or (refitted.fitted.length or 0) >= length:
                    final = refitted
            finals.append(final)
        return finals

    def _reporter(self, kind: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(f"fitting {kind}", done, total)


def _params(candidate: Candidate, fit: _Fit) -> dict[str, Any]:
    """Return all that it takes to fit the trial again: what was given, and the lengths that were found."""
    known = [length for length in fit.lengths if length is not None]
    if not known:
        return dict(candidate.params)
    found = {"length": round(median(known))}
    return {**candidate.params, **found, **({"lengths": list(fit.lengths)} if len(fit.lengths) > 1 else {})}


def _again(trial: Trial, n_folds: int) -> float:
    """Return about how many seconds the fit on all rows takes: there are more of them, and no round is in vain."""
    return trial.seconds * _again_factor(n_folds)


def _again_factor(n_folds: int) -> float:
    """Return that as a multiple of what the trial took on all folds."""
    return _REFIT_FACTOR * (1.0 / (n_folds - 1) if n_folds > 1 else 1.2)
