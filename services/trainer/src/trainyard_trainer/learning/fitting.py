"""What every candidate is fitted on and what comes of it, and the prior: the answer that knows no feature."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.model import IsMissing, Linear, Pipeline
from trainyard_trainer.learning.encoders import STANDARD
from trainyard_trainer.learning.pairs import Derived, find

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from trainyard.model.dto import FloatArray
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.encoders import Encoded, Encoder
    from trainyard_trainer.learning.table import Table

#: What turns the scores of an estimator into probabilities or values, by task.
OUTPUT = {"binary": "sigmoid", "multiclass": "softmax", "regression": "identity"}
#: Cells up to which a matrix is kept for the next candidate; larger ones are made again, memory is dearer than time.
_MOST_KEPT_CELLS = 4_000_000
_MOST_CELLS = 12_000_000  # of all that are kept
_PAIRS_PARTS = 10


@dataclass(frozen=True, eq=False)
class Learning:
    """Rows to learn from: features, labels (class indexes or values), what is to be learnt, and the encoder."""

    task: str
    n_classes: int
    table: Table
    labels: npt.NDArray[Any]
    encoder: Encoder
    seed: int
    _kept: dict[Hashable, Encoded] = field(default_factory=dict, repr=False)
    _found: dict[str, tuple[Derived, ...]] = field(default_factory=dict, repr=False)

    @property
    def n_outputs(self) -> int:
        """Scores that an estimator gives."""
        return self.n_classes if self.task == "multiclass" else 1

    def for_trees(self, *, coded: bool = False, pairs: tuple[Derived, ...] = ()) -> Encoded:
        """Return the steps and matrix for trees; the same every time, nobody may write into it."""
        return self._encoded(("trees", coded, pairs), lambda: self.encoder.for_trees(coded=coded, pairs=pairs))

    def for_linear(self, *, scaling: str = STANDARD, pairs: tuple[Derived, ...] = ()) -> Encoded:
        """Return the steps and matrix for linear models and networks, likewise."""
        return self._encoded(("linear", scaling, pairs), lambda: self.encoder.for_linear(scaling=scaling, pairs=pairs))

    def pairs(self, params: Mapping[str, Any], view: str, budget: Budget) -> tuple[Derived, ...]:
        """Return the pairs that a candidate's ``pairs`` asks for: none, those named, or what is found in these rows.

        ``view`` is what will see them; the search for them may take a tenth of the budget.
        """
        asked = params.get("pairs", False)
        if not isinstance(asked, bool):
            return tuple(Derived(*one) for one in asked)
        if asked and view not in self._found:
            self._found[view] = find(self, view, budget.share(_PAIRS_PARTS))
        return self._found[view] if asked else ()

    def _encoded(self, name: Hashable, make: Callable[[], Encoded]) -> Encoded:
        found = self._kept.get(name) or make()
        kept = sum(one.x.size for one in self._kept.values())
        if name not in self._kept and found.x.size <= _MOST_KEPT_CELLS and kept + found.x.size <= _MOST_CELLS:
            self._kept[name] = found
        return found


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted candidate. ``answer`` asks the library itself, on a matrix (rows, D): for the parity check.

    ``length`` is how far it was fitted, or what early stopping found (rounds, epochs, trees), None where a fit has no
    length. The same candidate fitted on the same rows at this length, with the ``pairs`` that were found, is the same.
    """

    pipeline: Pipeline
    answer: Callable[[FloatArray], FloatArray]
    length: int | None = None
    pairs: tuple[Derived, ...] = ()


def prior_of(task: str, n_classes: int, labels: npt.NDArray[Any], rows: int) -> FloatArray:
    """Return the answer that knows no feature, for ``rows`` rows: class shares (rows, classes) or the mean (rows,)."""
    if task == "regression":
        return np.full(rows, float(np.mean(labels)))
    return np.tile(_shares(labels, n_classes), (rows, 1))


def _shares(labels: npt.NDArray[Any], n_classes: int) -> FloatArray:
    return np.bincount(labels, minlength=n_classes) / len(labels)


def fit_prior(learning: Learning, _params: Mapping[str, Any], _budget: Budget, **_: Any) -> Fitted:
    """A model that ignores its one column."""
    step = IsMissing(learning.table.schema.features[0].name)
    if learning.task == "regression":
        bias = np.array([float(np.mean(learning.labels))])
    else:
        shares = _shares(learning.labels, learning.n_classes)
        bias = np.log(shares) if learning.task == "multiclass" else np.array([np.log(shares[1]) - np.log(shares[0])])
    estimator = Linear(np.zeros((1, len(bias))), bias, OUTPUT[learning.task])
    answer = prior_of(learning.task, learning.n_classes, learning.labels, 1)
    return Fitted(Pipeline((step,), estimator), lambda x: np.repeat(answer, len(x), axis=0))
