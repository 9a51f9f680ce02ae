"""The fleet's keeper launches: over records, a fleet and prices in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.fleet_scene import RULES, SPEC, Losing, Scene

from trainyard.contracts.fleet import Instance, LaunchRefusedError, LaunchSpec, NoCapacityError
from trainyard.contracts.launches import Usage
from trainyard.errors import TransientError
from trainyard.testing.crashpoints import armed
from trainyard.testing.fakes import FixedPrices, MemoryFleet
from trainyard.testing.fakes.scheduling_fleet import MemoryLaunches
from trainyard_scheduler import fleet_views
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.fleet import look

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_fleet_grows_with_the_work_and_is_replaced(scene: Scene) -> None:
    """No work, no instance; a request brings one; a vanished instance is replaced, and the ledger says so."""
    assert scene.keeper.step() == 0
    scene.request()
    assert [scene.keeper.step(), scene.keeper.step()] == [1, 0]
    scene.fleet.forget()
    scene.clock.advance(11)
    assert [scene.keeper.step(), scene.keeper.step()] == [1, 0]
    assert scene.states() == ["ended", "launched"]
    assert scene.reasons() == ["EC2 does not know it any more", "a request waits"]
    assert scene.events() == ["fleet.launched", "fleet.ended", "fleet.launched"]
    launched = scene.store.state.events[-1]
    assert launched.payload["usd_per_hour"] == 3.6
    assert (launched.payload["instance_type"], launched.payload["market"]) == ("c7i.large", "spot")
    assert launched.payload["instance_id"] == scene.alive()[0]


def test_nothing_to_look_at_asks_nobody(scene: Scene) -> None:
    """Between two rounds, without requests and launches, EC2 is not asked; a round comes when its time is over."""
    scene.keeper.step()
    scene.fleet.outage = TransientError("away")
    scene.clock.advance(29.9)
    assert scene.keeper.step() == 0
    scene.clock.advance(0.1)
    with pytest.raises(TransientError):
        scene.keeper.step()


def test_launch_is_in_the_ledger_before_ec2_hears_of_it(scene: Scene) -> None:
    """When EC2's answer is lost, the same launch is asked for again and no second instance comes."""
    scene.fleet = fleet = Losing()
    keeper = scene.another_keeper()
    scene.request()
    with pytest.raises(TransientError):
        keeper.step()
    assert scene.states() == ["asked"]
    fleet.losing = False
    assert keeper.step() == 1
    assert len(fleet.instances()) == 1
    assert len({launch_id for launch_id, _ in fleet.asked}) == 1
    assert scene.states() == ["launched"]


def test_one_lost_answer_holds_no_other_launch_up(scene: Scene) -> None:
    """Every launch is asked for, and only then the failure is told."""
    scene.fleet = fleet = Losing()
    scene.request()
    scene.request()
    with pytest.raises(TransientError, match="lost"):
        scene.another_keeper().step()
    assert len(fleet.asked) == 2


def test_launch_that_another_scheduler_asks_for(scene: Scene) -> None:
    """A launch that is claimed is left alone, and no lock is held meanwhile; one that is left behind is taken over."""
    scene.request()

    class Slow(MemoryFleet):
        def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
            assert scene.another_keeper(scene.fleet).step() == 0
            return scene.fleet.launch(launch_id, spec)

    slow = Slow()
    assert scene.another_keeper(slow).step() == 1
    assert (scene.states(), len(scene.fleet.asked)) == (["launched"], 1)


def test_scheduler_that_dies_while_it_asks(scene: Scene) -> None:
    """What a dead scheduler had claimed is asked for by another after the claim's 15 s, under the same id."""
    scene.request()

    class Deadly(MemoryFleet):
        def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
            scene.fleet.launch(launch_id, spec)
            raise SystemExit

    with pytest.raises(SystemExit):
        scene.another_keeper(Deadly()).step()
    assert scene.keeper.step() == 0
    scene.clock.advance(14.9)
    assert scene.keeper.step() == 0
    scene.clock.advance(0.1)
    assert scene.keeper.step() == 1
    assert (len(scene.alive()), scene.states()) == (1, ["launched"])


def test_instance_that_has_ended_before_its_answer_came(scene: Scene) -> None:
    """A launch whose one instance has ended already is over."""
    scene.fleet = fleet = Losing()
    keeper = scene.another_keeper()
    scene.request()
    with pytest.raises(TransientError):
        keeper.step()
    fleet.terminate(scene.alive())
    fleet.losing = False
    keeper.step()
    assert scene.states() == ["ended"]
    assert scene.reasons() == ["EC2 calls it terminated"]


def test_ended_instances_keep_market_and_price(scene: Scene) -> None:
    """EC2 soon forgets that an instance was spot, and its age means nothing; the ledger knows market and price."""
    scene.request()
    scene.keeper.step()
    (ident,) = scene.alive()

    def shown() -> dict[str, Any]:
        known = (instance for instance in scene.fleet.instances() if instance.instance_id == ident)
        instances = [replace(instance, market="on-demand") for instance in known]
        with scene.store.begin() as records:
            ledger = records.launches.of_instances([instance.instance_id for instance in instances])
            (found,) = fleet_views.fleet(*look(records, instances, RULES), RULES, ledger)["instances"]
        return {key: found[key] for key in ("instance_id", "market", "usd_per_hour", "age_seconds", "duty")}

    scene.clock.advance(7)
    alive = {"instance_id": ident, "market": "spot", "usd_per_hour": 3.6, "age_seconds": 7.0, "duty": "booting"}
    assert shown() == alive
    scene.fleet.terminate([ident])
    scene.keeper.step()
    assert shown() == {**alive, "age_seconds": None, "duty": None}


def test_no_capacity(scene: Scene) -> None:
    """EC2's refusal is kept in its words, and the next try waits 2 s, then 4 s; explanations can say when it comes."""
    scene.fleet.no_capacity = {"c7i.large"}
    ident = scene.request()
    tries = []
    for second in range(8):
        before = len(scene.store.state.launches)
        scene.keeper.step()
        tries += [second] * (len(scene.store.state.launches) - before)
        scene.clock.advance(1)
    assert tries == [0, 2, 6]
    assert all("InsufficientInstanceCapacity" in str(row.error) for row in scene.store.state.launches.values())
    assert set(scene.events()) == {"fleet.no_capacity"}
    with scene.store.begin() as records:
        told = explained(records, ident, rules=RULES, resend_seconds=120.0)["fleet"]
    assert (told["refusals"], told["last_refusal_seconds_ago"], told["next_launch_seconds"]) == (3, 2.0, 6.0)
    assert "InsufficientInstanceCapacity" in told["last_refusal"]
    scene.fleet.no_capacity = set()
    scene.clock.advance(60)
    assert scene.keeper.step() == 1
    with scene.store.begin() as records:
        told = explained(records, ident, rules=RULES, resend_seconds=120.0)["fleet"]
    assert (told["refusals"], told["last_refusal"]) == (0, None)


def test_refusal_is_no_hot_loop(scene: Scene) -> None:
    """What somebody must mend is asked for again after a minute, and the event says what EC2 said."""
    scene.fleet.refusal = "UnauthorizedOperation: no"
    scene.request()
    for _ in range(60):
        scene.keeper.step()
        scene.clock.advance(1)
    assert len(scene.fleet.asked) == 1
    scene.keeper.step()
    assert len(scene.fleet.asked) == 2
    assert scene.events() == ["fleet.refused"] * 2
    assert "UnauthorizedOperation" in scene.store.state.events[-1].payload["reason"]
    assert [row.error_kind for row in scene.store.state.launches.values()] == ["refused"] * 2


def test_limit_of_the_day(scene: Scene) -> None:
    """At the day's limit nothing is launched and one event says so with the numbers; the next day goes on."""
    scene = Scene(Rules(SPEC, fleet_max=2, max_usd_per_day=3.6))
    scene.request()
    scene.keeper.step()
    scene.clock.advance(3600)
    scene.fleet.forget()
    keepers = [scene.keeper, scene.another_keeper()]
    launches = [keeper.step() for _ in range(3) for keeper in keepers]
    assert sum(launches) == 0
    events = [event for event in scene.store.state.events if event.kind == "fleet.cap_reached"]
    assert [dict(event.payload) for event in events] == [{"name": "usd_per_day", "used": 3.6, "limit": 3.6}]
    now = scene.clock.now()
    tomorrow = (now + timedelta(days=1)).replace(hour=0, minute=0, second=1, microsecond=0)
    scene.clock.advance((tomorrow - now).total_seconds())
    assert scene.keeper.step() == 1


def test_a_launch_that_is_younger_than_the_list(scene: Scene) -> None:
    """What another scheduler launched while EC2's list was slow to come is not taken for lost."""
    scene.request()

    class Slow(MemoryFleet):
        def instances(self) -> list[Instance]:
            found = scene.fleet.instances()
            scene.keeper.step()
            scene.clock.advance(11)
            return found

    assert scene.another_keeper(Slow()).step() == 0
    assert (scene.states(), len(scene.fleet.asked)) == (["launched"], 1)


@pytest.mark.parametrize(("known", "age"), [(None, 11.0), (True, 11.0), (False, 0.0)])
def test_ages_in_a_look(scene: Scene, known: bool | None, age: float) -> None:
    """A launch is as old as the ledger says, unless EC2's list may be older than its instance."""
    scene.request()
    scene.keeper.step()
    scene.clock.advance(11)
    idents = set(scene.store.state.launches) if known else set()
    with scene.store.begin() as records:
        situation, _ = look(records, [], RULES, known=None if known is None else idents)
    assert [launch.age for launch in situation.launches] == [age]


def test_what_a_training_takes_counts(scene: Scene) -> None:
    """Once it is known how long trainings take, one instance is launched for several short ones."""
    ident = scene.request()
    scene.store.state.claim(ident, lease_until=scene.clock.now() + timedelta(seconds=60), instance_id="i-0")
    scene.clock.advance(2)
    scene.store.state.finish(ident)
    for _ in range(3):
        scene.request()
    assert scene.keeper.step() == 1


@pytest.mark.parametrize(("action", "instances"), [("error", 0), ("lost", 1)])
def test_an_error_at_the_step_of_a_launch(scene: Scene, action: str, instances: int) -> None:
    """Before or behind EC2's answer: the claim is given back, and the next step asks for the same launch."""
    scene.request()
    with armed("K16", action), pytest.raises(TransientError, match="K16"):
        scene.keeper.step()
    assert (len(scene.alive()), scene.states()) == (instances, ["asked"])
    assert scene.keeper.step() == 1
    assert (len(scene.alive()), scene.states()) == (1, ["launched"])


def test_the_price_is_that_of_the_market_and_the_zone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The instance says where it runs and as what; what it costs there is written down."""
    asked: list[tuple[str | None, ...]] = []

    def price(_prices: FixedPrices, *instance: str | None) -> float:
        asked.append(instance)
        return 0.5

    launch = scene.fleet.launch
    monkeypatch.setattr(scene.fleet, "launch", lambda *what: replace(launch(*what), zone="eu-north-1b"))
    monkeypatch.setattr(FixedPrices, "usd_per_hour", price)
    scene.request()
    scene.keeper.step()
    assert asked == [("c7i.large", "spot", "eu-north-1b")]
    assert [row.usd_per_hour for row in scene.store.state.launches.values()] == [0.5]


def test_request_ids_are_real(scene: Scene) -> None:
    """The launch ids are UUIDs, for they are the tags and the ledger's keys."""
    scene.request()
    scene.keeper.step()
    assert [str(uuid.UUID(ident)) for ident in scene.store.state.launches] == list(scene.store.state.launches)


def test_what_launching_says(
    scene: Scene, said: Callable[..., Any], journal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launch, a failure of each kind and a loss have their line and their event, under the launch's name."""
    scene.request()
    skip = (len(scene.store.state.events), 0)
    outcomes: list[tuple[Exception, str]] = [
        (NoCapacityError("none"), "no_capacity"),
        (LaunchRefusedError("no right"), "refused"),
    ]
    for error, event in outcomes:

        def refuse(*_: Any, error: Exception = error) -> Any:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(scene.fleet, "launch", refuse)
            assert scene.keeper.step() == 0
        launch = list(scene.store.state.launches)[-1]
        assert said()[-1] == ("WARNING", f"fleet.{event}", {"launch": launch, "reason": str(error)})
        assert journal(scene.store, skip)[0][-1] == (f"fleet.{event}", f"launch/{launch}", {"reason": str(error)})
        scene.clock.advance(1_000)
    assert scene.keeper.step() == 1
    launch, instance = list(scene.store.state.launches)[-1], scene.alive()[0]
    fields = {"launch": launch, "instance_id": instance, "instance_type": "c7i.large"}
    assert said()[-1] == ("INFO", "fleet.launched", fields)
    payload = {"instance_id": instance, "instance_type": "c7i.large", "market": "spot", "usd_per_hour": 3.6}
    assert journal(scene.store, skip)[0][-1] == ("fleet.launched", f"launch/{launch}", payload)
    scene.clock.advance(301)
    scene.keeper.step()
    silent = "its trainer was not seen within 300 s"
    gone = {"instance_id": instance, "launch": launch, "reason": silent}
    assert ("WARNING", "fleet.ending", gone) in said()
    assert ("INFO", "fleet.terminated", {"instances": instance}) in said()
    assert ("fleet.ended", f"launch/{launch}", {"reason": silent}) in journal(scene.store, skip)[0]


def test_what_a_limit_says(
    said: Callable[..., Any], journal: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each limit that is reached is told once a day, with what is used of it."""
    scene = Scene(replace(RULES, fleet_max=0))
    scene.request()
    for _ in range(2):
        scene.keeper.step()
    scene.rules = replace(RULES, max_usd_per_day=2.0)
    monkeypatch.setattr(MemoryLaunches, "usage", lambda _: Usage(hours=1.0, usd=2.5, unpriced_hours=0.0))
    for _ in range(2):
        scene.another_keeper().step()
    caps = [("instances", {"used": 0.0, "limit": 0.0}), ("usd_per_day", {"used": 2.5, "limit": 2.0})]
    assert said() == [("WARNING", "fleet.cap_reached", {"cap": name, **cap}) for name, cap in caps]
    assert [e for e in journal(scene.store)[0] if e[0] == "fleet.cap_reached"] == [
        ("fleet.cap_reached", "fleet", {"name": name, **cap}) for name, cap in caps
    ]
