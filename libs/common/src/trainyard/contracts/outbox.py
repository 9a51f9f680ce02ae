"""Messages that wait in the database until a queue has taken them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.queue import Outgoing
    from trainyard.messages import Message


@dataclass(frozen=True)
class Waiting:
    """A message for the queue ``queue`` ('training', 'arrived' or 'predictions')."""

    id: int
    queue: str
    outgoing: Outgoing


class Outbox(Protocol):
    """The outbox inside one transaction."""

    def post(self, queue: str, message: Message, *, delay_seconds: int = 0) -> None:
        """Add a message; it is sent after the transaction's COMMIT, at least once.

        No reader sees it before ``delay_seconds`` (0 to 900) have passed since the queue took it.
        """
        ...

    def take(self, limit: int, *, hold_seconds: float) -> list[Waiting]:
        """Return the oldest waiting messages of each queue, at most ``limit`` of it, that nobody else has taken.

        They are ours for ``hold_seconds``: to be sent outside the transaction, then marked or given back. Whoever takes
        them and dies loses them to the next after that time.
        """
        ...

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that a queue has these."""
        ...

    def give_back(self, ids: Sequence[int]) -> None:
        """Let these be taken again now: their queue did not accept them."""
        ...

    def waiting(self, queue: str) -> list[Outgoing]:
        """Return what still waits for ``queue``, taken or not."""
        ...

    def oldest_seconds(self) -> float:
        """Return how long the oldest message has waited; 0 when none does."""
        ...

    def forget_sent(self, *, older_than_seconds: float) -> int:
        """Remove messages that were sent that long ago; return how many."""
        ...
