"""What the tests of the fleet's keeper look at: one model, a fleet that can be told to fail, and keepers."""

from __future__ import annotations

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

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
SPEC = LaunchSpec(("c7i.large",), spot=True)
RULES = Rules(SPEC, fleet_max=2, patience=Patience(boot_seconds=300.0, silent_seconds=180.0))


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


class Losing(MemoryFleet):
    """A fleet that launches and loses the answer, while it is told to."""

    losing = True

    def launch(self, launch_id: str, spec: LaunchSpec) -> Instance:
        """Launch, and say nothing of it."""
        instance = super().launch(launch_id, spec)
        if self.losing:
            raise TransientError("the answer was lost")
        return instance
