"""What the tests of requests and of sending look at: one model with ten rows, and the queues."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainyard.clock import ManualClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.testing.fakes import MemoryQueue, MemoryStore
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.use_cases import relay
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask, cancel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.requests import RequestRecord

BY = By("test", "trace")
COLUMNS = ({"name": "late", "type": "bool", "role": "label"}, {"name": "x", "type": "float", "role": "feature"})
SPEC = LaunchSpec(("c7i.large",), spot=True)
RULES = Rules(SPEC, fleet_max=2)
NOWHERE = "00000000-0000-4000-8000-000000000000"


class Scene:
    """One model with ten rows, and the queues."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.store.state.add_dataset("flights", COLUMNS)
        self.queues = {name: MemoryQueue(self.clock) for name in ("training", "arrived", "predictions")}
        policy = {"min_new_rows": None, "priority": 3, "instance_types": ["c7i.large"], "seed": 9}
        with self.store.begin() as records:
            put_model(records, "late", {"dataset": "flights", "label": "late", "policy": policy}, BY)
        self.store.state.add_rows("flights", 10)

    def ask(self, settings: object = None, **place: Any) -> tuple[bool, RequestRecord]:
        """Ask by hand."""
        with self.store.begin() as records:
            return ask(records, "late", {} if settings is None else settings, BY, place=place)

    def cancel(self, ident: str) -> RequestRecord:
        """Cancel."""
        with self.store.begin() as records:
            return cancel(records, ident, BY)

    def explain(self, ident: str) -> Mapping[str, Any]:
        """Explain, with at most two instances."""
        with self.store.begin() as records:
            return explained(records, ident, rules=RULES, resend_seconds=120.0)

    def claim(self, ident: str, seconds: float = 60) -> None:
        """Let a trainer hold it."""
        self.store.state.claim(ident, lease_until=self.clock.now() + timedelta(seconds=seconds), instance_id="i-1")

    def relay(self) -> int:
        """Send once."""
        return relay.relay(self.store, self.queues)

    @property
    def waiting(self) -> int:
        """Messages in the outbox that were not sent."""
        return sum(message.sent_at is None for message in self.store.state.outbox)
