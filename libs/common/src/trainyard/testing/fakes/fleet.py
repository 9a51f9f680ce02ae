"""A fleet in memory."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard.contracts.fleet import Fleet, Instance, NoCapacityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.fleet import LaunchSpec


class MemoryFleet(Fleet):
    """Instances run as soon as they are launched, and are gone as soon as they are terminated.

    ``no_capacity`` holds the instance types that cannot be had, spot or on-demand; ``no_spot`` those that only cannot
    be had as spot. ``spot`` names the instances that were launched as spot. ``outage`` is raised by every call while
    it is set.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[str, Instance] = {}
        self._numbers = itertools.count(1)
        self.no_capacity: set[str] = set()
        self.no_spot: set[str] = set()
        self.spot: set[str] = set()
        self.outage: Exception | None = None

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance of the first type that can be had."""
        self._answer()
        with self._lock:
            for instance in self._instances.values():
                if instance.launch_id == launch_id:
                    return instance
            for spot in (True, False) if spec.spot else (False,):
                for instance_type in spec.instance_types:
                    if instance_type not in self.no_capacity | (self.no_spot if spot else set()):
                        return self._add(launch_id, instance_type, spot=spot)
        raise NoCapacityError(f"launch {launch_id}: InsufficientInstanceCapacity: {', '.join(spec.instance_types)}")

    def instances(self) -> list[Instance]:
        """Return every instance, ended ones included."""
        self._answer()
        with self._lock:
            return list(self._instances.values())

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances."""
        self._answer()
        with self._lock:
            for instance_id in set(instance_ids) & set(self._instances):
                self._instances[instance_id] = replace(self._instances[instance_id], state="terminated")

    def forget(self) -> None:
        """Lose every instance, as an emulator does that was killed."""
        with self._lock:
            self._instances.clear()

    def _add(self, launch_id: str, instance_type: str, *, spot: bool) -> Instance:
        instance = Instance(f"i-{next(self._numbers):017x}", launch_id, instance_type, "running")
        self._instances[instance.instance_id] = instance
        if spot:
            self.spot.add(instance.instance_id)
        return instance

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage
