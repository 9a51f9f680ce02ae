"""The gate at its defaults, in the size of CI; `make gate-evidence` is the full size."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def simulation() -> Any:
    """Return the program beside this file."""
    spec = importlib.util.spec_from_file_location("gate_simulation", Path(__file__).with_name("simulate.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_retrains_that_are_no_better_stay_out_and_true_gains_get_in(simulation) -> None:
    """Of A/A retrains at most 5 % are promoted, of gains of 0.02 AUC on 5,000 rows at least 80 %, by either metric."""
    found = [simulation.simulate(*job) for job in simulation.jobs(*simulation.CI)]
    assert [tally.done for tally in found] == [simulation.CI[0], simulation.CI[0], simulation.CI[1]]
    assert simulation.wrong(found, surely=True) == [], "\n".join(simulation.table(found))


def test_a_gate_that_lets_everything_pass_is_found_out(simulation) -> None:
    """The judgement of the figures fails where too much or too little is promoted."""
    loose, strict = simulation.Tally("A/A retrain", 1_000, done=100), simulation.Tally("true gain", 5_000, done=100)
    loose.promoted.update({"roc_auc": 6, "log_loss": 5})
    strict.promoted.update({"roc_auc": 79, "log_loss": 80})
    assert len(simulation.wrong([loose, strict], surely=False)) == 2
    loose.promoted["roc_auc"], strict.promoted["roc_auc"] = 15, 60
    assert len(simulation.wrong([loose, strict], surely=True)) == 2
