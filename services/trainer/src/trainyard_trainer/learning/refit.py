"""The final fit: from a description of what was chosen to the model as it is published.

A search ends with it, and a reproduction consists of it: one code path, so that the same description, rows and
libraries give the same bytes. The description is the ``choice`` of a version's lineage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model import Blend, Model, Pipeline, Predictor
from trainyard_trainer.domain import DataError
from trainyard_trainer.learning.calibration import Calibration
from trainyard_trainer.learning.candidates import Candidate
from trainyard_trainer.learning.encoders import Encoder
from trainyard_trainer.learning.fitting import Fitted, Learning
from trainyard_trainer.learning.parity import Trained, check_parity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.folds import Fold
    from trainyard_trainer.learning.progress import Progress
    from trainyard_trainer.learning.table import Table


#: Rows on which an exported member is held against the library that fitted it.
_PARITY_ROWS = 2_000
#: What a member was fitted on: all rows of the fit part, or those that the last cut learns from.
ALL, FOLD = "all", "fold"


@dataclass(frozen=True, eq=False)
class Known:
    """Labelled rows: features and class indexes (or values)."""

    table: Table
    labels: npt.NDArray[Any]

    def take(self, rows: npt.NDArray[Any]) -> Known:
        """Return these rows."""
        return Known(self.table.take(rows), self.labels[rows])


@dataclass(frozen=True, eq=False)
class Ground:
    """What every fit of a run shares. ``shell`` is the model that pipelines are put into to be asked."""

    shell: Callable[[Pipeline | Blend], Model]
    task: str
    n_classes: int
    seed: int

    def learning(self, known: Known) -> Learning:
        """Return these rows as candidates learn from them."""
        encoder = Encoder(known.table, known.labels, self.n_classes, self.seed)
        return Learning(self.task, self.n_classes, known.table, known.labels, encoder, self.seed)

    def parity(self, fitted: Fitted, table: Table, *, newest: bool) -> float:
        """Hold what was fitted against its library, on the newest or the oldest rows of the table.

        Raises:
            ParityError: they do not answer the same.
        """
        count = min(_PARITY_ROWS, table.rows)
        rows = np.arange(table.rows - count, table.rows) if newest else np.arange(count)
        return check_parity(fitted, Predictor(self.shell(fitted.pipeline)), table.take(rows))


@dataclass(frozen=True, eq=False)
class Member:
    """A member of the model as it is published, fitted on ``rows`` (:data:`ALL` or :data:`FOLD`)."""

    candidate: Candidate
    fitted: Fitted
    rows: str
    parity: float

    def described(self) -> dict[str, Any]:
        """Return what it takes to fit it again, the length it has really got and the pairs found included."""
        params = dict(self.candidate.params)
        if params.get("pairs"):
            params["pairs"] = [list(pair) for pair in self.fitted.pairs]
        if self.fitted.length is not None:
            params["length"] = self.fitted.length
        return {"kind": self.candidate.kind, "params": params, "rows": self.rows}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A model as far as it was learnt: the pipeline, what calibrates it, and the choice in words fit for the lineage.

    ``parity`` is the largest difference between an answer of the library and of an exported member; ``trained`` is how
    the libraries themselves answer in the model's place.
    """

    pipeline: Pipeline | Blend
    calibration: Calibration
    choice: dict[str, Any]
    parity: float
    trained: Trained


def fit_on_all(
    ground: Ground, learning: Learning, candidate: Candidate, length: int | None, *, budget: Budget, progress: Progress
) -> Member:
    """Fit a candidate on all rows of the fit part, to ``length``, or as far as the budget lets it come."""
    fitted = _fit(candidate, learning, length, budget, progress)
    return Member(candidate, fitted, ALL, ground.parity(fitted, learning.table, newest=True))


def joined(members: Sequence[Member], weights: Sequence[float], calibration: Calibration, n_folds: int) -> Outcome:
    """Return the model that the members make, with its description."""
    pipelines = tuple(member.fitted.pipeline for member in members)
    described = [{**member.described(), "weight": weight} for member, weight in zip(members, weights, strict=True)]
    return Outcome(
        pipelines[0] if len(members) == 1 else Blend(pipelines, np.array(weights)),
        calibration,
        {"members": described, "folds": n_folds, **calibration.described()},
        max(member.parity for member in members),
        Trained(tuple(member.fitted for member in members), tuple(weights), calibration),
    )


def again(
    ground: Ground,
    choice: Mapping[str, Any],
    known: Known,
    folds: Sequence[Fold],
    *,
    budget: Budget,
    progress: Progress,
) -> Outcome:
    """Fit what a lineage describes, without any search.

    Raises:
        DataError: this release does not understand the description.
    """
    try:
        asked = [described(member) for member in choice["members"]]
        calibration = Calibration.of(choice)
    except (KeyError, TypeError, AttributeError) as e:
        raise DataError(f"this release cannot read how the version was configured: {type(e).__name__}: {e}") from e
    learnt: dict[str, Learning] = {}
    members = []
    for number, one in enumerate(asked, start=1):
        progress("learning again", number, len(asked))
        if one.rows not in learnt:
            learnt[one.rows] = ground.learning(known if one.rows == ALL else known.take(folds[-1].train))
        learning = learnt[one.rows]
        if one.rows == ALL:
            members.append(fit_on_all(ground, learning, one.candidate, one.length, budget=budget, progress=progress))
        else:
            fitted = _fit(one.candidate, learning, one.length, budget, progress)
            parity = ground.parity(fitted, known.take(folds[-1].validation).table, newest=False)
            members.append(Member(one.candidate, fitted, one.rows, parity))
    return joined(members, [one.weight for one in asked], calibration, len(folds))


@dataclass(frozen=True)
class Described:
    """A member as a lineage describes it."""

    candidate: Candidate
    length: int | None
    rows: str
    weight: float

    def fit(self, learning: Learning, budget: Budget, progress: Callable[[int, int], None]) -> Fitted:
        """Fit it on these rows, to the length that it has, or as far as the budget lets it come."""
        params = self.candidate.params
        return self.candidate.fit(learning, params, budget, length=self.length, progress=progress)


def described(member: Mapping[str, Any]) -> Described:
    """Return the member of a lineage's ``choice``.

    Raises:
        KeyError, TypeError, AttributeError: it is described otherwise than this release does.
    """
    params = {name: value for name, value in member["params"].items() if name != "length"}
    candidate = Candidate(member["kind"], params)
    return Described(candidate, member["params"].get("length"), member["rows"], member["weight"])


def _fit(candidate: Candidate, learning: Learning, length: int | None, budget: Budget, progress: Progress) -> Fitted:
    return candidate.fit(
        learning,
        candidate.params,
        budget,
        length=length,
        progress=lambda done, total: progress(f"fitting {candidate.kind}", done, total),
    )
