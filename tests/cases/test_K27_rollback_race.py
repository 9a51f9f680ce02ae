"""Two operators roll back while a worker promotes.

Set-up: version 2 is champion, version 1 was before; both operators have seen that, and so has the worker, which
publishes a better version 3; all three move in the same moment. Seen: one of them wins; the others hear 409
``conflict``, or publish without promotion and say why; the alias's history is one line without gaps.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.cases.yard import BY, MODEL, UNHURRIED, learn

from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.errors import ServiceError
from trainyard_scheduler.use_cases.versions import roll_back
from trainyard_trainer import workdir

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cases.yard import Yard

    from trainyard.contracts.runs import Published

ROUNDS = 3


def train_a_better_one(directory: Path) -> int:
    """Train, and let the version pass its gate whatever the champion does."""
    code = learn(directory)
    report = workdir.read_json(directory, workdir.REPORT)
    report["passed"] = report["gate"]["passed"] = True
    report["gate"]["summary"] = "passed: better"
    (directory / workdir.REPORT).write_text(json.dumps(report))
    return code


def champion_seq(yard: Yard) -> int:
    """Return where the alias stands."""
    return int(yard.rows("SELECT seq FROM core.alias WHERE name = 'champion'")[0]["seq"])


@pytest.mark.parametrize("_round", range(ROUNDS))
def test_one_line_of_history(yard: Yard, _round: int) -> None:
    """Exactly one of the three moves the champion, and the last deployment says where it stands."""
    for seed in (1, 2):
        yard.add_rows(20, seed=seed)
        yard.request()
        yard.work_off(yard.trainer(train_a_better_one, lease_seconds=UNHURRIED))
    seen = champion_seq(yard)
    barrier = threading.Barrier(3)
    published: list[Published] = []

    class AtOnce(PostgresRuns):
        """The records; this publication starts together with the operators' rollbacks."""

        def publish(self, *given: Any, **named: Any) -> Published:
            barrier.wait(10)
            published.append(super().publish(*given, **named))
            return published[-1]

    def operate(reason: str) -> str:
        barrier.wait(10)
        try:
            with yard.store.begin() as records:
                roll_back(records, MODEL, reason, BY, expected_seq=seen)
        except ServiceError as e:
            return e.code
        return "moved"

    yard.add_rows(20, seed=3)
    yard.request()
    worker = yard.trainer(train_a_better_one, runs=AtOnce(yard.engine), lease_seconds=UNHURRIED)
    with ThreadPoolExecutor(2) as operators:
        answers = [operators.submit(operate, name) for name in ("first operator", "second operator")]
        worker.step()
        heard = [answer.result(20) for answer in answers]
    (version,) = published
    moves = heard.count("moved") + version.promoted
    assert moves == 1
    assert sorted(heard)[: 2 - heard.count("moved")] == ["conflict"] * (2 - heard.count("moved"))
    assert version.promoted or "the alias was moved" in version.words
    history = yard.rows(
        "SELECT version, previous_version, seq FROM core.deployment WHERE alias = 'champion' ORDER BY id"
    )
    assert [move["seq"] for move in history] == list(range(1, seen + 2))
    assert [move["previous_version"] for move in history] == [None, *(move["version"] for move in history[:-1])]
    (alias,) = yard.rows("SELECT version, seq FROM core.alias WHERE name = 'champion'")
    assert alias == {"version": 3 if version.promoted else 1, "seq": seen + 1}
