"""Which trials may become the model, in what order candidates are asked for, and how they are blended."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Choice
from trainyard.policy import KINDS
from trainyard_trainer.learning import choosing
from trainyard_trainer.learning.candidates import Portfolio


def trial(number: int, kind: str, loss: float, **metrics: float) -> Trial:
    """Return a finished trial."""
    return Trial(number, kind, {}, {"loss": loss, **metrics}, 1.0, chosen=False)


def test_nothing_worse_than_the_prior_is_chosen() -> None:
    """Whatever the policy's metric says of it; where all are worse, the prior remains."""
    trials = [
        trial(1, "prior", 0.60, accuracy=0.7),
        trial(2, "linear", 0.55, accuracy=0.71),
        trial(3, "tree_ensemble", 0.61, accuracy=0.9),
    ]
    assert choosing.shortlist(trials, "accuracy") == [1, 2]
    assert choosing.shortlist(trials, "auto") == [1, 2]
    assert choosing.shortlist([trials[0], trials[2]], "auto") == [1]


def test_each_kind_has_a_place() -> None:
    """The best of each kind come first, then the best of all, five together."""
    trials = [trial(1, "prior", 1.0), trial(2, "linear", 0.9)]
    trials += [trial(number, "tree_ensemble", 0.1 * number) for number in range(3, 8)]
    assert choosing.shortlist(trials, "auto") == [1, 2, 3, 4, 5]


def test_weights_are_a_blend_only_where_it_helps() -> None:
    """Two that err apart are blended; a copy of the best adds nothing, and all the weight is on one."""
    rng = np.random.default_rng(0)
    labels = rng.normal(size=500)
    one, two = labels + rng.normal(size=500), labels + rng.normal(size=500)
    weights = choosing.weights("regression", "auto", labels, [one, two, labels + 50.0])
    assert weights.sum() == pytest.approx(1.0)
    assert weights[2] == 0
    assert 0.3 < weights[0] < 0.7
    assert choosing.weights("regression", "auto", labels, [one, one]).tolist() == [1.0, 0.0]


def test_an_advantage_is_counted_in_standard_errors() -> None:
    """Of the mean gain of all rows: the same gains on a hundred times the rows are ten times as sure."""
    rng = np.random.default_rng(3)
    labels, prior = rng.normal(size=100), np.zeros(100)
    model = 0.1 * labels + 0.3 * rng.normal(size=100)
    gains = labels**2 - (labels - model) ** 2
    found = choosing.advantage("regression", labels, prior, model)
    assert found == pytest.approx(gains.mean() / (gains.std() / 10.0))
    many = [np.tile(values, 100) for values in (labels, prior, model)]
    assert choosing.advantage("regression", *many) == pytest.approx(10.0 * found)
    assert choosing.advantage("regression", labels, prior, prior) == 0.0
    assert choosing.advantage("regression", np.ones(3), np.zeros(3), np.ones(3)) == np.inf


def test_decisions_are_compared_at_the_best_threshold() -> None:
    """By F1 of a rare class the better ranking wins, though neither model's probability reaches one half."""
    rng = np.random.default_rng(0)
    p = rng.beta(0.6, 9.0, 3_000)
    labels = (rng.random(3_000) < p).astype(np.int64)
    sharp, dull = (np.column_stack([1 - q, q]) for q in (p, np.clip(p + rng.normal(0, 0.1, 3_000), 0.0, 0.45)))
    losses = [choosing.loss("binary", "f1", labels, told) for told in (sharp, dull)]
    assert losses[0] < losses[1] < 1.0
    assert choosing.rank({"loss": 0.5, "f1": 0.4}, "f1") == 0.6
    assert choosing.loss("binary", "f1", labels * 0, sharp) == 1.0


def test_candidates_of_the_kinds_that_were_asked_for() -> None:
    """The prior first, then one of each kind before any variant; other kinds never come, nor are they proposed."""
    portfolio = Portfolio(["linear", "tree_ensemble"], cells=1_000, n_outputs=1)
    planned = portfolio.planned
    assert [one.kind for one in planned[:3]] == ["prior", "linear", "tree_ensemble"]
    assert {one.kind for one in planned} == {"prior", "linear", "tree_ensemble"}
    assert set(portfolio.space) == {"linear", "tree_ensemble", "forest"}


def test_what_is_too_slow_or_too_large_for_a_table() -> None:
    """It is neither tried first nor proposed."""
    large = Portfolio(["linear", "tree_ensemble"], cells=10**8, n_outputs=100)
    assert not [c for c in large.candidates if c.params.get("penalty") == "elastic" or c.method == "forest"]
    assert set(large.space) == {"linear", "tree_ensemble"}
    assert large.space["linear"].params["penalty"] == Choice(("l2",))


@pytest.mark.usefixtures("whole_portfolio")
@pytest.mark.parametrize(
    ("least", "metric", "objectives"),
    [
        (None, "auto", set()),
        (-1.0, "auto", {"regression"}),
        (0.0, "auto", {"regression", "poisson"}),
        (0.5, "mae", {"regression", "poisson", "gamma", "regression_l1"}),
    ],
)
def test_a_regression_minimises_what_its_labels_and_the_metric_allow(
    least: float | None, metric: str, objectives: set[str]
) -> None:
    """A logarithmic link asks for labels that are not negative; both what is tried first and what is proposed."""
    portfolio = Portfolio(["linear", "tree_ensemble"], cells=1_000, n_outputs=1, metric=metric, least=least)
    space = portfolio.space
    tried = {c.params["objective"] for c in portfolio.candidates if "objective" in c.params}
    assert tried == objectives - {"regression"}
    proposed = space["tree_ensemble"].params.get("objective", Choice(()))
    assert isinstance(proposed, Choice)
    assert set(proposed.options) == objectives
    links = [c.params["link"] for c in portfolio.candidates if "link" in c.params]
    assert bool(links) == ("link" in space["linear"].params) == ("poisson" in objectives)


@pytest.mark.usefixtures("whole_portfolio")
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_tried_first_lies_in_the_space(kind: str) -> None:
    """So that proposals learn from all of it: each says where, and every value is one that could be proposed."""
    portfolio = Portfolio([kind], cells=1_000, n_outputs=1)
    assert len(portfolio.planned) >= 4
    for one in portfolio.planned[1:]:
        space = portfolio.space[one.method or ""].params
        assert set(one.at) <= set(space)
        assert set(space) - set(one.at) <= {"min_data_in_leaf"}  # by default it follows the rows
        assert all(value in space[name] for name, value in one.at.items()), one


def test_what_was_pruned_is_never_chosen() -> None:
    """Its figures are of one cut, and it has been fitted on no other."""
    trials = [trial(1, "prior", 1.0), trial(2, "linear", 0.8), replace(trial(3, "linear", 0.1), pruned=True)]
    assert choosing.shortlist(trials, "auto") == [1, 2]
    assert not choosing.worth_going_on(trials, "auto", planned=2, patience=1)


def test_the_bar_is_the_median_of_the_planned() -> None:
    """But the prior; without three of them everything passes."""
    firsts = [trial(number, "linear", 1.0, first_cut=first) for number, first in enumerate([9.0, 1.0, 3.0, 2.0], 1)]
    assert choosing.bar(firsts, planned=4) == 2.0
    assert choosing.bar([*firsts, trial(5, "linear", 1.0, first_cut=0.1)], planned=4) == 2.0
    assert choosing.bar(firsts, planned=3) == math.inf


def test_a_search_ends_when_proposals_bring_nothing() -> None:
    """Whatever is planned is tried; then so many in a row may bring less than a thousandth, and it is over."""
    going = {"planned": 2, "patience": 2}
    trials = [trial(1, "prior", 1.0), trial(2, "linear", 0.8), trial(3, "linear", 0.7), trial(4, "linear", 0.9)]
    assert choosing.worth_going_on(trials, "auto", **going)
    assert not choosing.worth_going_on([*trials, trial(5, "linear", 0.6999)], "auto", **going)
    assert choosing.worth_going_on([*trials, trial(5, "linear", 0.6)], "auto", **going)
    assert not choosing.worth_going_on(trials, "auto", planned=2, patience=0)
