"""What the host decides: which trainers start, stop, or take their instance with them (pure)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

#: EC2 gives a spot instance two minutes; the tag lets a test give less
INTERRUPT_TAG = "trainyard:interrupt-at"


@dataclass(frozen=True)
class Machine:
    """An instance that the EC2 API calls running. ``interrupt_at``: when its spot capacity is taken back, if ever."""

    instance_id: str
    instance_type: str
    image_id: str
    zone: str
    private_ip: str
    spot: bool
    interrupt_at: datetime | None


class Life(enum.Enum):
    """Where a trainer process is in its life."""

    RUNNING = "running"
    #: told to stop by us
    STOPPING = "stopping"
    #: left behind by a host that was killed; it was told to stop by the kernel
    ORPHANED = "orphaned"
    #: ended by itself
    ENDED = "ended"
    #: ended after it was told to
    STOPPED = "stopped"


@dataclass(frozen=True)
class Plan:
    """What to do now, as instance ids."""

    start: tuple[str, ...]
    stop: tuple[str, ...]
    forget: tuple[str, ...]
    terminate: tuple[str, ...]


def plan(machines: Mapping[str, Machine], trainers: Mapping[str, Life], now: datetime) -> Plan:
    """Return what brings the trainers in line with the instances.

    An instance gets one trainer in its life. A trainer that ends by itself takes its instance with it, whatever its
    exit code: a machine without its program is only cost. An instance whose trainer was lost with a killed host gets
    another one, but not before the old one has gone.
    """
    ended = {i for i, life in trainers.items() if life is Life.ENDED}
    stopped = {i for i, life in trainers.items() if life is Life.STOPPED}
    due = {i for i, m in machines.items() if m.interrupt_at is not None and m.interrupt_at <= now}
    return Plan(
        start=tuple(i for i in machines if i not in trainers and i not in due),
        stop=tuple(i for i, life in trainers.items() if life is Life.RUNNING and i not in machines),
        forget=tuple(sorted(stopped | (ended - machines.keys()))),
        terminate=tuple(sorted((ended & machines.keys()) | due)),
    )
