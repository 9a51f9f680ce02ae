"""The accuracy benchmark's figures: scores, ranks, verdicts, and what is run again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks.models import catalog, command, runs, scores
from benchmarks.models.page import page, verdict
from benchmarks.models.table import ranked, standard_error, tabulate

if TYPE_CHECKING:
    from pathlib import Path

METHODS = ("ours", "flaml", "lightgbm")


def results(metrics: dict[str, list[float]], dataset: str = "credit", budget: float = 30.0) -> list[dict[str, Any]]:
    """Return noted results: for each method the metric of each seed."""
    rest = {"seconds": 20.0, "ended": "by itself", "load": 1.0, "jobs": 1, "version": "v"}
    return [
        {"dataset": dataset, "seed": seed, "budget": budget, "method": method, "metric": value, **rest}
        for method, values in metrics.items()
        for seed, value in enumerate(values)
    ]


def test_ranks_share_places() -> None:
    """The least is first; equal means share the mean of the places that they take."""
    assert ranked({"a": 0.3, "b": 0.1, "c": 0.2}) == {"a": 3.0, "b": 1.0, "c": 2.0}
    assert ranked({"a": 0.1, "b": 0.1, "c": 0.2}) == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_standard_error_of_one_is_unknown() -> None:
    """The standard error is that of the mean; one seed tells nothing, so no difference exceeds it."""
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
    assert math.isinf(standard_error([1.0]))
    table = tabulate(results({"ours": [2], "flaml": [1], "lightgbm": [2]}), 30, ["credit"], METHODS, 1)
    assert "not to be told" in verdict(table)


def test_worse_than_flaml_counts_beyond_the_noise_only() -> None:
    """A loss within the standard error of the paired difference is none; a small one beyond it is."""
    within = tabulate(
        results({"ours": [1.0, 1.3], "flaml": [1.1, 1.1], "lightgbm": [2, 2]}), 30, ["credit"], METHODS, 2
    )
    beyond = tabulate(
        results({"ours": [1.02, 2.03], "flaml": [1.0, 2.0], "lightgbm": [2, 2]}), 30, ["credit"], METHODS, 2
    )
    assert not within.rows[0].lost
    assert beyond.rows[0].lost
    assert "credit by 0.025 ± 0.005" in verdict(beyond)


def test_leading_means_alone_at_the_top() -> None:
    """A shared best mean rank is not the best of all."""
    table = tabulate(results({"ours": [1, 1], "flaml": [1, 1], "lightgbm": [2, 2]}), 30, ["credit"], METHODS, 2)
    assert not table.leads
    table = tabulate(results({"ours": [0.9, 1], "flaml": [1, 1], "lightgbm": [2, 2]}), 30, ["credit"], METHODS, 2)
    assert table.leads


def test_incomplete_tables_are_named_and_left_out() -> None:
    """A table that lacks a seed of a method, or was run with another budget, is not judged."""
    found = results({"ours": [1, 1], "flaml": [1], "lightgbm": [2, 2]})
    table = tabulate(found, 30, ["credit", "bikes"], METHODS, 2)
    assert table.partial == ("credit", "bikes")
    assert not table.leads
    assert tabulate(found, 120, ["credit"], METHODS, 1).partial == ("credit",)
    assert tabulate(found, 30, ["credit"], METHODS, 1).rows


def test_the_page_says_how_it_was_made() -> None:
    """Command, commit, every method's figures and the verdict are on the page."""
    found = results({"ours": [0.9, 1], "flaml": [1, 1.1], "lightgbm": [2, 2]})
    table = tabulate(found, 30, ["credit"], METHODS, 2)
    text = page(table, found, catalog.load(), {"command": "the command", "commit": "abc", "seeds": "2"})
    for words in (
        "`the command` at commit abc",
        "| credit | log_loss | **0.95** ± 0.05 |",
        "**yes**",
        "| flaml | 20.0",
    ):
        assert words in text


def test_scores() -> None:
    """Log-loss with the gate's floor and the AUC for classes, RMSE for numbers; nonsense is no answer."""
    truth = np.array([0, 1, 1])
    certain = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = scores.score(truth, certain, 2)
    assert found["metric"] == pytest.approx(-math.log(1e-6) / 3)
    assert found["auc"] == pytest.approx(0.75)
    assert scores.score(np.array([1.0, 3.0]), np.array([2.0, 3.0]), 0) == {"metric": pytest.approx(math.sqrt(0.5))}
    assert scores.prior(truth, 3, 2).tolist() == [[1 / 3, 2 / 3, 0.0]] * 2
    with pytest.raises(ValueError, match="shape"):
        scores.score(truth, certain[:2], 2)
    with pytest.raises(ValueError, match="finite"):
        scores.score(truth, np.full((3, 2), np.nan), 2)


def test_what_is_noted_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result counts for its own code version alone; a line that was cut off does not count."""
    monkeypatch.setattr(catalog, "STATE", tmp_path)
    listed = catalog.load()
    asked = command.parsed(["--datasets", "credit", "--seeds", "2", "--budget", "30"])
    plan = command.planned(asked)
    assert len(plan) == 2 * len(runs.METHODS)
    assert runs.missing(plan, runs.noted(), listed) == plan
    first, second = plan[:2]
    lines = []
    for run, version in ((first, runs.version_of(first.method, listed["credit"])), (second, "of another state")):
        lines.append(json.dumps({"dataset": run.dataset, "seed": run.seed, "budget": run.budget, "method": run.method}))
        lines[-1] = lines[-1][:-1] + json.dumps({"version": version, "metric": 1.0}).replace("{", ", ")
    runs.results_file().write_text("\n".join([*lines, lines[0][:30]]))
    assert runs.missing(plan, runs.noted(), listed) == plan[1:]


def test_versions_differ_by_method() -> None:
    """What ours depends on is not what the peers depend on: a change of the trainer repeats no peer's run."""
    credit = catalog.load()["credit"]
    assert runs.version_of("flaml", credit) == runs.version_of("lightgbm", credit) != runs.version_of("ours", credit)
    for change in ({"sha256": "0" * 64}, {"split": "time"}):
        assert runs.version_of("flaml", credit) != runs.version_of("flaml", replace(credit, **change))


def test_quick_is_two_tables_of_thirty_seconds() -> None:
    """The short version stays short, unless other tables are named."""
    plan = command.planned(command.parsed(["--quick"]))
    assert {run.dataset for run in plan} == set(command.QUICK_DATASETS)
    assert {run.budget for run in plan} == {30.0}
    assert {run.dataset for run in command.planned(command.parsed(["--quick", "--datasets", "digits"]))} == {"digits"}


@pytest.mark.parametrize("wrong", [("--datasets", "nothing"), ("--seeds", "6"), ("--seeds", "0"), ("--budget", "soon")])
def test_wrong_arguments_are_refused(wrong: tuple[str, str]) -> None:
    """What cannot be run ends the command before anything is."""
    with pytest.raises(SystemExit):
        command.parsed(list(wrong))
