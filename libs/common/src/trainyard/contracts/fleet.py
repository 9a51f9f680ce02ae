"""The training fleet: instances that are launched for a request and end themselves. EC2 is the implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoCapacityError(TrainyardError):
    """The provider has no instance of any asked type just now; the message keeps its own words."""


class LaunchRefusedError(TrainyardError):
    """The provider refuses for a reason that does not pass by itself: a permission, a quota, a bad template."""


@dataclass(frozen=True)
class LaunchSpec:
    """What to launch: instance types in order of preference.

    Attributes:
        spot: try spot capacity of every type first.
        on_demand: then, or without ``spot`` at once, take on-demand capacity.
    """

    instance_types: tuple[str, ...]
    spot: bool
    on_demand: bool = True

    @property
    def markets(self) -> tuple[str, ...]:
        """The markets to try, in order."""
        return (*(("spot",) if self.spot else ()), *(("on-demand",) if self.on_demand else ()))


@dataclass(frozen=True)
class Instance:
    """An instance as the provider reports it.

    Attributes:
        state: EC2's word for it.
        zone: availability zone, None while it is not known.
        market: 'spot' or 'on-demand', None where the provider does not say.
    """

    instance_id: str
    launch_id: str
    instance_type: str
    state: str
    zone: str | None = None
    market: str | None = None

    @property
    def alive(self) -> bool:
        """True while the instance is, or is about to be, running."""
        return self.state in {"pending", "running"}


class Fleet(Protocol):
    """Launch, look and end. Every method raises :class:`~trainyard.errors.TransientError` when EC2 does not answer."""

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance tagged with ``launch_id``; a launch id that already has an instance returns that one.

        Raises:
            NoCapacityError: nothing of the asked types can be had just now, in any asked market.
            LaunchRefusedError: nothing can be had until somebody changes something.
        """
        ...

    def instances(self) -> list[Instance]:
        """Return every instance that carries this environment's tag, recently ended ones included."""
        ...

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances; ids that are unknown or already ended are not an error."""
        ...


class Prices(Protocol):
    """What an instance costs."""

    def usd_per_hour(self, instance_type: str, market: str | None, zone: str | None) -> float | None:
        """Return US dollars per hour, None when nobody knows; a provider that does not answer raises nothing."""
        ...
