"""The fleet's keeper ends instances: the silent, the strange and the idle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.fleet_scene import Scene

from trainyard.errors import TransientError
from trainyard.testing.fakes import MemoryFleet

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = "there is no work, and it did not end by itself"


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_silent_trainer(scene: Scene) -> None:
    """A trainer that falls silent loses its instance, the ledger says why, and who waits gets another one."""
    scene.request()
    scene.keeper.step()
    (first,) = scene.alive()
    scene.attendance.seen("host:1", first, "c7i.large", "idle", None)
    scene.clock.advance(180.1)
    scene.keeper.step()
    assert scene.reasons()[0] == "its trainer has been silent for more than 180 s"
    assert (first in scene.alive(), scene.states()) == (False, ["ended", "launched"])


def test_terminate_that_fails_is_repeated(scene: Scene) -> None:
    """An instance that is to go is ended at every step until EC2 says that it has ended."""

    class Stubborn(MemoryFleet):
        refused = 0

        def terminate(self, instance_ids: list[str]) -> None:  # type: ignore[override]
            if self.refused < 2:
                self.refused += 1
                raise TransientError("busy")
            super().terminate(instance_ids)

    scene.fleet = Stubborn()
    keeper = scene.another_keeper()
    scene.request()
    keeper.step()
    scene.clock.advance(301)
    for _ in range(2):
        with pytest.raises(TransientError, match="busy"):
            keeper.step()
        scene.clock.advance(1)
    (first, second) = scene.alive()  # who waits got another one meanwhile
    keeper.step()
    assert scene.alive() == [second]
    assert scene.states() == ["ended", "launched"]
    assert first != second


def test_stranger_is_ended(scene: Scene) -> None:
    """An instance that carries our tag and stands in no ledger goes after the time that a trainer has to boot."""
    scene.clock.advance(1_000)
    stranger = scene.fleet.add("nobody's", "c7i.large", market="spot")
    for _ in range(11):
        assert scene.keeper.step() == 0
        assert scene.alive() == [stranger.instance_id]
        scene.clock.advance(30)
    scene.keeper.step()
    assert scene.alive() == []


def test_an_instance_that_was_ours_has_its_time_too(scene: Scene) -> None:
    """Struck from the ledger, it counts as a stranger from then on, not from when it was first seen."""
    scene.request()
    scene.keeper.step()
    (ours,) = scene.alive()
    for _ in range(4):
        scene.clock.advance(100)
        scene.attendance.seen("host:1", ours, "c7i.large", "idle", None)
        scene.keeper.step()
    with scene.store.begin() as records:
        records.launches.ended(list(scene.store.state.launches), "by hand")
    for seconds in (0, 300):
        scene.clock.advance(seconds)
        scene.keeper.step()
        assert ours in scene.alive()
    scene.clock.advance(1)
    scene.keeper.step()
    assert ours not in scene.alive()


def test_idle_instances_end_after_three_looks(scene: Scene) -> None:
    """With no open request and an empty queue, three looks apart end what is idle, and the ledger says why."""
    ident = scene.request()
    scene.keeper.step()
    (instance,) = scene.alive()
    with scene.store.begin() as records:
        records.requests.cancel(ident, at_once=True, why="on request")
    for number in range(3):
        assert scene.alive() == [instance]
        scene.clock.advance(30)
        scene.attendance.seen("host:1", instance, "c7i.large", "idle", None)
        scene.keeper.step()
        scene.keeper.step()  # no look: the pause is not over
        assert (scene.alive() == []) == (number == 2)
    assert scene.reasons() == [IDLE]


def test_a_new_scheduler_counts_its_own_looks(scene: Scene, said: Callable[..., Any]) -> None:
    """One that has just begun ends nothing at its first two looks; then all that is idle, with one event."""
    ended = [scene.request(), scene.request()]
    assert scene.keeper.step() == 2
    with scene.store.begin() as records:
        for ident in ended:
            records.requests.cancel(ident, at_once=True, why="on request")
    found, keeper = sorted(scene.alive()), scene.another_keeper()
    for alive in (found, found, []):
        for instance in found:
            scene.attendance.seen(f"host:{instance}", instance, "c7i.large", "idle", None)
        assert keeper.step() == 0
        assert sorted(scene.alive()) == alive
        scene.clock.advance(30)
    assert said()[-1] == ("INFO", "fleet.terminated", {"instances": " ".join(found)})
    event = scene.store.state.events[-1]
    assert (event.kind, event.subject, event.payload) == ("fleet.ended", "fleet", {"reason": IDLE, "instances": 2})
    assert (scene.states(), scene.reasons()) == (["ended"] * 2, [IDLE] * 2)


@pytest.mark.parametrize("disturbance", ["message", "request", "busy"])
def test_looks_begin_anew(scene: Scene, disturbance: str) -> None:
    """A message, a request or a busy trainer between the looks starts the count again; a busy one is never ended."""
    ident = scene.request()
    scene.keeper.step()
    (instance,) = scene.alive()
    with scene.store.begin() as records:
        records.requests.cancel(ident, at_once=True, why="on request")
    for number in range(5):
        scene.clock.advance(30)
        disturbed = number == 2
        state = "busy" if disturbed and disturbance == "busy" else "idle"
        scene.attendance.seen("host:1", instance, "c7i.large", state, None)
        scene.messages = int(disturbed and disturbance == "message")
        other = scene.request() if disturbed and disturbance == "request" else None
        scene.keeper.step()
        if other is not None:
            with scene.store.begin() as records:
                records.requests.cancel(other, at_once=True, why="on request")
    assert scene.alive() == [instance]
