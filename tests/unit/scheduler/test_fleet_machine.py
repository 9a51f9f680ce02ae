"""Two keepers, requests, trainers and a fleet that fails in every way: what must never happen does not."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trainyard.clock import ManualClock
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.errors import TransientError
from trainyard.testing.fakes import FixedPrices, MemoryAttendance, MemoryFleet, MemoryStore
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.domain.machines import Patience
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.fleet import FleetKeeper, Looks
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
FLEET_MAX = 2
RULES = Rules(LaunchSpec(("c7i.large", "m6i.large"), spot=True), FLEET_MAX, patience=Patience(300.0, 180.0))
LEASE_SECONDS = 60
#: So many looks a minute apart, with everything answering, bring an instance to who waits: a pause after a lack of
#: capacity takes one of them, one after a refusal 15, a silent or strange instance in the way 6.
PATIENT_LOOKS = 25


class FailingFleet(MemoryFleet):
    """Loses answers while it is told to, and notes who is ended while at work."""

    def __init__(self) -> None:
        super().__init__()
        self.losing = False
        self.at_work: set[str] = set()
        self.wronged: set[str] = set()

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch, and perhaps say nothing of it."""
        instance = super().launch(launch_id, spec)
        if self.losing:
            raise TransientError("the answer was lost")
        return instance

    def terminate(self, instance_ids: Sequence[str]) -> None:
        """End instances."""
        self.wronged |= self.at_work & set(instance_ids)
        super().terminate(instance_ids)


class FleetMachine(RuleBasedStateMachine):
    """The world, one event at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": {"min_new_rows": None}}, BY)
        self.fleet = FailingFleet()
        self.attendance = MemoryAttendance(self.store)
        self.muted: set[str] = set()
        self.clocks = [ManualClock(), ManualClock()]
        self.keepers = [
            FleetKeeper(
                self.store, self.fleet, FixedPrices({}), rules=RULES, looks=Looks(self.open_requests), clock=clock
            )
            for clock in self.clocks
        ]

    # --- the world ---

    def open_requests(self) -> int:
        """Return how many requests are open, as the queue would."""
        return sum(request.record.open for request in self.store.state.requests.values())

    def alive(self) -> list[Instance]:
        """Return what EC2 calls alive, whatever it answers just now."""
        outage, self.fleet.outage = self.fleet.outage, None
        found = [instance for instance in self.fleet.instances() if instance.alive]
        self.fleet.outage = outage
        return found

    def held(self) -> dict[str, str]:
        """Return the live leases: instance to request."""
        now = self.clock.now()
        return {
            request.instance_id: ident
            for ident, request in self.store.state.requests.items()
            if request.record.state == "running"
            and request.instance_id
            and request.lease_until is not None
            and request.lease_until >= now
        }

    def speak(self) -> None:
        """Let every trainer say what it does, and renew its lease; those that are muted do not."""
        held, alive = self.held(), {instance.instance_id for instance in self.alive()}
        for instance_id in alive - self.muted:
            request = held.get(instance_id)
            state = "idle" if request is None else "busy"
            self.attendance.seen(f"host:{instance_id}", instance_id, "c7i.large", state, request)
            if request is not None:
                until = self.clock.now() + timedelta(seconds=LEASE_SECONDS)
                self.store.state.requests[request].lease_until = until
        self.fleet.at_work = alive & held.keys() - self.muted

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and trainers speak when it has."""
        for clock in (self.clock, *self.clocks):
            clock.advance(seconds)
        self.speak()

    # --- what happens ---

    @precondition(lambda self: self.open_requests() < 6)
    @rule()
    def ask_for_training(self) -> None:
        """Somebody asks."""
        self.store.state.add_rows("flights", 1)
        with self.store.begin() as records:
            ask(records, "late", {}, BY)

    @rule(place=st.integers(0, FLEET_MAX))
    def claim(self, place: int) -> None:
        """A trainer without work takes the oldest request that nobody holds."""
        held = self.held()
        idle = sorted(i.instance_id for i in self.alive() if i.instance_id not in self.muted | held.keys())
        waiting = [
            ident
            for ident, request in self.store.state.requests.items()
            if request.record.open and ident not in held.values()
        ]
        if waiting and place < len(idle):
            until = self.clock.now() + timedelta(seconds=LEASE_SECONDS)
            self.store.state.claim(waiting[0], lease_until=until, instance_id=idle[place])
            self.speak()

    @rule()
    def finish(self) -> None:
        """A trainer is done."""
        for instance_id, ident in sorted(self.held().items())[:1]:
            self.store.state.end(ident, "done")
            self.fleet.at_work.discard(instance_id)
            self.speak()

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.pass_time(seconds)

    @rule(whose=st.integers(0, 2))
    def clock_jumps(self, whose: int) -> None:
        """One clock is an hour ahead of a moment ago: a keeper's, or the database's."""
        (*self.clocks, self.clock)[whose].advance(3600)
        self.speak()

    @rule()
    def instance_dies(self) -> None:
        """Spot capacity is taken back."""
        for instance in self.alive()[:1]:
            self.fleet.at_work.discard(instance.instance_id)
            MemoryFleet.terminate(self.fleet, [instance.instance_id]) if self.fleet.outage is None else None

    @rule()
    def trainer_falls_silent(self) -> None:
        """A trainer hangs: its machine goes on."""
        for instance in self.alive()[:1]:
            self.muted.add(instance.instance_id)
            self.fleet.at_work.discard(instance.instance_id)

    @rule()
    def fleet_forgets(self) -> None:
        """An emulator was killed."""
        self.fleet.forget()
        self.fleet.at_work = set()

    @rule(how=st.sampled_from(["no capacity", "no spot", "refused", "outage", "losing", "well"]))
    def fleet_changes(self, how: str) -> None:
        """EC2 fails in one way, or no longer."""
        types = set(RULES.spec.instance_types)
        self.fleet.no_capacity = types if how == "no capacity" else set()
        self.fleet.no_spot = types if how == "no spot" else set()
        self.fleet.refusal = "UnauthorizedOperation" if how == "refused" else None
        self.fleet.outage = TransientError("away") if how == "outage" else None
        self.fleet.losing = how == "losing"

    @rule(which=st.integers(0, 1))
    def keeper_steps(self, which: int) -> None:
        """A keeper looks."""
        try:
            self.keepers[which].step()
        except TransientError:
            self.speak()

    @rule()
    def all_is_well_for_a_while(self) -> None:
        """Once everything answers, who waits gets an instance within some looks."""
        self.fleet_changes("well")
        for _ in range(PATIENT_LOOKS):
            self.pass_time(60.0)
            for keeper in self.keepers:
                keeper.step()
        if self.open_requests() > 0:
            assert [i for i in self.alive() if i.instance_id not in self.muted], "requests wait and nothing runs"

    # --- what must always hold ---

    @invariant()
    def no_more_than_the_most(self) -> None:
        """Never are there more instances than allowed."""
        assert len(self.alive()) <= FLEET_MAX

    @invariant()
    def one_instance_for_each_launch(self) -> None:
        """No launch id is ever on two instances, and every one is in the ledger."""
        outage, self.fleet.outage = self.fleet.outage, None
        ids = Counter(instance.launch_id for instance in self.fleet.instances())
        self.fleet.outage = outage
        assert all(count == 1 for count in ids.values())
        assert ids.keys() <= self.store.state.launches.keys()

    @invariant()
    def nobody_at_work_is_ended(self) -> None:
        """No instance is ended whose trainer works and says so."""
        assert not self.fleet.wronged


TestFleetMachine = FleetMachine.TestCase
#: 20 fleets in `make test`, 200 in `make properties`.
TestFleetMachine.settings = settings(max_examples=settings().max_examples // 5, stateful_step_count=40, deadline=None)
