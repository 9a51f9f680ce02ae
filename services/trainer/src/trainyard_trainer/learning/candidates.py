"""The candidates: a kind and its parameters, and the order in which they are tried.

The order is made by hand: the first few are what does best on most tables, of each kind in turn, so that a short
budget has tried one of each; variants follow. Whoever searches asks for one candidate after the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard_trainer.learning.boosting import fit_trees
from trainyard_trainer.learning.fitting import fit_prior
from trainyard_trainer.learning.forest import fit_forest
from trainyard_trainer.learning.linear import fit_linear
from trainyard_trainer.learning.neural import fit_neural

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trainyard_trainer.learning.fitting import Fitted

#: Numbers (cells x scores) above which elastic-net classification takes too long for what it brings, and scores above
#: which a forest, whose leaves hold one number for each, grows too large.
_MOST_ELASTIC = 2_000_000
_MOST_FOREST_SCORES = 30


@dataclass(frozen=True)
class Candidate:
    """A kind and its parameters, which are JSON."""

    kind: str
    params: Mapping[str, Any]

    @property
    def method(self) -> str:
        """What fits it: candidates of one method take about as long as each other. Trees are boosted, or a forest."""
        return "forest" if "max_features" in self.params else self.kind

    @property
    def fit(self) -> Callable[..., Fitted]:
        """The method: takes what to learn from, the parameters, a budget, and rows to stop early on or a length."""
        return _METHODS[self.method]


_METHODS: Mapping[str, Callable[..., Fitted]] = {
    "prior": fit_prior,
    "linear": fit_linear,
    "tree_ensemble": fit_trees,
    "forest": fit_forest,
    "neural_network": fit_neural,
}


_PORTFOLIO = (
    Candidate("prior", {}),
    Candidate("linear", {"penalty": "l2", "strength": 1.0}),
    Candidate("tree_ensemble", {"num_leaves": 31}),
    Candidate("tree_ensemble", {"max_features": 0.5}),
    Candidate("neural_network", {"hidden": [64, 32]}),
    Candidate("tree_ensemble", {"num_leaves": 7, "lambda_l2": 5.0}),
    Candidate("linear", {"penalty": "l2", "strength": 30.0}),
    Candidate("tree_ensemble", {"num_leaves": 31, "extra_trees": True, "feature_fraction": 0.7}),
    Candidate("tree_ensemble", {"num_leaves": 63, "min_data_in_leaf": 40, "feature_fraction": 0.6, "lambda_l2": 5.0}),
    Candidate("linear", {"penalty": "elastic", "strength": 10.0}),
    Candidate("neural_network", {"hidden": [128], "activation": "tanh", "alpha": 1e-2}),
    Candidate(
        "tree_ensemble", {"num_leaves": 15, "learning_rate": 0.03, "feature_fraction": 0.5, "min_data_in_leaf": 10}
    ),
    Candidate(
        "tree_ensemble", {"num_leaves": 127, "learning_rate": 0.1, "feature_fraction": 0.5, "min_data_in_leaf": 80}
    ),
    Candidate("neural_network", {"hidden": [128, 64], "alpha": 1e-2, "learning_rate": 5e-4}),
    Candidate("linear", {"penalty": "l2", "strength": 0.05}),
)


class Portfolio:
    """The candidates of some kinds for one table, in their order; the prior is always the first."""

    def __init__(self, kinds: Collection[str], *, cells: int, n_outputs: int) -> None:
        """Leave out what a table of so many cells and scores makes too slow or too large."""

        def fits(candidate: Candidate) -> bool:
            if candidate.params.get("penalty") == "elastic":
                return cells * n_outputs <= _MOST_ELASTIC
            return "max_features" not in candidate.params or n_outputs <= _MOST_FOREST_SCORES

        self.candidates = tuple(c for c in _PORTFOLIO if c.kind in ("prior", *kinds) and fits(c))

    def ask(self, seen: Collection[Candidate]) -> Candidate | None:
        """Return the next candidate that is not among those seen; None when there is none left."""
        return next((candidate for candidate in self.candidates if candidate not in seen), None)
