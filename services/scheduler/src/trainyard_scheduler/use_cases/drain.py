"""Draining the training queue: tickets of requests that have ended, when no trainer runs that would remove them.

A request that was cancelled while it waited, or whose message was sent twice, leaves a ticket behind. Trainers delete
such tickets on their way; without one they would lie in the queue for days, and nobody could tell them from lost work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from trainyard import logs
from trainyard.errors import MessageError
from trainyard.messages import TrainingRequest, decode

if TYPE_CHECKING:
    from trainyard.contracts.queue import Queue, Received
    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Store

_BATCH = 10
#: Batches of one step: the rest goes with the next.
_MOST_BATCHES = 100
#: For how long tickets are hidden should we die before they are settled, or given back.
_HIDDEN_SECONDS = 10
#: A ticket that cannot be read, or of a request that we do not know, dies of five receives; soon, but not in one rush.
_UNKNOWN_AGAIN_SECONDS = 5
_log = logs.get(__name__)


def drain(store: Store, queue: Queue) -> int:
    """Delete the tickets of requests that have ended, while no request is open; return how many.

    Whether a request has ended is looked up after its ticket was received: one that was made meanwhile keeps its own.

    Raises:
        TransientError: the database or the queue service does not answer.
    """
    deleted = 0
    for _ in range(_MOST_BATCHES):
        with store.begin() as records:
            if records.requests.any_open():
                break
        if not queue.depth().visible:
            break
        deleted += sum(_settle(store, queue, ticket) for ticket in _receive(queue))
    if deleted:
        _log.info("tickets.drained", tickets=deleted)
    return deleted


def _receive(queue: Queue) -> list[Received]:
    return queue.receive(limit=_BATCH, wait_seconds=1, visibility_seconds=_HIDDEN_SECONDS)


def _settle(store: Store, queue: Queue, ticket: Received) -> bool:
    """Delete the ticket if its request has ended, else give it back; return whether it was deleted."""
    request = _request(store, ticket)
    if request is None:
        _log.warning("ticket.unknown", message_id=ticket.message_id, receives=ticket.receive_count)
        queue.extend(ticket.receipt, _UNKNOWN_AGAIN_SECONDS)
        return False
    if request.open:
        queue.extend(ticket.receipt, 0)
        return False
    queue.delete(ticket.receipt)
    return True


def _request(store: Store, ticket: Received) -> RequestRecord | None:
    """Return the request that a ticket names; None when it names none that we know."""
    try:
        message = decode(ticket.type, ticket.body)
        if not isinstance(message, TrainingRequest):
            return None
        ident = str(UUID(message.request_id))
    except (MessageError, ValueError):
        return None
    with store.begin() as records:
        return records.requests.get(ident)
