"""A queue in memory that behaves like a standard SQS queue with a dead-letter queue."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.contracts.queue import Depth, Queue, Received, batches, check_receive, check_visibility

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.queue import Outgoing

_POLL_SECONDS = 0.05


@dataclass
class _Stored:
    message_id: str
    type: str
    body: str
    visible_at: float
    receive_count: int = 0
    receipt: str | None = None


class MemoryQueue(Queue):
    """Time comes from ``clock``: a wait moves a manual clock and blocks on the system's.

    A message that was received ``max_receives`` times and came back goes to ``dead_letters`` instead of its readers.
    ``outage`` is raised by every call while it is set.
    """

    def __init__(self, clock: Clock, *, dead_letters: MemoryQueue | None = None, max_receives: int = 5) -> None:
        self._clock = clock
        self._dead_letters = dead_letters
        self._max_receives = max_receives
        self._lock = threading.Lock()
        self._stored: list[_Stored] = []
        self._made_at = 1
        self.outage: Exception | None = None

    def send(self, messages: Sequence[Outgoing]) -> list[int]:
        """Accept all messages."""
        self._answer()
        accepted = [messages[index] for batch in batches(messages) for index in batch]
        with self._lock:
            now = self._clock.monotonic()
            self._stored += [_Stored(str(uuid.uuid4()), m.type, m.body, now + m.delay_seconds) for m in accepted]
        return []

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Return visible messages in the order in which they were sent, after waiting for the first one."""
        check_receive(limit, wait_seconds, visibility_seconds)
        deadline = self._clock.monotonic() + wait_seconds
        while True:
            self._answer()
            taken = self._take(limit, visibility_seconds)
            left = deadline - self._clock.monotonic()
            if taken or left <= 0:
                return taken
            self._clock.sleep(min(_POLL_SECONDS, left))

    def delete(self, receipt: str) -> None:
        """Settle a message; a stale receipt does nothing."""
        self._answer()
        with self._lock:
            self._stored = [message for message in self._stored if message.receipt != receipt]

    def extend(self, receipt: str, visibility_seconds: int) -> bool:
        """Hide a message from now; False when the receipt is stale."""
        check_visibility(visibility_seconds)
        self._answer()
        with self._lock:
            for message in self._stored:
                if message.receipt == receipt:
                    message.visible_at = self._clock.monotonic() + visibility_seconds
                    return True
        return False

    def made_at(self) -> int:
        """Return the number of this queue: the first is 1."""
        self._answer()
        return self._made_at

    def lose(self) -> None:
        """Lose every message: another queue stands in this one's place."""
        with self._lock:
            self._stored.clear()
            self._made_at += 1

    def depth(self) -> Depth:
        """Return exact numbers."""
        self._answer()
        with self._lock:
            now = self._clock.monotonic()
            visible = sum(message.visible_at <= now for message in self._stored)
            delayed = sum(message.visible_at > now and not message.receive_count for message in self._stored)
            return Depth(visible, len(self._stored) - visible - delayed, delayed)

    def purge(self) -> None:
        """Forget every message, as a purge or the end of the retention time does."""
        with self._lock:
            self._stored.clear()

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage

    def _take(self, limit: int, visibility_seconds: int) -> list[Received]:
        with self._lock:
            now = self._clock.monotonic()
            self._bury(now)
            taken = [message for message in self._stored if message.visible_at <= now][:limit]
            for message in taken:
                message.receipt = str(uuid.uuid4())
                message.receive_count += 1
                message.visible_at = now + visibility_seconds
            return [Received(m.message_id, str(m.receipt), m.type, m.body, m.receive_count) for m in taken]

    def _bury(self, now: float) -> None:
        if self._dead_letters is None:
            return
        dead = [m for m in self._stored if m.visible_at <= now and m.receive_count >= self._max_receives]
        self._stored = [m for m in self._stored if m not in dead]
        self._dead_letters.adopt([(m.message_id, m.type, m.body) for m in dead])

    def adopt(self, messages: Sequence[tuple[str, str, str]]) -> None:
        """Store messages (id, type, body) that another queue has given up; they keep their ids."""
        with self._lock:
            now = self._clock.monotonic()
            self._stored += [_Stored(message_id, kind, body, now) for message_id, kind, body in messages]
