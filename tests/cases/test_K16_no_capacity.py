"""EC2 has no capacity for ten minutes.

Set-up: every CreateFleet is refused, spot and on-demand alike, while a request waits; instead of waiting, everything in
the ledger is made older, two minutes at a time. Seen: the request stays queued, each launch tries spot, then on-demand,
failures are recorded and announced, the pauses between them grow to a minute and no further, and the first launch after
capacity is back gets an instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.cases.conftest import scheduler
from tests.cases.yard import UNHURRIED

from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.testing.processes import wait_until
from trainyard_scheduler import bootstrap

if TYPE_CHECKING:
    import pytest
    from tests.cases.yard import Yard

STEPS, STEP_MINUTES = 5, 2
#: One launch for each step, and what a slow machine has time for beside: the first pauses are of 2, 4 and 8 s.
MOST_LAUNCHES = STEPS + 4


class Market:
    """What EC2 answers to CreateFleet: a refusal while ``empty``; ``asked`` lists the market of each call."""

    def __init__(self) -> None:
        self.empty = True
        self.asked: list[str] = []

    def answer(self, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]] | None:
        """Stand in for the call when there is no capacity (botocore's ``before-call``)."""
        body = str(params["body"])
        self.asked.append("spot" if "'spot'" in body else "on-demand")
        if not self.empty:
            return None
        error = {"ErrorCode": "InsufficientInstanceCapacity", "ErrorMessage": "there is none"}
        return _Http(), {"Errors": [error], "Instances": [], "ResponseMetadata": {"HTTPStatusCode": 200}}


class _Http:
    status_code = 200


def failures(yard: Yard) -> int:
    """Return how many launches EC2 has refused."""
    return len(yard.rows("SELECT 1 FROM core.launch WHERE state = 'failed'"))


def let_time_pass(yard: Yard) -> None:
    """Make everything in the fleet's ledger two minutes older."""
    step = f"interval '{STEP_MINUTES} minutes'"
    yard.execute(f"UPDATE core.launch SET created_at = created_at - {step}, ended_at = ended_at - {step}")


def test_ten_minutes(own_fleet: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, paused, asked again, and served in the end."""
    yard, market = own_fleet, Market()

    class Scarce(Ec2Fleet):
        """The fleet on the emulator, in a region without machines."""

        def __init__(self, client: Any, *given: Any, **named: Any) -> None:
            client.meta.events.register("before-call.ec2.CreateFleet", market.answer)
            super().__init__(client, *given, **named)

    monkeypatch.setattr(bootstrap, "Ec2Fleet", Scarce)
    with scheduler(yard, TRAINYARD_FLEET_MAX="1"):
        request_id = yard.ask()
        wait_until(lambda: failures(yard) > 0, "the first refusal")
        for _ in range(STEPS):
            before = failures(yard)
            let_time_pass(yard)
            wait_until(lambda before=before: failures(yard) > before, "the next try")
        assert failures(yard) <= MOST_LAUNCHES
        assert yard.row(request_id)["state"] == "queued"
        assert set(market.asked) == {"spot", "on-demand"}
        events = yard.rows("SELECT payload FROM core.event WHERE kind = 'fleet.no_capacity'")
        assert "InsufficientInstanceCapacity" in str(events[0]["payload"])
        market.empty = False
        let_time_pass(yard)
        wait_until(lambda: yard.rows("SELECT 1 FROM core.launch WHERE state = 'launched'"), "an instance")
    yard.work_off(yard.trainer(lease_seconds=UNHURRIED))
    assert yard.row(request_id)["state"] == "done"
