"""The candidates: a kind and its parameters, those that are tried first, and the space that others are proposed from.

The first ones and their order are made by hand: what does best on most tables, of each kind in turn, so that a short
budget has tried one of each; variants follow. Then the study proposes (:mod:`trainyard.contracts.studies`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard.contracts.studies import Choice, Method, Planned, Range
from trainyard_trainer.learning.boosting import fit_trees
from trainyard_trainer.learning.encoders import QUANTILE, STANDARD
from trainyard_trainer.learning.fitting import fit_prior
from trainyard_trainer.learning.forest import fit_forest
from trainyard_trainer.learning.linear import fit_linear
from trainyard_trainer.learning.neural import fit_neural
from trainyard_trainer.learning.trees import BAGGING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from trainyard.contracts.studies import Space
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
    def given(self) -> Candidate:
        """The candidate of a finished trial: without the lengths, which were found and not given."""
        return Candidate(self.kind, {name: value for name, value in self.params.items() if name not in _FOUND})

    @property
    def method(self) -> str:
        """What fits it: candidates of one method take about as long as each other. Trees are boosted, or a forest."""
        return "forest" if "max_features" in self.params else self.kind

    @property
    def fit(self) -> Callable[..., Fitted]:
        """The method: takes what to learn from, the parameters, a budget, and rows to stop early on or a length."""
        return _METHODS[self.method]


#: Parameters of a trial that were found and not given.
_FOUND = frozenset({"length", "lengths"})

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
    Candidate("tree_ensemble", {"num_leaves": 31, "objective": "regression_l1"}),
    Candidate("linear", {"link": "log", "strength": 1.0}),
    Candidate("tree_ensemble", {"num_leaves": 31, "objective": "poisson", "learning_rate": 0.1}),
    Candidate("neural_network", {"hidden": [64, 32]}),
    Candidate("tree_ensemble", {"num_leaves": 7, "lambda_l2": 5.0, "bagging_fraction": 0.6, "pairs": True}),
    Candidate(
        "tree_ensemble", {"num_leaves": 15, "categories": "sets", "feature_fraction": 0.7, "bagging_fraction": 1.0}
    ),
    Candidate("tree_ensemble", {"num_leaves": 15, "objective": "gamma"}),
    Candidate("linear", {"penalty": "l2", "strength": 30.0, "pairs": True}),
    Candidate("tree_ensemble", {"num_leaves": 31, "extra_trees": True, "feature_fraction": 0.7}),
    Candidate("tree_ensemble", {"num_leaves": 63, "min_data_in_leaf": 40, "feature_fraction": 0.6, "lambda_l2": 5.0}),
    Candidate("tree_ensemble", {"max_features": 0.5}),
    Candidate("neural_network", {"hidden": [128], "activation": "tanh", "alpha": 1e-2, "scaling": "quantile"}),
    Candidate("linear", {"penalty": "elastic", "strength": 10.0}),
    Candidate(
        "tree_ensemble",
        {
            "num_leaves": 15,
            "learning_rate": 0.03,
            "feature_fraction": 0.5,
            "bagging_fraction": 0.6,
            "min_data_in_leaf": 10,
        },
    ),
    Candidate(
        "tree_ensemble",
        {
            "num_leaves": 127,
            "learning_rate": 0.1,
            "feature_fraction": 0.5,
            "bagging_fraction": 1.0,
            "min_data_in_leaf": 80,
        },
    ),
    Candidate("neural_network", {"hidden": [128, 64], "alpha": 1e-2, "learning_rate": 5e-4}),
    Candidate("linear", {"penalty": "l2", "strength": 0.05}),
)


#: What may be proposed, by method: around what is tried first, and somewhat beyond it.
_SPACE: Space = {
    "linear": Method("linear", {"penalty": Choice(("l2", "elastic")), "strength": Range(0.01, 100.0, log=True)}),
    "tree_ensemble": Method(
        "tree_ensemble",
        {
            "num_leaves": Range(4, 255, log=True, whole=True),
            "learning_rate": Range(0.02, 0.2, log=True),
            "min_data_in_leaf": Range(2, 200, log=True, whole=True),
            "feature_fraction": Range(0.3, 1.0),
            "bagging_fraction": Range(0.4, 1.0),
            "lambda_l2": Range(0.01, 30.0, log=True),
            "extra_trees": Choice((False, True)),
        },
    ),
    "forest": Method("tree_ensemble", {"max_features": Range(0.1, 1.0)}),
    "neural_network": Method(
        "neural_network",
        {
            "hidden": Choice(([32], [128], [64, 32], [128, 64], [256, 128])),
            "activation": Choice(("relu", "tanh")),
            "alpha": Range(1e-5, 0.1, log=True),
            "learning_rate": Range(2e-4, 5e-3, log=True),
        },
    ),
}
#: Where a candidate lies that does not say it.
_UNSAID: Mapping[str, Mapping[str, Any]] = {
    "linear": {"penalty": "l2", "link": "identity", "scaling": STANDARD, "pairs": False},
    "tree_ensemble": {
        "learning_rate": 0.05,
        "feature_fraction": 1.0,
        "bagging_fraction": BAGGING,
        "lambda_l2": 1.0,
        "extra_trees": False,
        "objective": "regression",
        "categories": "means",
        "pairs": False,
    },
    "neural_network": {
        "activation": "relu",
        "alpha": 1e-4,
        "learning_rate": 1e-3,
        "scaling": STANDARD,
        "pairs": False,
    },
}
#: Proposals in a row that may bring nothing before the search ends, for each parameter that they vary.
_PATIENCE = 2


def _objectives(metric: str, least: float) -> tuple[str, ...]:
    """Return what trees of a regression may minimise; a logarithmic link asks for labels that are not negative."""
    objectives = ["regression"]
    objectives += ["poisson"] if least >= 0 else []
    objectives += ["gamma"] if least > 0 else []
    objectives += ["regression_l1"] if metric == "mae" else []
    return tuple(objectives)


class Portfolio:
    """The candidates of some kinds for one table: those tried first, the prior before all, and the space of others."""

    def __init__(
        self,
        kinds: Collection[str],
        *,
        cells: int,
        n_outputs: int,
        metric: str = "auto",
        least: float | None = None,
        categories: bool = True,
        numbers: int = 2,
    ) -> None:
        """Leave out what a table of so many cells and scores makes too slow or too large, or its labels do not allow.

        ``metric`` is the policy's, ``least`` the smallest label of a regression, None where labels are classes;
        ``categories`` tells whether there are any among the features, ``numbers`` how many (dates are none).
        """
        elastic = cells * n_outputs <= _MOST_ELASTIC
        forest = n_outputs <= _MOST_FOREST_SCORES
        objectives = () if least is None else _objectives(metric, least)

        def fits(candidate: Candidate) -> bool:
            params = candidate.params
            return (
                (elastic or params.get("penalty") != "elastic")
                and (forest or candidate.method != "forest")
                and (categories or "categories" not in params)
                and ("objective" not in params or params["objective"] in objectives)
                and (params.get("link") != "log" or "poisson" in objectives)
            )

        self.candidates = tuple(c for c in _PORTFOLIO if c.kind in ("prior", *kinds) and fits(c))
        self.space = {
            name: method for name, method in _SPACE.items() if method.kind in kinds and (forest or name != "forest")
        }
        if "linear" in self.space and not elastic:
            self._vary("linear", "penalty", ("l2",))
        self._vary("tree_ensemble", "objective", objectives)
        self._vary("tree_ensemble", "categories", ("means", "sets") if categories else ())
        self._vary("linear", "link", ("identity", "log") if "poisson" in objectives else ())
        for name in ("linear", "tree_ensemble", "neural_network"):
            self._vary(name, "pairs", (False, True) if numbers >= 2 else ())
        for name in ("linear", "neural_network"):
            self._vary(name, "scaling", (STANDARD, QUANTILE) if numbers else ())

    def _vary(self, name: str, param: str, options: tuple[str | bool, ...]) -> None:
        """Let proposals of a method choose between the options, where there are any."""
        if options and name in self.space:
            method = self.space[name]
            self.space[name] = Method(method.kind, {**method.params, param: Choice(options)})

    @property
    def planned(self) -> list[Planned]:
        """The candidates, each with its place in the space."""
        return [Planned(c.kind, c.params, c.method, self._at(c)) for c in self.candidates]

    def _at(self, candidate: Candidate) -> dict[str, Any]:
        said = {**_UNSAID.get(candidate.method, {}), **candidate.params}
        varied = self.space[candidate.method].params if candidate.method in self.space else ()
        return {name: value for name, value in said.items() if name in varied}

    @property
    def patience(self) -> int:
        """Proposals in a row that may bring nothing before the search ends."""
        return _PATIENCE * sum(len(method.params) for method in self.space.values())
