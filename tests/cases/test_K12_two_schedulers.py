"""Two schedulers work on one database, and the clock of one of them is an hour ahead.

Set-up: two processes with all loops, a short tick, and rows that make the policy fire. Seen: one request, one decision
that fired, and one message that counts, because the database judges and keeps the time.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.cases.yard import UNHURRIED

from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.yard import Yard

TICK_SECONDS = 0.2


def test_one_request(yard: Yard) -> None:
    """Three bursts of rows, each enough to fire: while the first request is open there is no other."""
    yard.make_model(min_new_rows=50)
    processes = [
        yard.start(module, TRAINYARD_POLICY_TICK_SECONDS=str(TICK_SECONDS), TRAINYARD_FLEET_MAX="0")
        for module in ("trainyard_scheduler.main", "tests.cases.hour_ahead_scheduler")
    ]
    wait_until(lambda: yard.log().count("scheduler.started") == 2, "two schedulers")
    for burst in range(3):
        yard.add_rows(60, seed=burst)
    wait_until(lambda: yard.rows("SELECT 1 FROM core.training_request WHERE send_count > 0"), "the request")
    evaluated = yard.rows("SELECT count(*) AS n FROM core.decision")[0]["n"]
    yard.add_rows(60, seed=9)
    wait_until(lambda: yard.rows("SELECT count(*) AS n FROM core.decision")[0]["n"] > evaluated, "another decision")
    (request,) = yard.rows(
        "SELECT reason, created_at > now() + interval '1 minute' AS ahead FROM core.training_request"
    )
    assert request == {"reason": "min_new_rows", "ahead": False}
    (fired,) = yard.rows("SELECT at > now() + interval '1 minute' AS ahead FROM core.decision WHERE fired")
    assert fired == {"ahead": False}
    # Once the request is done the rows behind its W make another one, rightly: nobody is to ask for it here.
    for process in processes:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in processes] == [0, 0]
    yard.work_off(yard.trainer(lease_seconds=UNHURRIED))
    assert len(yard.versions()) == 1
