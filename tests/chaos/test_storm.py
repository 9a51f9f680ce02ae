"""Three hundred requests through a queue that lies, twenty-five kills and a database that goes away."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
from storm import Plan, run_storm

if TYPE_CHECKING:
    from pathlib import Path

    from report import Report

_REQUESTS, _KILLS, _WORKERS = 300, 25, 5


@pytest.mark.timeout(540)
def test_storm(tmp_path: Path, capfd: pytest.CaptureFixture[str], report: Report) -> None:
    """Nothing is lost, published twice or stuck; the doctor is content. ``SEED`` in the environment repeats a plan."""
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(2**31))
    with capfd.disabled():
        print(f"\nSEED={seed}", flush=True)
    figures = run_storm(Plan.draw(seed, _REQUESTS, _KILLS, _WORKERS), tmp_path / "storm")
    report.storm = figures
    assert figures["clean"], figures
    assert figures["kills"] == _KILLS


def test_a_seed_is_a_plan() -> None:
    """The same seed gives the same plan of faults; another seed another one."""
    assert Plan.draw(1, 50, 5, 5) == Plan.draw(1, 50, 5, 5)
    assert Plan.draw(1, 50, 5, 5) != Plan.draw(2, 50, 5, 5)
