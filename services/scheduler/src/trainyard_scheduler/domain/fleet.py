"""Who should be running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.fleet import Instance
    from trainyard.contracts.launches import Failures, Launch
    from trainyard.contracts.requests import OpenRequest

#: EC2's list may lag this long behind a launch that it has answered.
LISTING_LAG_SECONDS = 10.0
_MAX_LAUNCH_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class FleetPlan:
    """What to do about the fleet: launches whose instance is gone, launches to ask EC2 for again, and new ones."""

    ended: tuple[str, ...]
    retried: tuple[str, ...]
    new: int


def plan_fleet(
    requests: Sequence[OpenRequest],
    launches: Sequence[Launch],
    instances: Sequence[Instance],
    *,
    fleet_max: int,
    failures: Failures,
) -> FleetPlan:
    """Decide who should be running: one instance for each request that nobody works on, besides the busy ones.

    After launches that failed for lack of capacity no new one is asked for during 2, 4, 8 ... 60 seconds.
    """
    alive = {instance.instance_id for instance in instances if instance.alive}
    dead = {instance.instance_id for instance in instances} - alive
    ended, coming = [], 0
    for launch in launches:
        if launch.state == "asked":
            coming += not any(i.alive and i.launch_id == launch.id for i in instances)
        elif launch.instance_id not in alive:
            if launch.instance_id in dead or launch.age > LISTING_LAG_SECONDS:
                ended.append(launch.id)
            else:
                coming += 1
    capacity = len(alive) + coming
    busy = len({request.instance_id for request in requests if request.lease_live} & alive)
    waiting = sum(not request.lease_live for request in requests)
    new = max(0, min(waiting - (capacity - busy), fleet_max - capacity))
    if failures.count and failures.seconds_ago < min(2.0 ** min(failures.count, 30), _MAX_LAUNCH_PAUSE_SECONDS):
        new = 0
    return FleetPlan(tuple(ended), tuple(launch.id for launch in launches if launch.state == "asked"), new)
