"""From the outbox to the queues: at least once, in order of the rows, each queue on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.crashpoints import crashpoint
from trainyard.errors import MessageError, TransientError
from trainyard.messages import TrainingRequest, decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.outbox import Waiting
    from trainyard.contracts.queue import Queue
    from trainyard.contracts.scheduling import Store

_BATCH = 100
_log = logs.get(__name__)


def relay(store: Store, queues: Mapping[str, Queue]) -> int:
    """Send waiting messages and note which a queue has taken; return how many were looked at.

    What a queue refused stays for the next call. A crash between send and COMMIT sends again: readers take that.

    Raises:
        TransientError: the database or a queue does not answer; what other queues took is noted nevertheless.
    """
    failure: TransientError | None = None
    with store.begin() as records:
        waiting = records.outbox.take(_BATCH)
        sent: list[Waiting] = []
        for name in dict.fromkeys(message.queue for message in waiting):
            group = [message for message in waiting if message.queue == name]
            try:
                refused = set(queues[name].send([message.outgoing for message in group]))
            except TransientError as e:
                _log.warning("relay.queue_away", queue=name, messages=len(group), reason=str(e))
                failure = e
                continue
            crashpoint("K14")
            sent += [message for index, message in enumerate(group) if index not in refused]
            if refused:
                failure = TransientError(f"queue {name} refused {len(refused)} of {len(group)} messages")
        if sent:
            records.outbox.mark_sent([message.id for message in sent])
            records.requests.sent(_request_ids(sent))
    if sent:
        _log.info("relay.sent", messages=len(sent))
    if failure is not None:
        raise failure
    return len(waiting)


def relay_all(store: Store, queues: Mapping[str, Queue]) -> None:
    """Send until the outbox is empty."""
    while relay(store, queues) >= _BATCH:
        pass


def _request_ids(messages: Sequence[Waiting]) -> list[str]:
    found = []
    for message in messages:
        try:
            decoded = decode(message.outgoing.type, message.outgoing.body)
        except MessageError as e:
            _log.error("relay.unreadable_message", error=e, id=message.id)
            continue
        if isinstance(decoded, TrainingRequest):
            found.append(decoded.request_id)
    return found
