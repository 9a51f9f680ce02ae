"""A request arrives while the last worker is on its way out.

Set-up: one instance; its worker has found queue and database empty and is about to end it, when a request is made.
Seen: the request keeps the wanted number of instances at one, a new one is launched, and its worker does the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.cases.conftest import scheduler
from tests.cases.yard import UNHURRIED

from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.testing.processes import wait_until

if TYPE_CHECKING:
    from tests.cases.yard import Yard

#: It must be picked up within three minutes; this is far less.
PICKED_UP_SECONDS = 60


def test_picked_up(own_fleet: Yard) -> None:
    """The first instance ends, a second one comes, and both requests are done."""
    yard = own_fleet
    fleet = Ec2Fleet(yard.clients.ec2, yard.config.env)
    late: list[str] = []

    class AskedTooLate(PostgresRuns):
        """The records; right after the look that found nothing open, somebody asks for a training."""

        def open_requests(self, instance_type: str | None = None, instance_id: str | None = None) -> int:
            found = super().open_requests(instance_type, instance_id)
            if found == 0 and not late:
                yard.add_rows(30, seed=5)
                late.append(yard.ask())
            return found

    def alive() -> list[str]:
        return [instance.instance_id for instance in fleet.instances() if instance.alive]

    with scheduler(yard, TRAINYARD_FLEET_MAX="1"):
        early = yard.ask()
        wait_until(lambda: len(alive()) == 1, "the first instance")
        (first,) = alive()
        leaving = yard.trainer(runs=AskedTooLate(yard.engine), instance_id=first, lease_seconds=UNHURRIED)
        leaving.run()
        assert yard.row(early)["state"] == "done"
        assert first not in alive()
        wait_until(lambda: len(alive()) == 1, "another instance", seconds=PICKED_UP_SECONDS)
        (second,) = alive()
        yard.trainer(name="second", instance_id=second, lease_seconds=UNHURRIED).run()
    assert yard.row(late[0])["state"] == "done"
    assert [run["instance_id"] for run in yard.runs(early) + yard.runs(late[0])] == [first, second]
