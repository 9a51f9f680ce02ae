"""The search: fit candidates while the budget lasts, choose on rows they have not seen, learn again from all rows.

A trial is a candidate that was fitted and measured on every fold (:mod:`trainyard_trainer.learning.folds`). Which one
is next a study says (:mod:`trainyard.contracts.studies`), which outlives this process: a search that is cut short
leaves its finished trials there, and the next one goes on from them and never tries a candidate again. Nor is one tried
again that another worker has told the same study meanwhile. Only the few best are fitted once more, at the lengths that
were found, because the choice between them needs their answers. So the outcome is the same, interrupted or not, as long
as no time binds: with a budget of trials it never does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.contracts.runs import Trial
from trainyard.leaderboard import rank, score
from trainyard_trainer.learning import choosing
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.calibration import calibrate
from trainyard_trainer.learning.candidates import Candidate, Portfolio
from trainyard_trainer.learning.doubt import doubtful
from trainyard_trainer.learning.encoders import NUMBERS
from trainyard_trainer.learning.refit import FOLD, Known, Member, Outcome, fit_on_all, joined
from trainyard_trainer.learning.trying import Entry, Part, Trying, found_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from trainyard.clock import Clock
    from trainyard.contracts.studies import Study
    from trainyard_trainer.learning.fitting import Learning
    from trainyard_trainer.learning.folds import Fold
    from trainyard_trainer.learning.progress import Progress
    from trainyard_trainer.learning.refit import Ground
    from trainyard_trainer.learning.trying import Fit

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
class Explored:
    """What was tried, in the order of the trials' numbers, and how."""

    entries: Sequence[Entry]
    trying: Trying


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
        return self.choose(known, self.explore(known, folds))

    def explore(self, known: Known, folds: Sequence[Fold]) -> Explored:
        """Try candidates on ``folds`` of the known rows, until the search ends."""
        parts = [Part(self._ground.learning(known.take(f.train)), known.take(f.validation)) for f in folds]
        trying = Trying(self._ground, parts, metric=self._metric, progress=self._progress)
        return Explored(self._try_all(trying, known), trying)

    def choose(self, known: Known, explored: Explored) -> Found:
        """Return the choice between what was tried, fitted on all rows."""
        entries, parts = explored.entries, explored.trying.parts
        finalists = self._finalists(entries, explored.trying)
        labels = np.concatenate([part.validation.labels for part in parts])
        members = self._members(finalists, labels, explored.trying)
        blended = np.asarray(sum(weight * fit.joined for _, fit, weight in members))
        calibration = calibrate(self._task, labels, blended, self._metric, drifting=self._drifting)
        finals = self._learn_again([(entry, fit) for entry, fit, _ in members], known, len(parts))
        outcome = joined(finals, [weight for *_, weight in members], calibration, len(parts))
        chosen = {entry.trial.number for entry, *_ in members}
        trials = tuple(replace(e.trial, chosen=e.trial.number in chosen) for e in entries)
        return Found(outcome.pipeline, outcome.calibration, outcome.choice, outcome.parity, outcome.trained, trials)

    def _members(
        self, finalists: Sequence[tuple[Entry, Fit]], labels: npt.NDArray[Any], trying: Trying
    ) -> list[tuple[Entry, Fit, float]]:
        """Return what is chosen of the finalists, each with its weight, the largest first.

        It is the prior alone where nothing is better beyond doubt.
        """
        weights = choosing.weights(self._task, self._metric, labels, [fit.joined for _, fit in finalists])
        members = [(*finalist, float(weight)) for finalist, weight in zip(finalists, weights, strict=True) if weight]
        members.sort(key=lambda member: -member[-1])
        for entry, fit in finalists:
            if entry.trial.kind == "prior" and doubtful(
                self._task, labels, fit.joined, members, lambda one: self._surely_again(one, trying)
            ):
                return [(entry, fit, 1.0)]
        return members

    def _try_all(self, trying: Trying, known: Known) -> list[Entry]:
        """Return an entry for every candidate that was tried, here or elsewhere, in the order of their numbers."""
        cells = known.table.rows * len(known.table.columns)
        types = [column.type for column in known.table.schema.features]
        portfolio = Portfolio(
            self._kinds,
            cells=cells,
            n_outputs=trying.parts[0].learning.n_outputs,
            metric=self._metric,
            least=float(known.labels.min()) if self._task == "regression" else None,
            categories=any(name in {"category", "text"} for name in types),
            numbers=sum(name in NUMBERS for name in types),
        )
        self._study.plan(portfolio.planned, portfolio.space)
        entries = [Entry.elsewhere(trial) for trial in self._earlier]
        self._note(entries)
        last, skipped = max((entry.trial.number for entry in entries), default=0), 0
        while self._goes_on(self._joined(entries), portfolio, last) and skipped < _MOST_SKIPPED:
            proposal = self._study.ask()
            last = proposal.number
            candidate = Candidate(proposal.kind, proposal.params)
            budget = self._allowed(candidate, entries, len(trying.parts))
            if budget is None:
                self._study.skip(last)
                skipped += last > len(portfolio.candidates)
                continue
            skipped = 0
            begun = self._clock.monotonic()
            planned = len(portfolio.candidates)
            bar = choosing.bar([e.trial for e in entries], planned=planned) if last > planned else math.inf
            fit = trying.fit(candidate, budget, bar=bar)
            seconds = self._clock.monotonic() - begun
            figures = trying.figures(fit)
            trial = Trial(last, candidate.kind, found_params(candidate, fit), figures, seconds, False, fit.pruned)
            self._study.tell(trial)
            entries.append(Entry(candidate, trial, fit))
            self._note(entries)
            self._progress("searching", len(entries), self._most_trials or len(portfolio.candidates))
        return sorted(self._joined(entries), key=lambda entry: entry.trial.number)

    def _joined(self, entries: list[Entry]) -> list[Entry]:
        """Add what other workers have tried meanwhile; return the list."""
        known = {entry.trial.number for entry in entries}
        entries += [Entry.elsewhere(trial) for trial in self._study.news() if trial.number not in known]
        return entries

    def _goes_on(self, entries: Sequence[Entry], portfolio: Portfolio, last: int) -> bool:
        """Tell whether another trial is to be asked for: up to the budget of trials, else while it may be worth it."""
        if self._most_trials is not None:
            return len(entries) < self._most_trials
        planned = len(portfolio.candidates)
        if last < planned:
            return True
        trials = [entry.trial for entry in entries]
        worth = choosing.worth_going_on(trials, self._metric, planned=planned, patience=portfolio.patience)
        return bool(portfolio.space) and worth and self._budget.allows(_LEAST_SHARE * self._whole)

    def _note(self, entries: Sequence[Entry]) -> None:
        """Let the progress tell of the newest trial and the best one."""
        if entries:
            whole = [entry.trial for entry in entries if not entry.trial.pruned]
            best = min(whole, key=lambda trial: rank(trial.metrics, self._metric))
            name, value = score(best.metrics, self._metric)
            self._progress.note(trial=max(entry.trial.number for entry in entries), best=value, metric=name)

    def _allowed(self, candidate: Candidate, entries: Sequence[Entry], n_folds: int) -> Budget | None:
        """Return what this candidate may take; None where that would not bring it to an end.

        The prior and one real candidate are always tried. What learning the best again will take is kept back.
        """
        tried = [entry.trial for entry in entries if not entry.trial.pruned]
        reserved, best = 0.0, 0.0
        if any(trial.kind == "prior" for trial in tried):
            finalists = set(choosing.shortlist(tried, self._metric))
            reserved = sum(_again(trial, n_folds) for trial in tried if trial.number in finalists)
            reserved += sum(e.trial.seconds for e in entries if e.fit is None and e.trial.number in finalists)
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

    def _finalists(self, entries: Sequence[Entry], trying: Trying) -> list[tuple[Entry, Fit]]:
        """Return the few best, in order of their numbers.

        What was not tried here is fitted again as it was, the best first, as far as the budget allows it; a fit that it
        cuts off is thrown away. Only the best of all is fitted in any case: something has to come of the search.
        """
        best = choosing.shortlist([entry.trial for entry in entries], self._metric)
        short = [entry for entry in entries if entry.trial.number in best]
        short.sort(key=lambda entry: (rank(entry.trial.metrics, self._metric), entry.trial.number))
        finalists = []
        for place, entry in enumerate(short):
            fit = entry.fit or self._fit_again(entry, trying, must=place == 0)
            if fit is not None:
                finalists.append((entry, fit))
        return sorted(finalists, key=lambda finalist: finalist[0].trial.number)

    def _fit_again(self, entry: Entry, trying: Trying, *, must: bool) -> Fit | None:
        """Fit a finished trial as it was; None where the budget does not allow it, unless it must be."""
        if must or self._most_trials is not None:
            return self._surely_again(entry, trying)
        if not self._budget.allows(entry.trial.seconds):
            return None
        fit = trying.fit(
            entry.candidate,
            self._budget.within(_AGAIN_FACTOR * entry.trial.seconds + len(trying.parts)),
            trial=entry.trial,
        )
        return fit if list(fit.lengths) == trying.lengths(entry.trial) else None

    def _surely_again(self, entry: Entry, trying: Trying) -> Fit:
        """Fit a finished trial at the lengths that it says, whatever is left of the budget."""
        most = _AGAIN_FACTOR * entry.trial.seconds + len(trying.parts)
        budget = Budget(self._clock, most) if self._most_trials is None else self._budget
        return trying.fit(entry.candidate, budget, trial=entry.trial)

    def _learn_again(self, members: Sequence[tuple[Entry, Fit]], known: Known, n_folds: int) -> list[Member]:
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


def _again(trial: Trial, n_folds: int) -> float:
    """Return about how many seconds the fit on all rows takes: there are more of them, and no round is in vain."""
    return trial.seconds * _again_factor(n_folds)


def _again_factor(n_folds: int) -> float:
    """Return that as a multiple of what the trial took on all folds."""
    return _REFIT_FACTOR * (1.0 / (n_folds - 1) if n_folds > 1 else 1.2)
