"""The queues for those who run them: how much waits, what died and why, and sending dead letters back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.queue import MAX_BATCH, Outgoing
from trainyard.dead_letters import CAUSES, cause, preview, read
from trainyard.errors import ServiceError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainyard.contracts.queue import Depth, Queue, Received
    from trainyard.contracts.requests import RequestRecord
    from trainyard.contracts.scheduling import Records, Store
    from trainyard_scheduler.use_cases.answers import By

#: A dead letter that somebody looks at is hidden from everybody else for at most this long, should we die meanwhile.
_HIDDEN_SECONDS = 60
#: Long enough that SQS asks all its servers, which a receive without a wait does not.
_WAIT_SECONDS = 1
MAX_MOVED = 500
_log = logs.get(__name__)


@dataclass(frozen=True)
class Pair:
    """A queue and its dead letters."""

    live: Queue
    dead: Queue


@dataclass(frozen=True)
class QueueState:
    """What a queue holds. ``oldest_seconds``: how long the oldest has waited, None where nobody knows."""

    name: str
    depth: Depth
    dead: int
    oldest_seconds: float | None


@dataclass(frozen=True)
class DeadLetter:
    """A letter and what is known about it; ``words`` say for people why it is probably dead."""

    letter: Received
    preview: str
    cause: str
    words: str
    request: RequestRecord | None


@dataclass(frozen=True)
class Redriven:
    """What became of a redrive.

    Attributes:
        moved: letters that are in their queue again; 0 when the service moves them (``background``).
        kept: letters that the queue does not take: they stay dead.
        left: letters that are still dead, those included, as the service counts them.
        background: the service moves all of them by itself from now on, in its own time.
    """

    queue: str
    moved: int
    kept: int
    left: int
    background: bool


def states(store: Store, queues: Mapping[str, Pair]) -> list[QueueState]:
    """Return what each queue holds. Only of the training queue the database knows how long its oldest has waited."""
    with store.begin() as records:
        waiting = [request.waited for request in records.requests.open_requests() if request.state == "queued"]
    oldest = {"training": max(waiting, default=None)}
    return [QueueState(name, live, dead.total, oldest.get(name)) for name, (live, dead) in depths(queues).items()]


def depths(queues: Mapping[str, Pair]) -> dict[str, tuple[Depth, Depth]]:
    """Return what each queue and its dead-letter queue hold; all are asked at once, for each takes its time.

    Raises:
        TransientError: a queue does not answer.
    """
    with ThreadPoolExecutor(2 * len(queues) or 1) as pool:
        asked = {name: (pool.submit(pair.live.depth), pool.submit(pair.dead.depth)) for name, pair in queues.items()}
        return {name: (live.result(), dead.result()) for name, (live, dead) in asked.items()}


def pair_called(queues: Mapping[str, Pair], name: str) -> Pair:
    """Return the queue and its dead letters.

    Raises:
        ServiceError: ``unknown_queue``.
    """
    if name not in queues:
        raise ServiceError("unknown_queue", f"there is no queue {name[:80]!r}; there are {', '.join(queues)}")
    return queues[name]


def peek(pair: Pair, limit: int) -> list[Received]:
    """Return up to ``limit`` dead letters; each is given back, so the next reader sees it again.

    Two who look at once share the letters between them. Looking counts as a receive, which no dead letter dies of.
    """
    with _held(pair.dead) as held:
        while len(held) < limit and (more := _take(pair.dead, limit - len(held))):
            held.extend(more)
        return list(held)


def explain(records: Records, queue: str, letter: Received) -> DeadLetter:
    """Say what a dead letter is, and why it is probably dead."""
    reading = read(queue, letter)
    request = None if reading.request_id is None else records.requests.get(reading.request_id)
    why = cause(reading, None if request is None else request.open)
    words = f"{CAUSES[why]}: {reading.problem}" if reading.problem else CAUSES[why]
    return DeadLetter(letter, preview(letter.body), why, words, request)


def redrive(records: Records, queues: Mapping[str, Pair], name: str, limit: int | None, by: By) -> Redriven:
    """Move dead letters back to their queue; ``limit`` None: all of them, by the service itself if it does that.

    Else they are moved one call at a time, at most :data:`MAX_MOVED`, each sent before it is deleted: a crash between
    the two doubles a message, which every reader takes, and loses none. A message about a request that has ended is
    dropped by the trainer that gets it.

    Raises:
        ServiceError: ``unknown_queue``.
        TransientError: a queue does not answer, and nothing was moved.
    """
    pair = pair_called(queues, name)
    background = limit is None and pair.dead.depth().total > 0 and pair.dead.move_back()
    moved, kept = (0, 0) if background else _move(pair, MAX_MOVED if limit is None else limit)
    done = Redriven(name, moved, kept, pair.dead.depth().total, background)
    details = {"moved": moved, "kept": kept, "background": background, "limit": limit}
    records.journal.announce("queue.redriven", f"queue/{name}", details)
    records.journal.audit(actor=by.key_id, action="queue.redrive", subject=f"queue/{name}", details=details)
    _log.info("queue.redriven", queue=name, moved=moved, kept=kept, background=background, limit=limit)
    return done


def _move(pair: Pair, limit: int) -> tuple[int, int]:
    """Return how many letters were moved and how many the queue does not take; ends early when it stops answering."""
    moved = 0
    with _held(pair.dead) as held:  # what the queue does not take, given back at the end and not looked at twice
        while moved + len(held) < limit and (letters := _take(pair.dead, limit - moved - len(held))):
            for letter in letters:
                try:
                    taken = _send(pair.live, letter)
                    if taken:
                        pair.dead.delete(letter.receipt)
                except TransientError as e:
                    if not moved:
                        raise
                    _log.warning("queue.redrive_interrupted", moved=moved, reason=str(e))
                    return moved, len(held)
                if taken:
                    moved += 1
                else:
                    held.append(letter)
        return moved, len(held)


def _send(queue: Queue, letter: Received) -> bool:
    try:
        return not queue.send([Outgoing(letter.type, letter.body)])
    except ValueError as e:  # larger than anything that we send
        _log.warning("queue.letter_kept", message_id=letter.message_id, reason=str(e))
        return False


def _take(dead: Queue, most: int) -> list[Received]:
    return dead.receive(limit=min(most, MAX_BATCH), wait_seconds=_WAIT_SECONDS, visibility_seconds=_HIDDEN_SECONDS)


@contextmanager
def _held(dead: Queue) -> Iterator[list[Received]]:
    """Give every letter of the list back at the end of the block; what cannot be given back comes back by itself."""
    held: list[Received] = []
    try:
        yield held
    finally:
        for letter in held:
            try:
                dead.extend(letter.receipt, 0)
            except TransientError as e:
                _log.warning("queue.letter_not_given_back", message_id=letter.message_id, reason=str(e))
