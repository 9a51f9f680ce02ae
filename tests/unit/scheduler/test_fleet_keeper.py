"""The fleet's keeper over records, a fleet and prices in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.contracts.fleet import Instance, LaunchRefusedError, LaunchSpec, NoCapacityError
from trainyard.contracts.launches import Usage
from trainyard.errors import ServiceError, TransientError
from trainyard.testing.crashpoints import armed
from trainyard.testing.fakes import FixedPrices, MemoryAttendance, MemoryFleet, MemoryStore
from trainyard.testing.fakes.scheduling_fleet import MemoryCosts, MemoryLaunches
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.domain.machines import Patience
from trainyard_scheduler.use_cases import costs
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.fleet import FleetKeeper, Looks, look
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Callable

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
SPEC = LaunchSpec(("c7i.large",), spot=True)
RULES = Rules(SPEC, fleet_max=2, patience=Patience(boot_seconds=300.0, silent_seconds=180.0))
IDLE = "there is no work, and it did not end by itself"


class Scene:
    """One model whose requests are made by hand, a fleet that can be told to fail, and a keeper."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.fleet = MemoryFleet()
        self.attendance = MemoryAttendance(self.store)
        self.messages = 0
        self.rules = rules
        self.keeper = self.another_keeper()
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": {"min_new_rows": None}}, BY)

    def another_keeper(self, fleet: MemoryFleet | None = None) -> FleetKeeper:
        """Return a keeper as another scheduler has it."""
        return FleetKeeper(
            self.store,
            fleet or self.fleet,
            FixedPrices({"c7i.large": 3.6}),
            rules=self.rules,
            looks=Looks(lambda: self.messages, every_seconds=30.0),
            clock=self.clock,
        )

    def request(self) -> str:
        """Ask by hand, for new rows; return the id."""
        self.store.state.add_rows("flights", 1)
        with self.store.begin() as records:
            return ask(records, "late", {}, BY)[1].id

    def states(self) -> list[str]:
        """Return the ledger's states, oldest first."""
        return [row.state for row in self.store.state.launches.values()]

    def reasons(self) -> list[str]:
        """Return the ledger's reasons, oldest first."""
        return [row.reason for row in self.store.state.launches.values()]

    def events(self) -> list[str]:
        """Return the kinds of the fleet's events."""
        return [event.kind for event in self.store.state.events if event.kind.startswith("fleet")]

    def alive(self) -> list[str]:
        """Return the live instances."""
        return [instance.instance_id for instance in self.fleet.instances() if instance.alive]


@pytest.fixture
def scene() -> Scene:
    """A fresh scene."""
    return Scene()


class Losing(MemoryFleet):
    """A fleet that launches and loses the answer, while it is told to."""

    losing = True

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch, and say nothing of it."""
        instance = super().launch(launch_id, spec)
        if self.losing:
            raise TransientError("the answer was lost")
        return instance


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


def test_costs_are_settled_by_whatever_road(scene: Scene) -> None:
    """Every run that has ended costs its seconds at its instance's price; the answer by day adds them up."""
    ident = scene.request()
    scene.keeper.step()
    (instance,) = scene.alive()
    until = scene.clock.now() + timedelta(seconds=60)
    scene.store.state.claim(ident, lease_until=until, instance_id=instance)
    assert costs.settle(scene.store) == 0
    scene.clock.advance(10)
    scene.store.state.finish(ident)
    assert [costs.settle(scene.store), costs.settle(scene.store)] == [1, 0]
    with scene.store.begin() as records:
        first, last = costs.days(records, None, None)
        assert (last - first).days == 29
        runs, instances = costs.between(records, first, last)
    assert [(row.model, row.usd) for row in runs] == [("late", pytest.approx(0.01))]
    assert [(row.instances, row.usd) for row in instances] == [(1, pytest.approx(0.01))]


@pytest.mark.parametrize(
    ("first", "last", "wrong"),
    [
        ("2026-02-30", None, "from must be a day"),
        (None, "today", "upto must be a day"),
        ("20260101", None, "from must be a day"),
        ("2026-02-02", "2026-02-01", "is after"),
        ("2024-01-01", "2026-01-01", "366 days"),
    ],
)
def test_days_that_cannot_be(scene: Scene, first: str | None, last: str | None, wrong: str) -> None:
    """Bad days are refused with the parameter's name."""
    with scene.store.begin() as records, pytest.raises(ServiceError, match=wrong):
        costs.days(records, first, last)


def test_days_that_can_be(scene: Scene) -> None:
    """A day alone, a leap year, and the first days of the calendar are days."""
    with scene.store.begin() as records:
        for first, last in (("2026-01-01", "2026-01-01"), ("2024-01-01", "2024-12-31")):
            assert [day.isoformat() for day in costs.days(records, first, last)] == [first, last]
        assert costs.days(records, None, "0001-01-05")[0].isoformat() == "0001-01-02"


def test_request_ids_are_real(scene: Scene) -> None:
    """The launch ids are UUIDs, for they are the tags and the ledger's keys."""
    scene.request()
    scene.keeper.step()
    assert [str(uuid.UUID(ident)) for ident in scene.store.state.launches] == list(scene.store.state.launches)


# --- what is said ---


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
    fields = {"launch": launch, "instance": instance, "type": "c7i.large"}
    assert said()[-1] == ("INFO", "fleet.launched", fields)
    payload = {"instance_id": instance, "instance_type": "c7i.large", "market": "spot", "usd_per_hour": 3.6}
    assert journal(scene.store, skip)[0][-1] == ("fleet.launched", f"launch/{launch}", payload)
    scene.clock.advance(301)
    scene.keeper.step()
    silent = "its trainer was not seen within 300 s"
    gone = {"instance": instance, "launch": launch, "reason": silent}
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


def test_what_settled_costs_say(scene: Scene, said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the number of runs, none when there are none."""
    for settled in (0, 3):
        monkeypatch.setattr(MemoryCosts, "settle", lambda _, settled=settled: settled)
        assert costs.settle(scene.store) == settled
    assert said() == [("INFO", "costs.settled", {"runs": 3})]
