"""The host's work, one look at a time: instances in, trainers brought in line with them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trainyard import logs
from trainyard.errors import TransientError
from trainyard_ec2host.domain import Life, plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard_ec2host.domain import Machine

_log = logs.get(__name__)


class Cloud(Protocol):
    """The EC2 API. Every method raises :class:`~trainyard.errors.TransientError` when it does not answer."""

    def running(self) -> list[Machine]:
        """Return the running instances of this environment."""
        ...

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances; ids that are unknown or already ended are not an error."""
        ...


class Trainers(Protocol):
    """The trainer processes of this host, by instance id."""

    def lives(self) -> dict[str, Life]:
        """Look at every process and return where it is in its life; one that overstays its time is killed."""
        ...

    def start(self, instance_id: str) -> None:
        """Start the trainer of an instance."""
        ...

    def stop(self, instance_id: str) -> None:
        """Ask a trainer to hand back its work and end."""
        ...

    def forget(self, instance_id: str) -> None:
        """Drop what is kept of a process that has ended."""
        ...

    def sweep(self) -> None:
        """Remove the files of trainers that have ended and are not known any more, as a killed host leaves them."""
        ...


class Metadata(Protocol):
    """What the instances can ask about themselves."""

    def publish(self, machines: Mapping[str, Machine]) -> None:
        """Answer for these instances from now on, and for no others."""
        ...


class Host:
    """Keeps one trainer for each running instance."""

    def __init__(self, cloud: Cloud, trainers: Trainers, metadata: Metadata, clock: Clock) -> None:
        self._cloud = cloud
        self._trainers = trainers
        self._metadata = metadata
        self._clock = clock
        self._well = True

    def step(self) -> None:
        """Look once and act. When EC2 does not answer nothing is started or stopped: silence is not an empty fleet.

        A trainer that this machine cannot start (its disk is full, it has no process to give) is tried at the next
        look: the host's own end would take the other trainers with it.
        """
        lives = self._trainers.lives()
        try:
            machines = {machine.instance_id: machine for machine in self._cloud.running()}
            self._metadata.publish(machines)
            wanted = plan(machines, lives, self._clock.now())
            for instance_id in wanted.start:
                self._trainers.start(instance_id)
            for instance_id in wanted.stop:
                self._trainers.stop(instance_id)
            for instance_id in wanted.forget:
                self._trainers.forget(instance_id)
            if wanted.terminate:
                self._cloud.terminate(wanted.terminate)
            self._trainers.sweep()
            self._goes_well(True)
        except (TransientError, OSError) as e:
            self._goes_well(False, str(e))

    def stop(self, deadline_seconds: float) -> None:
        """Stop every trainer, wait for them and drop their files; the instances get new trainers from the next host."""
        deadline = self._clock.monotonic() + deadline_seconds
        for instance_id in self._trainers.lives():
            self._trainers.stop(instance_id)
        over = {Life.ENDED, Life.STOPPED}
        while live := [i for i, life in self._trainers.lives().items() if life not in over]:
            if self._clock.monotonic() > deadline:
                _log.error("trainers.left", instances=" ".join(live))
                break
            self._clock.sleep(0.05)
        for instance_id in [i for i, life in self._trainers.lives().items() if life in over]:
            self._trainers.forget(instance_id)

    def _goes_well(self, well: bool, reason: str = "") -> None:
        """Log when looks begin to fail and when they succeed again, not every look between."""
        if well != self._well:
            self._well = well
            if well:
                _log.info("host.recovered")
            else:
                _log.warning("host.hindered", reason=reason)
