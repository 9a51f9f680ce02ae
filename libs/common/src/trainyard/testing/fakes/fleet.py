"""A fleet in memory, and prices."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from trainyard.contracts.fleet import Fleet, Instance, LaunchRefusedError, NoCapacityError, Prices

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.fleet import LaunchSpec

_ZONE = "us-east-1a"


class MemoryFleet(Fleet):
    """Instances run as soon as they are launched, and are gone as soon as they are terminated.

    ``no_capacity`` holds the instance types that cannot be had, spot or on-demand; ``no_spot`` those that only cannot
    be had as spot. ``spot`` names the instances that were launched as spot. ``refusal``, while it is set, is why
    nothing is launched. ``outage`` is raised by every call while it is set. ``asked`` are all launches, as asked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._instances: dict[str, Instance] = {}
        self._numbers = itertools.count(1)
        self.no_capacity: set[str] = set()
        self.no_spot: set[str] = set()
        self.spot: set[str] = set()
        self.refusal: str | None = None
        self.outage: Exception | None = None
        self.asked: list[tuple[str, LaunchSpec]] = []

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance of the first type that can be had."""
        self._answer()
        self.asked.append((launch_id, spec))
        with self._lock:
            for instance in self._instances.values():
                if instance.launch_id == launch_id:
                    return instance
            if self.refusal is not None:
                raise LaunchRefusedError(f"launch {launch_id}: {self.refusal}")
            for market in spec.markets:
                for instance_type in spec.instance_types:
                    if instance_type not in self.no_capacity | (self.no_spot if market == "spot" else set()):
                        return self.add(launch_id, instance_type, market=market)
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

    def add(self, launch_id: str, instance_type: str, *, market: str) -> Instance:
        """Let an instance run, whoever launched it."""
        instance = Instance(f"i-{next(self._numbers):017x}", launch_id, instance_type, "running", _ZONE, market)
        self._instances[instance.instance_id] = instance
        if market == "spot":
            self.spot.add(instance.instance_id)
        return instance

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage


class FixedPrices(Prices):
    """The prices that a test says, whatever market and zone."""

    def __init__(self, usd_per_hour: Mapping[str, float]) -> None:
        self._usd_per_hour = usd_per_hour

    def usd_per_hour(self, instance_type: str, market: str | None, zone: str | None) -> float | None:  # noqa: ARG002
        """Return the price of the type."""
        return self._usd_per_hour.get(instance_type)
