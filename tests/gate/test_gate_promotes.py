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
    """Of A/A retrains at most 5 % are promoted, of gains of 0.02 AUC on 5,000 rows at least 80 %."""
    found = []
    for world in simulation.WORLDS:
        if world.needed is None:
            continue
        tally = simulation.Tally()
        for numbers in simulation.batches(world, simulation.CI):
            tally.add(simulation.simulate(world, simulation.weight_of(world), numbers))
        found.append((world, tally))
    assert {tally.done for _, tally in found} == set(simulation.CI)
    assert simulation.wrong(found, surely=True) == [], "\n".join(simulation.table(found))


def test_a_gate_that_lets_everything_pass_is_found_out(simulation) -> None:
    """The judgement of the figures fails where too much or too little is promoted."""
    loose, strict = (simulation.Tally(done=100) for _ in range(2))
    retrains, gains = (
        next(world for world in simulation.WORLDS if bool(world.gain) is gained) for gained in (False, True)
    )
    loose.promoted.update({"roc_auc": 6, "log_loss": 5})
    strict.promoted.update({"roc_auc": 79, "log_loss": 80})
    found = [(retrains, loose), (gains, strict)]
    assert len(simulation.wrong(found, surely=False)) == 2
    loose.promoted["roc_auc"], strict.promoted["roc_auc"] = 15, 60
    assert len(simulation.wrong(found, surely=True)) == 2


def test_what_was_simulated_is_not_simulated_again(simulation, tmp_path, monkeypatch) -> None:
    """A finished batch is read back as it was; other sources do not go on from it."""
    world, numbers = simulation.WORLDS[0], range(2)
    first = simulation.Kept(tmp_path / "kept")(world, 0.0, numbers)
    again = simulation.Kept(tmp_path / "kept")
    monkeypatch.setattr(simulation, "SOURCES", ("tests/gate/test_gate_promotes.py",))
    changed = simulation.Kept(tmp_path / "kept")
    monkeypatch.setattr(simulation, "simulate", lambda *_: simulation.Tally(done=7))
    assert again(world, 0.0, numbers) == first
    assert changed(world, 0.0, numbers).done == 7
