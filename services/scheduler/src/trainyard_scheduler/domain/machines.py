"""What each instance is good for: free, busy, on its way, or only cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.fleet import Instance
    from trainyard.contracts.launches import Launch
    from trainyard.contracts.requests import OpenRequest
    from trainyard.contracts.workers import WorkerRecord

#: EC2's list may lag this long behind a launch that it has answered.
LISTING_LAG_SECONDS = 10.0
#: A trainer speaks every few seconds: silent for this part of the time after which it is ended, it is not relied on.
_UNSURE_PART = 1 / 3
#: Duties whose instance will take the next request.
AVAILABLE = frozenset({"coming", "booting", "free"})


@dataclass(frozen=True)
class Patience:
    """How long an instance may be without a word: until its trainer's first, and since its last, in seconds."""

    boot_seconds: float = 300.0
    silent_seconds: float = 180.0


@dataclass(frozen=True)
class Seat:
    """A place for one training: an instance that is alive, or a launch that will be one.

    Attributes:
        instance_id: None for a launch whose instance does not show yet.
        instance_types: its type, or those that it may become.
        duty: 'coming', 'booting' (no word from its trainer yet), 'free', 'busy', 'quiet' (nobody knows) or 'stranger'
            (not in the ledger).
        worker: its trainer's last word.
        excess: why it must be ended, empty when it may live.
        spot: it is spot capacity, or was asked for as such first and nobody knows yet what it became.
    """

    launch_id: str
    instance_id: str | None
    instance_types: frozenset[str]
    duty: str
    worker: WorkerRecord | None = None
    excess: str = ""
    spot: bool = False

    def suits(self, types: Sequence[str], *, firm: bool) -> bool:
        """Tell whether a request that names these types, or none, may run here; ``firm``: it refuses spot capacity."""
        if firm and self.spot:
            return False
        return not types or not self.instance_types.isdisjoint(types)


@dataclass(frozen=True)
class Roll:
    """All seats, and the launches whose instance is gone, with the reason."""

    seats: tuple[Seat, ...]
    ended: tuple[tuple[str, str], ...]


def call_the_roll(
    launches: Sequence[Launch],
    instances: Sequence[Instance],
    workers: Sequence[WorkerRecord],
    requests: Sequence[OpenRequest],
    *,
    patience: Patience,
    strangers: Mapping[str, float],
) -> Roll:
    """Bring ledger, EC2's list and the trainers' words together.

    ``strangers``: for how many seconds instances that are not in the ledger have been seen already.
    """
    alive = {instance.instance_id: instance for instance in instances if instance.alive}
    states = {instance.instance_id: instance.state for instance in instances}
    latest: dict[str | None, WorkerRecord] = {}
    for worker in sorted(workers, key=lambda w: -w.silent):
        latest[worker.instance_id] = worker
    leased = {request.instance_id for request in requests if request.lease_live}
    leased |= {instance_id for request in requests for instance_id in request.helpers}
    seats: list[Seat] = []
    ended: list[tuple[str, str]] = []
    at_home = set()
    for launch in launches:
        found = _instance_of(launch, alive)
        if found is not None:
            at_home.add(found.instance_id)
            word = latest.get(found.instance_id)
            # Who keeps a lease is alive, whatever else is not heard.
            duty, excess = ("busy", "") if found.instance_id in leased else _duty(launch, word, patience)
            kinds = frozenset({found.instance_type})
            spot = (launch.market or found.market) == "spot"
            seats.append(Seat(launch.id, found.instance_id, kinds, duty, word, excess, spot))
        elif launch.state == "asked" or (launch.instance_id not in states and launch.age <= LISTING_LAG_SECONDS):
            kinds = frozenset(launch.spec.instance_types)
            spot = launch.spec.spot if launch.market is None else launch.market == "spot"
            seats.append(Seat(launch.id, None, kinds, "coming", spot=spot))
        elif launch.instance_id in states:
            ended.append((launch.id, f"EC2 calls it {states[launch.instance_id]}"))
        else:
            ended.append((launch.id, "EC2 does not know it any more"))
    others = (instance for instance in alive.values() if instance.instance_id not in at_home)
    seats += [_stranger(other, latest.get(other.instance_id), strangers, patience) for other in others]
    return Roll(tuple(seats), tuple(ended))


def _instance_of(launch: Launch, alive: Mapping[str, Instance]) -> Instance | None:
    if launch.state == "launched":
        return alive.get(launch.instance_id or "")
    return next((instance for instance in alive.values() if instance.launch_id == launch.id), None)


def _duty(launch: Launch, worker: WorkerRecord | None, patience: Patience) -> tuple[str, str]:
    """Return what an instance without a lease is at, and why it must be ended, if it must."""
    if worker is None:
        if launch.age <= patience.boot_seconds:
            return "booting", ""
        return "quiet", f"its trainer was not seen within {patience.boot_seconds:g} s"
    if worker.silent > patience.silent_seconds:
        return "quiet", f"its trainer has been silent for more than {patience.silent_seconds:g} s"
    if worker.state == "busy":
        return "busy", ""
    if worker.state == "idle" and worker.silent <= patience.silent_seconds * _UNSURE_PART:
        return "free", ""
    return "quiet", ""


def _stranger(
    instance: Instance, worker: WorkerRecord | None, strangers: Mapping[str, float], patience: Patience
) -> Seat:
    known = strangers.get(instance.instance_id, 0.0)
    excess = "it carries our tag but is not in the ledger" if known > patience.boot_seconds else ""
    kinds = frozenset({instance.instance_type})
    return Seat(instance.launch_id, instance.instance_id, kinds, "stranger", worker, excess)
