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

    def post(self, queue: str, message: Message) -> None:
        """Add a message; it is sent after the transaction's COMMIT, at least once."""
        ...

    def take(self, limit: int) -> list[Waiting]:
        """Return the oldest waiting messages of each queue, at most ``limit`` of it, that no other transaction has.

        They are ours until the end of this one.
        """
        ...

    def mark_sent(self, ids: Sequence[int]) -> None:
        """Note that a queue has these."""
        ...

    def waiting(self, queue: str) -> list[Outgoing]:
        """Return what still waits for ``queue``, taken or not."""
        ...
