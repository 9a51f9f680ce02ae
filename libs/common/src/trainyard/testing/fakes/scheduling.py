"""The scheduler's records in memory: a transaction is a copy that takes the place of the original, or does not."""

from __future__ import annotations

import copy
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainyard.auth import LiveKey
from trainyard.contracts.answers import Answers
from trainyard.contracts.api_keys import ApiKeys, KeyRecord
from trainyard.contracts.outbox import Outbox, Waiting
from trainyard.contracts.scheduling import AuditEntry, Event, Journal, Records, Store
from trainyard.errors import ServiceError
from trainyard.testing.fakes.copies import MemoryCopies
from trainyard.testing.fakes.glances import MemoryGlances
from trainyard.testing.fakes.scheduling_fleet import MemoryCosts, MemoryLaunches
from trainyard.testing.fakes.scheduling_monitoring import MemoryAlarms, MemoryMonitoring
from trainyard.testing.fakes.scheduling_registry import MemoryModels, MemoryVersions
from trainyard.testing.fakes.scheduling_requests import MemoryRequests
from trainyard.testing.fakes.scheduling_rows import Message
from trainyard.testing.fakes.scheduling_state import State
from trainyard.testing.fakes.scheduling_tallies import MemoryTallies
from trainyard.testing.fakes.upkeep import MemoryUpkeep
from trainyard.testing.fakes.workers import MemoryWorkers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainyard import messages
    from trainyard.auth import ParsedKey
    from trainyard.clock import Clock
    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.queue import Outgoing


class MemoryOutbox(Outbox):
    """The outbox."""

    def __init__(self, state: State) -> None:
        self._state = state

    def post(self, queue: str, message: messages.Message, *, delay_seconds: int = 0) -> None:
        """Add a message."""
        outgoing = replace(message.outgoing(), delay_seconds=delay_seconds)
        now = self._state.clock.now()
        self._state.outbox.append(Message(next(self._state.numbers), queue, outgoing, now))

    def take(self, limit: int, *, hold_seconds: float) -> list[Waiting]:
        """Return the oldest waiting messages."""
        now = self._state.clock.now()
        taken = []
        for queue in dict.fromkeys(message.queue for message in self._state.outbox):
            free = [m for m in self._state.outbox if m.queue == queue and m.sent_at is None]
            taken += [m for m in free if m.taken_until is None or m.taken_until < now][:limit]
        for message in taken:
            message.taken_until = now + timedelta(seconds=hold_seconds)
        return [Waiting(m.id, m.queue, m.outgoing) for m in sorted(taken, key=lambda m: m.id)]

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that these were sent."""
        for message in self._state.outbox:
            if message.id in ids:
                message.sent_at = self._state.clock.now()

    def give_back(self, ids: Sequence[int]) -> None:
        """Let these be taken again."""
        for message in self._state.outbox:
            if message.id in ids:
                message.taken_until = None

    def waiting(self, queue: str) -> list[Outgoing]:
        """Return what waits."""
        return [m.outgoing for m in self._state.outbox if m.sent_at is None and m.queue == queue]

    def oldest_seconds(self) -> float:
        """Return the age of the oldest."""
        now = self._state.clock.now()
        return max(((now - m.created_at).total_seconds() for m in self._state.outbox if m.sent_at is None), default=0.0)


class MemoryApiKeys(ApiKeys):
    """The keys."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add(
        self, key: ParsedKey, *, name: str, scopes: Sequence[str], expires_in_days: int | None = None
    ) -> KeyRecord | None:
        """Register a key."""
        if key.key_id in self._state.keys:
            return None
        now = self._state.clock.now()
        expires_at = None if expires_in_days is None else now + timedelta(days=expires_in_days)
        record = KeyRecord(key.key_id, name, tuple(scopes), now, expires_at, None)
        self._state.keys[key.key_id] = (record, LiveKey(key.key_id, key.secret_sha256, tuple(scopes), expires_at))
        return record

    def get(self, key_id: str) -> KeyRecord | None:
        """Return one key."""
        found = self._state.keys.get(key_id)
        return None if found is None else found[0]

    def page(self, limit: int, after: str | None) -> list[KeyRecord]:
        """Return keys by id."""
        return [record for ident, (record, _) in sorted(self._state.keys.items()) if ident > (after or "")][:limit]

    def revoke(self, key_id: str) -> None:
        """Revoke the key, once."""
        record, live = self._state.keys[key_id]
        if record.revoked_at is None:
            self._state.keys[key_id] = (replace(record, revoked_at=self._state.clock.now()), live)

    def live(self) -> list[LiveKey]:
        """Return what is in force."""
        now = self._state.clock.now()
        return [
            live
            for _, (record, live) in sorted(self._state.keys.items())
            if record.revoked_at is None and (record.expires_at is None or record.expires_at > now)
        ]


class MemoryAnswers(Answers):
    """The answers."""

    def __init__(self, state: State) -> None:
        self._state = state

    def first(self, post: Repeatable) -> tuple[int, str] | None:
        """Return the first answer."""
        found = self._state.answers.get((post.route, post.key_id, post.key))
        if found is None:
            return None
        if found[0] != post.body_sha256:
            raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
        return found[1], found[2]

    def keep(self, post: Repeatable, status: int, response: str) -> None:
        """Keep the answer."""
        self._state.answers[post.route, post.key_id, post.key] = (post.body_sha256, status, response)
        self._state.answered_at[post.route, post.key_id, post.key] = self._state.clock.now()


class MemoryJournal(Journal):
    """Events and audit, without the hashes: those are SQL's business."""

    def __init__(self, state: State) -> None:
        self._state = state

    def announce(self, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Record an event."""
        event = Event(self.last_event() + 1, kind, subject, dict(payload), self._state.clock.now())
        self._state.events.append(event)

    def audit(self, *, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Append an entry."""
        number, now = len(self._state.audit) + 1, self._state.clock.now()
        self._state.audit.append(AuditEntry(number, now, actor, action, subject, dict(details), "", ""))

    def events(self, after: int, limit: int) -> list[Event]:
        """Return later events."""
        return [event for event in self._state.events if event.id > after][:limit]

    def last_event(self) -> int:
        """Return the highest id."""
        return self._state.events[-1].id if self._state.events else 0

    def audit_page(self, limit: int, before: int | None) -> list[AuditEntry]:
        """Return entries, newest first."""
        return [entry for entry in self._state.audit[::-1] if before is None or entry.id < before][:limit]


class MemoryRecords(Records):
    """All rooms over one state."""

    def __init__(self, state: State) -> None:
        self.models = MemoryModels(state)
        self.versions = MemoryVersions(state)
        self.requests = MemoryRequests(state)
        self.outbox = MemoryOutbox(state)
        self.launches = MemoryLaunches(state)
        self.workers = MemoryWorkers(state)
        self.costs = MemoryCosts(state)
        self.keys = MemoryApiKeys(state)
        self.answers = MemoryAnswers(state)
        self.journal = MemoryJournal(state)
        self.alarms = MemoryAlarms(state)
        self.upkeep = MemoryUpkeep(state)
        self.copies = MemoryCopies(state)
        self.monitoring = MemoryMonitoring(state)
        self.glances = MemoryGlances(self)
        self.tallies = MemoryTallies(state)


class MemoryStore(Store):
    """One transaction at a time. ``state`` is what was committed; ``outage`` is raised by ``begin`` while it is set."""

    def __init__(self, clock: Clock) -> None:
        self._lock = threading.Lock()
        self.state = State(clock)
        self.outage: Exception | None = None

    @contextmanager
    def begin(self) -> Iterator[Records]:
        """Open a transaction."""
        with self.changing() as state:
            yield MemoryRecords(state)

    @contextmanager
    def changing(self) -> Iterator[State]:
        """Open a transaction of another service, which knows the tables."""
        if self.outage is not None:
            raise self.outage
        with self._lock:
            working = _copied(self.state)
            yield working
            self.state = working


def _copied(state: State) -> State:
    """Copy the tables; the clock and the numbers, which no rollback gives back, stay the same."""
    return copy.deepcopy(state, {id(state.clock): state.clock, id(state.numbers): state.numbers})
