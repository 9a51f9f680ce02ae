"""A request's way through the system, explained at every step from the records themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.testing.fakes import FixedPrices, MemoryAttendance, MemoryFleet, MemoryQueue, MemoryStore
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.domain.machines import Patience
from trainyard_scheduler.use_cases import relay
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.fleet import FleetKeeper, Looks
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask, cancel

if TYPE_CHECKING:
    from collections.abc import Mapping

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
KIND = "c7i.large"
RULES = Rules(LaunchSpec((KIND,), spot=True), fleet_max=2, patience=Patience(boot_seconds=300.0, silent_seconds=180.0))


class Scene:
    """A scheduler, a cloud and trainers in memory; one model for each request."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.store.state.add_rows("flights", 10)
        self.fleet = MemoryFleet()
        self.attendance = MemoryAttendance(self.store)
        self.queues = {name: MemoryQueue(self.clock) for name in ("training", "arrived", "predictions")}
        self.rules = rules
        prices = FixedPrices({KIND: 3.6, "g5.xlarge": 3.6})
        looks = Looks(lambda: 0)
        self.keeper = FleetKeeper(self.store, self.fleet, prices, rules=rules, looks=looks, clock=self.clock)

    def ask(self, model: str = "m", **place: Any) -> str:
        """Ask by hand, send the message; return the id."""
        with self.store.begin() as records:
            put_model(records, model, {"dataset": "flights", "label": "late", "policy": {"min_new_rows": None}}, BY)
            ident = ask(records, model, {}, BY, place=place)[1].id
        relay.relay(self.store, self.queues)
        return ident

    def explain(self, ident: str) -> Mapping[str, Any]:
        """Explain the request."""
        with self.store.begin() as records:
            return explained(records, ident, rules=self.rules, resend_seconds=120.0)

    def says(self, ident: str) -> tuple[str, str]:
        """Return code and sentence."""
        found = self.explain(ident)
        return found["code"], found["sentence"]

    def trainer(self, state: str, instance: str, kind: str = KIND) -> None:
        """Let the trainer on an instance speak."""
        self.attendance.seen("test" if instance == "i-test" else f"{instance}:1", instance, kind, state, None)

    def alive(self) -> list[str]:
        """Return the live instances."""
        return [instance.instance_id for instance in self.fleet.instances() if instance.alive]

    def claim(self, ident: str, instance: str | None = None) -> None:
        """Let a trainer take the request for a minute."""
        until = self.clock.now() + timedelta(seconds=60)
        self.store.state.claim(ident, lease_until=until, instance_id=instance)


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


def test_from_queued_to_done(scene: Scene) -> None:
    """An instance is asked for, starts, takes the request, works on it; each step has its words."""
    ident = scene.ask()
    assert scene.says(ident) == (
        "waiting_for_instance",
        "no trainer runs; the scheduler asks for an instance within seconds",
    )
    with scene.store.begin() as records:
        records.launches.ask(RULES.spec, "a request waits")
    assert scene.says(ident) == ("waiting_for_instance", "1 instance is asked for")
    scene.keeper.step()
    assert scene.says(ident) == ("waiting_for_instance", "1 instance is starting")
    (instance,) = scene.alive()
    scene.trainer("idle", instance)
    assert scene.says(ident) == ("waiting_for_worker", "1 trainer is idle: one takes it within seconds")
    scene.claim(ident, instance)
    scene.clock.advance(20)
    assert scene.says(ident) == (
        "held_by_worker",
        "test works on it (attempt 1 of 3, for 20 s); were it to vanish, another trainer would take over in 40 s",
    )
    assert scene.explain(ident)["queue"] == {"ahead": None, "waiting": 0, "running": 1, "mean_seconds": None}
    with scene.store.begin() as records:
        cancel(records, ident, BY)
    assert scene.says(ident) == (
        "cancelling",
        "test was asked to stop and does so when it next reports, within seconds",
    )
    scene.store.state.finish(ident)
    assert scene.says(ident) == ("done", "it is done: version 1 came of it")
    told = scene.explain(ident)
    assert (told["queue"]["ahead"], told["message"]["next_resend_seconds"], told["fleet"]["cap"]) == (None, None, None)


def test_a_lost_lease(scene: Scene) -> None:
    """Whose trainer vanished waits as others do, and says since when."""
    ident = scene.ask()
    scene.keeper.step()
    scene.claim(ident, scene.alive()[0])
    scene.clock.advance(65)
    lost = "test has vanished: its claim on the request ran out 5 s ago; "
    assert scene.says(ident) == ("lease_expired", lost + "it waits for another trainer: 1 instance is starting")
    scene.trainer("idle", "i-other")
    assert scene.says(ident) == ("lease_expired", lost + "1 trainer is idle: one takes it over within seconds")
    assert scene.explain(ident)["message"]["next_resend_seconds"] == 0.0
    with scene.store.begin() as records:
        cancel(records, ident, BY)
    told = scene.explain(ident)
    assert (told["code"], told["sentence"]) == (
        "cancelled",
        "it was cancelled: cancelled on request, while no trainer held it",
    )


def test_a_silent_holder(scene: Scene) -> None:
    """Whoever holds the request and has not spoken for long is said to be silent."""
    ident = scene.ask()
    scene.claim(ident)
    scene.trainer("busy", "i-other")
    scene.trainer("busy", "i-test")
    scene.clock.advance(40)
    assert scene.says(ident) == (
        "held_by_worker",
        (
            "test holds it (attempt 1 of 3) but has been silent for 40 s; if it stays so, another trainer takes the"
            " request over in 20 s"
        ),
    )
    scene.trainer("busy", "i-test")
    assert (
        scene.says(ident)[1]
        == "test works on it (attempt 1 of 3, for 40 s); were it to vanish, another trainer would take over in 20 s"
    )


def test_unsuited_trainers(scene: Scene) -> None:
    """A spot trainer is not idle for a request that refuses spot, nor one of another type; both are named."""
    other = scene.ask("first")
    scene.keeper.step()
    (instance,) = scene.alive()
    scene.claim(other, instance)
    scene.store.state.finish(other)
    scene.trainer("idle", instance)
    firm, gpu, any_ = scene.ask("firm", spot=False), scene.ask("gpu", instance_types=["g5.xlarge"]), scene.ask("any")
    none = "no trainer that suits it runs; the scheduler asks for an instance within seconds; 1 other trainer does not"
    assert scene.says(firm)[1] == f"{none} suit it: it wants on-demand capacity"
    assert scene.says(gpu) == (
        "cap_reached",
        (
            "no trainer that suits it runs; 2 of 2 allowed instances run or start; 1 more urgent request before it;"
            " 1 other trainer does not suit it: it wants g5.xlarge"
        ),
    )
    assert scene.says(any_) == ("waiting_for_worker", "1 trainer is idle: one takes it within seconds")
    assert [scene.explain(ident)["queue"]["ahead"] for ident in (firm, gpu, any_)] == [0, 1, 0]
    told = scene.explain(firm)
    assert (told["spot"], told["fleet"]["idle"], told["fleet"]["unsuited"]) == (False, 0, 1)


def test_the_order_among_equals(scene: Scene) -> None:
    """The number is that of the requests which the claim would give out before: by priority, then by age."""
    first = scene.ask("a")
    scene.clock.advance(1)
    second, urgent, late = scene.ask("b"), scene.ask("c", priority=5), scene.ask("d", priority=-5)
    ahead = {ident: scene.explain(ident)["queue"]["ahead"] for ident in (first, second, urgent, late)}
    assert ahead == {first: 1, second: 2, urgent: 0, late: 3}
    scene.keeper.step()
    for instance in scene.alive():
        scene.trainer("busy", instance)
    scene.claim(urgent, scene.alive()[0])
    assert scene.says(late) == (
        "cap_reached",
        "all 2 trainers are busy; 2 of 2 allowed instances run or start; 2 more urgent requests before it",
    )
    assert scene.says(first) == (
        "cap_reached",
        "all 2 trainers are busy; 2 of 2 allowed instances run or start",
    )


def test_no_capacity_and_refusals(scene: Scene) -> None:
    """The cloud's words, their age and the next try."""
    scene.fleet.no_capacity = {KIND}
    ident = scene.ask()
    scene.keeper.step()
    scene.clock.advance(1)
    code, sentence = scene.says(ident)
    assert code == "waiting_capacity"
    assert sentence.startswith("the cloud had no capacity at 1 try in a row, the last 1 s ago (")
    assert sentence.endswith("; it is asked again in 1 s")
    scene.clock.advance(1)
    assert scene.says(ident)[1].endswith("; it is asked again now")
    scene.fleet.no_capacity, scene.fleet.refusal = set(), "UnauthorizedOperation: no"
    scene.keeper.step()
    assert scene.says(ident) == (
        "refused",
        "the cloud refuses to launch instances, last 0 s ago: " + str(scene.explain(ident)["fleet"]["last_refusal"]),
    )
    assert scene.says(ident)[1].endswith("UnauthorizedOperation: no")


@pytest.mark.parametrize(
    ("limit", "sentence", "blocked_by"),
    [
        ({"max_usd_per_day": 1.0}, "today's limit is reached: $1.80 of $1.00 spent; nothing is launched",
         "TRAINYARD_FLEET_MAX_USD_PER_DAY is 1"),
        ({"max_hours_per_day": 0.25}, ("today's limit is reached: 0.50 h of 0.25 h of instances used; nothing is"
         " launched"), "TRAINYARD_FLEET_MAX_HOURS_PER_DAY is 0.25"),
    ],
)  # fmt: skip
def test_limits_of_the_day(limit: dict[str, float], sentence: str, blocked_by: str) -> None:
    """What is used of it, in dollars or hours; it blocks those for whom an instance would have to be launched."""
    scene = Scene(replace(RULES, **limit))
    first = scene.ask("first")
    scene.keeper.step()
    (instance,) = scene.alive()
    scene.claim(first, instance)
    scene.clock.advance(1800)
    scene.trainer("busy", instance)
    second = scene.ask("second", spot=False)
    told = scene.explain(second)
    misfit = "; 1 other trainer does not suit it: it wants on-demand capacity"
    lost = "; 1 more urgent request before it"
    assert (told["code"], told["sentence"], told["blocked_by"]) == ("cap_reached", sentence + lost + misfit, blocked_by)
    assert told["fleet"]["cap"]["limit"] in limit.values()
    scene.trainer("idle", instance)
    assert scene.says(first)[0] == "lease_expired"


def test_silence(scene: Scene) -> None:
    """A trainer that has not spoken for half a minute is not idle; the fleet still counts on it for a while."""
    ident = scene.ask()
    scene.keeper.step()
    scene.trainer("idle", scene.alive()[0])
    scene.clock.advance(45)
    assert scene.says(ident) == (
        "waiting_for_instance",
        "its trainer has been silent for some seconds, and is replaced when it stays so",
    )
    scene.clock.advance(30)
    assert scene.says(ident) == (
        "waiting_for_instance",
        "no trainer runs; the scheduler asks for an instance within seconds",
    )


def test_a_limit_is_told_beside_other_reasons() -> None:
    """The answer names a limit of the day also where it is not what the request waits for."""
    scene = Scene(replace(RULES, max_usd_per_day=1.0))
    ident = scene.ask()
    scene.keeper.step()
    scene.trainer("idle", scene.alive()[0])
    scene.clock.advance(1800)
    scene.trainer("idle", scene.alive()[0])
    told = scene.explain(ident)
    assert told["code"] == "waiting_resend"
    assert told["fleet"]["cap"] == {"name": "usd_per_day", "used": pytest.approx(1.8), "limit": 1.0}
