"""Keeping as many instances as there is work: every launch is in our ledger before EC2 hears of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.fleet import NoCapacityError
from trainyard.crashpoints import crashpoint
from trainyard_scheduler.domain.fleet import plan_fleet

if TYPE_CHECKING:
    from trainyard.contracts.fleet import Fleet, LaunchSpec
    from trainyard.contracts.scheduling import Store

_log = logs.get(__name__)


class FleetKeeper:
    """Launches trainers for waiting requests; ending them is the trainers' own business."""

    def __init__(self, store: Store, fleet: Fleet, *, spec: LaunchSpec, fleet_max: int) -> None:
        self._store = store
        self._fleet = fleet
        self._spec = spec
        self._fleet_max = fleet_max

    def step(self) -> int:
        """Compare requests, ledger and instances once, and launch what is missing; return how many launches.

        Raises:
            TransientError: the database or EC2 does not answer; a launch that was asked for stays in the ledger and
                is repeated, under the same id, by the next step.
        """
        with self._store.begin() as records:
            launches = records.launches.open()
            if not launches and not records.requests.open_requests():
                return 0
        known = {launch.id for launch in launches if launch.state == "launched"}
        instances = self._fleet.instances()
        with self._store.begin() as records:
            records.launches.lock()
            # EC2 may have been slow: a launch of another scheduler since then is younger than the list.
            launches = [
                launch if launch.id in known else replace(launch, age=0.0) for launch in records.launches.open()
            ]
            plan = plan_fleet(
                records.requests.open_requests(),
                launches,
                instances,
                fleet_max=self._fleet_max,
                failures=records.launches.failures(),
            )
            if plan.ended:
                records.launches.ended(plan.ended)
                records.journal.announce("fleet.ended", "fleet", {"launches": list(plan.ended)})
            asked = [records.launches.ask(self._spec) for _ in range(plan.new)]
        crashpoint("K16")
        return sum(self._launch(launch_id) for launch_id in (*plan.retried, *asked))

    def _launch(self, launch_id: str) -> bool:
        """Ask EC2 for one launch; the ledger's row stays locked meanwhile, so no other scheduler asks for it too."""
        with self._store.begin() as records:
            launch = records.launches.take(launch_id)
            if launch is None:
                return False
            subject = f"launch/{launch_id}"
            try:
                instance = self._fleet.launch(launch_id, launch.spec)
            except NoCapacityError as e:
                records.launches.failed(launch_id, str(e))
                records.journal.announce("fleet.no_capacity", subject, {"reason": str(e)})
                _log.warning("fleet.no_capacity", launch=launch_id, reason=str(e))
                return False
            crashpoint("K16b")
            records.launches.launched(launch_id, instance.instance_id, instance.instance_type)
            if not instance.alive:
                records.launches.ended([launch_id])
            payload = {"instance_id": instance.instance_id, "instance_type": instance.instance_type}
            records.journal.announce("fleet.launched", subject, payload)
        _log.info("fleet.launched", launch=launch_id, instance=instance.instance_id, type=instance.instance_type)
        return True
