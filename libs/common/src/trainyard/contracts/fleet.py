"""The training fleet: instances that are launched for a request and end themselves. EC2 is the implementation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Sequence


class NoCapacityError(TrainyardError):
    """The provider has no instance of any asked type just now; the message keeps its own words."""


@dataclass(frozen=True)
class LaunchSpec:
    """What to launch: instance types in order of preference, spot first or on-demand only."""

    instance_types: tuple[str, ...]
    spot: bool


@dataclass(frozen=True)
class Instance:
    """An instance as the provider reports it. ``state`` is EC2's word for it."""

    instance_id: str
    launch_id: str
    instance_type: str
    state: str

    @property
    def alive(self) -> bool:
        """True while the instance is, or is about to be, running."""
        return self.state in {"pending", "running"}


class Fleet(Protocol):
    """Launch, look and end. Every method raises :class:`~trainyard.errors.TransientError` when EC2 does not answer."""

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch one instance tagged with ``launch_id``; a launch id that already has an instance returns that one.

        Raises:
            NoCapacityError: nothing of the asked types can be had, spot or on-demand.
        """
        ...

    def instances(self) -> list[Instance]:
        """Return every instance that carries this environment's tag, recently ended ones included."""
        ...

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances; ids that are unknown or already ended are not an error."""
        ...
