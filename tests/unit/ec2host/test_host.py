"""What the EC2 host decides, over a pretended cloud and pretended trainers."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from trainyard.clock import ManualClock
from trainyard.errors import TransientError
from trainyard_ec2host.domain import Life, Machine
from trainyard_ec2host.use_cases import Host
from trainyard_ec2host.web import MetadataStore

if TYPE_CHECKING:
    from collections.abc import Sequence


def machine(instance_id: str) -> Machine:
    """Return a running instance."""
    return Machine(instance_id, "c7i.large", "ami-1", "us-east-1a", "10.0.0.5", spot=True, interrupt_at=None)


class FakeCloud:
    """Instances that the test adds and removes; silent on demand."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {}
        self.silent = False

    def add(self, instance_id: str) -> None:
        """Launch an instance."""
        self.machines[instance_id] = machine(instance_id)

    def running(self) -> list[Machine]:
        """Return the instances."""
        if self.silent:
            raise TransientError("no answer")
        return list(self.machines.values())

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances."""
        if self.silent:
            raise TransientError("no answer")
        for instance_id in instance_ids:
            self.machines.pop(instance_id, None)


class FakeTrainers:
    """Trainers whose lives the test sets; ``did`` lists what the host asked for."""

    def __init__(self) -> None:
        self.now: dict[str, Life] = {}
        self.did: list[str] = []
        self.disk_full = False
        self.sweeps = 0

    def lives(self) -> dict[str, Life]:
        """Return the lives."""
        return dict(self.now)

    def start(self, instance_id: str) -> None:
        """Start one."""
        assert instance_id not in self.now
        if self.disk_full:
            raise OSError(28, "No space left on device")
        self.did.append(f"start {instance_id}")
        self.now[instance_id] = Life.RUNNING

    def stop(self, instance_id: str) -> None:
        """Ask one to stop."""
        if self.now[instance_id] is Life.RUNNING:
            self.did.append(f"stop {instance_id}")
            self.now[instance_id] = Life.STOPPING

    def forget(self, instance_id: str) -> None:
        """Drop one."""
        self.did.append(f"forget {instance_id}")
        del self.now[instance_id]

    def sweep(self) -> None:
        """Count the sweeps."""
        self.sweeps += 1


class Scene:
    """A host over fakes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cloud = FakeCloud()
        self.trainers = FakeTrainers()
        self.metadata = MetadataStore(self.clock)
        self.host = Host(self.cloud, self.trainers, self.metadata, self.clock)

    def look(self, times: int = 3) -> list[str]:
        """Let the host look; return what it did."""
        self.trainers.did.clear()
        for _ in range(times):
            self.host.step()
        return list(self.trainers.did)


def test_each_instance_gets_one_trainer() -> None:
    """A running instance has a trainer, started once however often the host looks."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.cloud.add("i-2")
    assert scene.look() == ["start i-1", "start i-2"]
    assert scene.look() == []


def test_a_terminated_instance_takes_its_trainer_with_it() -> None:
    """The trainer is told to stop, and forgotten once it has ended."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    scene.cloud.terminate(["i-1"])
    assert scene.look() == ["stop i-1"]
    scene.trainers.now["i-1"] = Life.STOPPED
    assert scene.look() == ["forget i-1"]


def test_a_trainer_that_ends_takes_its_instance_with_it() -> None:
    """Whether it ended well or crashed: the instance is terminated and no second trainer is started on it."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    scene.trainers.now["i-1"] = Life.ENDED
    assert scene.look() == ["forget i-1"]
    assert scene.cloud.machines == {}


def test_an_instance_is_terminated_even_if_ec2_was_silent_first() -> None:
    """The host keeps the ended trainer in mind until EC2 has heard."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    scene.trainers.now["i-1"] = Life.ENDED
    scene.cloud.silent = True
    assert scene.look() == []
    scene.cloud.silent = False
    assert scene.look() == ["forget i-1"]
    assert scene.cloud.machines == {}


def test_a_trainer_that_cannot_be_started_is_tried_again() -> None:
    """A full disk ends neither the host nor the trainers that run already."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    scene.trainers.disk_full = True
    scene.cloud.add("i-2")
    assert scene.look() == []
    scene.trainers.disk_full = False
    assert scene.look() == ["start i-2"]


def test_silence_is_not_an_empty_fleet() -> None:
    """While EC2 does not answer nothing is stopped; when it is back and knows no instance, trainers stop."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    scene.cloud.silent = True
    assert scene.look() == []
    scene.cloud.silent = False
    scene.cloud.machines.clear()
    assert scene.look() == ["stop i-1"]


def test_a_trainer_of_a_killed_host_ends_before_the_next_starts() -> None:
    """The instance waits for its orphan to end, then gets a trainer again."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.trainers.now["i-1"] = Life.ORPHANED
    assert scene.look() == []
    scene.trainers.now["i-1"] = Life.STOPPED
    assert scene.look() == ["forget i-1", "start i-1"]


def test_metadata_of_an_instance() -> None:
    """An instance can ask who it is, of which type, where, and whether it was bought as spot."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    machine = scene.cloud.machines["i-1"]
    expected = {
        "instance-id": "i-1",
        "instance-type": machine.instance_type,
        "placement/availability-zone": machine.zone,
        "instance-life-cycle": "spot" if machine.spot else "on-demand",
    }
    assert {path: scene.metadata.read("i-1", f"latest/meta-data/{path}") for path in expected} == expected


def test_a_spot_notice_is_served_and_then_carried_out() -> None:
    """The metadata tells the time; at that time the instance is taken and its trainer told to stop."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.look()
    assert scene.metadata.read("i-1", "latest/meta-data/spot/instance-action") is None
    at = scene.clock.now() + timedelta(seconds=120)
    scene.cloud.machines["i-1"] = replace(scene.cloud.machines["i-1"], interrupt_at=at)
    assert scene.look() == []
    assert scene.metadata.read("i-1", "latest/meta-data/spot/instance-action") == (
        '{"action": "terminate", "time": "2026-01-01T00:02:00Z"}'
    )
    scene.clock.advance(121)
    assert scene.look() == ["stop i-1"]
    assert scene.cloud.machines == {}


def test_metadata_is_for_the_instance_alone() -> None:
    """A token opens its own instance's documents, while it lives and while the instance runs."""
    scene = Scene()
    scene.cloud.add("i-1")
    scene.cloud.add("i-2")
    scene.look()
    token = scene.metadata.new_token("i-1", 60)
    assert scene.metadata.opens("i-1", token)
    assert not scene.metadata.opens("i-2", token)
    assert not scene.metadata.opens("i-1", None)
    assert not scene.metadata.opens("", None)
    assert scene.metadata.read("i-1", "latest/meta-data/instance-id") == "i-1"
    assert '"instanceId": "i-1"' in (scene.metadata.read("i-1", "latest/dynamic/instance-identity/document") or "")
    scene.clock.advance(61)
    assert not scene.metadata.opens("i-1", token)
    scene.cloud.terminate(["i-2"])
    scene.look()
    assert scene.metadata.read("i-2", "latest/meta-data/instance-id") is None


def test_every_look_sweeps() -> None:
    """What a killed host left is looked for at each look, for the trainer that wrote there may end later."""
    scene = Scene()
    scene.look(times=2)
    assert scene.trainers.sweeps == 2


def test_a_host_that_stops_drops_what_has_ended() -> None:
    """Files of trainers that have ended go with the host; a trainer that does not end keeps its own."""
    scene = Scene()
    scene.trainers.now = {"i-1": Life.STOPPED, "i-2": Life.ENDED, "i-3": Life.STOPPING}
    scene.host.stop(1.0)
    assert scene.trainers.did == ["forget i-1", "forget i-2"]
    assert list(scene.trainers.now) == ["i-3"]
