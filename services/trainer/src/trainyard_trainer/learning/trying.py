"""One candidate on trial: fitted on every fold, measured on rows it has not seen, or fitted again as it was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.metrics.measures import measure
from trainyard.model import Predictor
from trainyard_trainer.learning import choosing
from trainyard_trainer.learning.candidates import Candidate
from trainyard_trainer.learning.thresholds import threshold_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.runs import Trial
    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.fitting import Fitted, Learning
    from trainyard_trainer.learning.progress import Progress
    from trainyard_trainer.learning.refit import Ground, Known


@dataclass(frozen=True, eq=False)
class Part:
    """One fold: what is learnt from, and the rows that it is measured on."""

    learning: Learning
    validation: Known


@dataclass(frozen=True, eq=False)
class Fit:
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
class Entry:
    """A finished trial, and what was fitted: None where an earlier search did that, or another worker."""

    candidate: Candidate
    trial: Trial
    fit: Fit | None = None

    @classmethod
    def elsewhere(cls, trial: Trial) -> Entry:
        """Return the entry of a trial that is known by its figures alone."""
        return cls(Candidate(trial.kind, trial.params).given, trial)


class Trying:
    """Fits candidates on the folds (``parts``) of one table, and measures them by the policy's ``metric``."""

    def __init__(self, ground: Ground, parts: Sequence[Part], *, metric: str, progress: Progress) -> None:
        self._ground = ground
        self._task = ground.task
        self._metric = metric
        self._progress = progress
        self.parts = parts

    def fit(self, candidate: Candidate, budget: Budget, *, trial: Trial | None = None, bar: float = math.inf) -> Fit:
        """Fit on every fold and ask; stopping early, or at the lengths that ``trial`` has found.

        Above ``bar`` on the first of several folds it is given up.
        """
        fits, answers, parity, parts = [], [], 0.0, self.parts
        at = None if trial is None else self.lengths(trial)
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
            if index == 0 and len(parts) > 1 and self._first_cut(answers) > bar:
                return Fit(fitted, (fitted.length,), tuple(answers), parity, pruned=True)
            if index == len(parts) - 1:
                parity = self._ground.parity(fitted, rows.table, newest=False)
            fits.append(fitted)
        return Fit(fits[-1], tuple(fitted.length for fitted in fits), tuple(answers), parity)

    def lengths(self, trial: Trial) -> list[int | None]:
        """Return the length that a finished trial had on each fold."""
        return list(trial.params.get("lengths", [trial.params.get("length")] * len(self.parts)))

    def figures(self, fit: Fit) -> dict[str, float]:
        """Return the means of the folds' figures; of those that have one, for a metric that has not always a value.

        Where there are several folds, ``first_cut`` is what the first one says, by which proposals are pruned.
        """
        asked = list(zip((part.validation.labels for part in self.parts), fit.answers, strict=False))
        at = threshold_for(self._task, self._metric, np.concatenate([labels for labels, _ in asked]), fit.joined)
        each = [measure(self._task, labels, answers, threshold=at) for labels, answers in asked]
        first = {"first_cut": self._first_cut(fit.answers)} if len(self.parts) > 1 else {}
        return {name: fmean(f[name] for f in each if name in f) for name in {n: None for f in each for n in f}} | first

    def _first_cut(self, answers: Sequence[FloatArray]) -> float:
        """Return what the choice would minimise, on the first fold alone."""
        return choosing.loss(self._task, self._metric, self.parts[0].validation.labels, answers[0])

    def _reporter(self, kind: str) -> Callable[[int, int], None]:
        return lambda done, total: self._progress(f"fitting {kind}", done, total)


def found_params(candidate: Candidate, fit: Fit) -> dict[str, Any]:
    """Return all that it takes to fit the trial again: what was given, and the lengths that were found."""
    known = [length for length in fit.lengths if length is not None]
    if not known:
        return dict(candidate.params)
    found = {"length": round(median(known))}
    return {**candidate.params, **found, **({"lengths": list(fit.lengths)} if len(fit.lengths) > 1 else {})}
