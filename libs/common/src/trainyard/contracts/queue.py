"""A queue with at-least-once delivery: SQS in the cloud and on the emulators, a fake in unit tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Outgoing:
    """A message to send; ``type`` travels as a message attribute, ``body`` is text."""

    type: str
    body: str


@dataclass(frozen=True)
class Received:
    """A message that is now invisible to others until its visibility time ends or it is deleted."""

    message_id: str
    receipt: str
    type: str
    body: str
    receive_count: int


@dataclass(frozen=True)
class Depth:
    """How many messages a queue holds. Approximate on real SQS."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All messages, whatever their state."""
        return self.visible + self.in_flight + self.delayed


class Queue(Protocol):
    """One queue. Every method raises :class:`~trainyard.errors.TransientError` when the service does not answer."""

    def send(self, messages: Sequence[Outgoing]) -> list[int]:
        """Send all messages, in batches as the service allows; return the indexes that were *not* accepted."""
        ...

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait up to ``wait_seconds`` (0..20) for messages; return at most ``limit`` (1..10) of them."""
        ...

    def delete(self, receipt: str) -> None:
        """Settle a message. Deleting twice, or with a receipt that has gone stale, is not an error."""
        ...

    def extend(self, receipt: str, visibility_seconds: int) -> bool:
        """Hide a message for ``visibility_seconds`` from now (0: give it back); False when it is no longer ours."""
        ...

    def depth(self) -> Depth:
        """Return the number of messages by state."""
        ...
