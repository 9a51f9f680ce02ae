"""From the outbox to the queues: at least once, in order of the rows, each queue on its own.

No transaction is open while a queue is called: messages are taken for some seconds in one, sent, and marked in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import MessageError, TransientError
from trainyard.messages import TrainingRequest, decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.outbox import Waiting
    from trainyard.contracts.queue import Queue
    from trainyard.contracts.scheduling import Store

#: Most messages of each queue that are taken at once.
BATCH = 100
#: After this long somebody else sends what we took: longer than a send takes, short enough for a crash in between.
HOLD_SECONDS = 10.0
#: An older message means that the relay or its queue is in trouble.
MOST_SECONDS = 120.0
_log = logs.get(__name__)


def relay(store: Store, queues: Mapping[str, Queue]) -> int:
    """Send waiting messages and note which a queue has taken; return how many were looked at.

    What a queue refused is given back, entry by entry, for the next call. A crash between send and mark sends again:
    readers take that.

    Raises:
        TransientError: the database or a queue does not answer; what other queues took is noted nevertheless.
    """
    with store.begin() as records:
        waiting = records.outbox.take(BATCH, hold_seconds=HOLD_SECONDS)
        oldest = records.outbox.oldest_seconds() if waiting else 0.0
    if not waiting:
        return 0
    crashpoint("K13")
    if oldest > MOST_SECONDS:
        _log.warning("relay.outbox_old", oldest_seconds=round(oldest), limit_seconds=MOST_SECONDS)
    sent: list[Waiting] = []
    refused: list[Waiting] = []
    failures: list[str] = []
    for name in dict.fromkeys(message.queue for message in waiting):
        group = [message for message in waiting if message.queue == name]
        unsent = _send(queues[name], name, group, failures)
        sent += [message for message in group if message not in unsent]
        refused += unsent
    _mark(store, sent, refused)
    if failures:
        raise TransientError("; ".join(failures))
    return len(waiting)


def _send(queue: Queue, name: str, group: Sequence[Waiting], failures: list[str]) -> list[Waiting]:
    """Send one queue's messages; return those that it did not take, and add the reason to ``failures``."""
    try:
        with step("K14"):
            refused = queue.send([message.outgoing for message in group])
    except TransientError as e:
        _log.warning("relay.queue_away", queue=name, messages=len(group), reason=str(e))
        failures.append(str(e))
        return list(group)
    if refused:
        failures.append(f"queue {name} refused {len(refused)} of {len(group)} messages")
    return [group[index] for index in refused]


def _mark(store: Store, sent: Sequence[Waiting], refused: Sequence[Waiting]) -> None:
    with step("K15"), store.begin() as records:
        if sent:
            records.outbox.mark_sent([message.id for message in sent])
            records.requests.sent(_request_ids(sent))
        if refused:
            records.outbox.give_back([message.id for message in refused])
    if sent:
        _log.info("relay.sent", messages=len(sent))


def relay_all(store: Store, queues: Mapping[str, Queue]) -> None:
    """Send until the outbox is empty."""
    while relay(store, queues) >= BATCH:
        pass


def _request_ids(messages: Sequence[Waiting]) -> list[str]:
    """Return the requests that the messages point to, each once."""
    found: dict[str, None] = {}
    for message in messages:
        try:
            decoded = decode(message.outgoing.type, message.outgoing.body)
        except MessageError as e:
            _log.error("relay.unreadable_message", error=e, message_id=message.id)
            continue
        if isinstance(decoded, TrainingRequest):
            found[decoded.request_id] = None
    return list(found)
