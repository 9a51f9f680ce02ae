"""I5: no message without work behind it while the system is quiet, none stuck in the outbox, no dead letters."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trainyard.dead_letters import cause, read
from trainyard.durations import in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.contracts.queue import Depth, Queue, Received
    from trainyard.doctor.evidence import Database, Traffic
    from trainyard.doctor.report import Findings

#: The relay sends within a second; the reader of a queue that is not 'training' takes a message within some more.
_OUTBOX_SECONDS = 120.0
#: So long after the last trace of work messages may still be on their way out: two production leases.
_QUIET_SECONDS = 120.0
#: Who reads each queue.
_READERS = {
    "training": "a trainer",
    "arrived": "the scheduler",
    "objects": "ingest",
    "predictions": "ingest",
    "batch": "the predictor",
}
#: Dead letters that are named, and for how long they are hidden should we die before they are given back.
_PEEKED = 10
_HIDDEN_SECONDS = 10
_MEND_OUTBOX = "Is the scheduler running, and does SQS answer? Its log names the queue that does not."
#: Causes of dead letters (:data:`trainyard.dead_letters.CAUSES`) behind which work waits, and those behind which none
#: does.
_LOST_WORK = frozenset({"request_open", "refused"})
_NO_WORK = frozenset({"unreadable", "request_settled"})
_MEND_DEAD = (
    "See why they died with `trainyard queue dlq {name}`, mend the cause, and send them back with"
    " `trainyard queue redrive {name}`."
)
_MEND_NO_WORK = (
    "Dead letters of {name} that nobody can read, or whose request has ended, are no lost work: do not send them back."
    " Find out who writes what cannot be read (`trainyard queue dlq {name}` shows how each letter begins). They leave"
    " by themselves 14 days after they were first sent, and are named here until then; to drop them at once, purge"
    " trainyard-{name}-dlq (or what {setting} names, with -dlq) with `aws sqs purge-queue --queue-url URL`, which also"
    " drops every letter that could be sent back."
)
_MEND_ELSEWHERE = (
    "Dead letters of {name} about requests that are not in this database are another environment's, or of a time that"
    " was lost with a restored database: compare {setting} of your environments; sent back here they die again."
)
_MEND_UNSEEN = "See the other dead letters of {name} with `trainyard queue dlq {name} --limit 100`."
_MEND_TICKETS = (
    "Messages of requests that have ended do no harm; the scheduler removes them within seconds while no"
    " request is open, so see that it runs and that SQS answers it."
)
_MEND_UNREAD = "Is its reader running? Its log says why it does not take the messages."


def queues_agree(
    findings: Findings, database: Database, queues: Mapping[str, tuple[Queue, Queue]], pause: Callable[[], None]
) -> None:
    """Compare depths with the database; what looks wrong is looked at a second time after ``pause``."""
    if not queues:
        findings.note("no queue was named: none was looked at")
    first = _suspects(database.traffic(), {name: queue.depth() for name, (queue, _) in queues.items()})
    if first:
        pause()
        depths = {name: queues[name][0].depth() for name in first}
        for name, sentence in _suspects(database.traffic(), depths).items():
            findings.problem(sentence, _MEND_TICKETS if name == "training" else _MEND_UNREAD)
    traffic = database.traffic()
    if traffic.oldest_waiting > _OUTBOX_SECONDS:
        findings.problem(
            f"{sum(traffic.waiting.values()):,} messages wait in the database to be sent, the oldest"
            f" for {traffic.oldest_waiting:,.0f} s",
            _MEND_OUTBOX,
        )
    for name, (_, dead_letters) in queues.items():
        dead = dead_letters.depth().total
        if dead:
            letters = _peek(dead_letters)
            said = _letters(letters, database.now().timestamp()) or "hidden just now"
            mend = _mend(name, _causes(database, name, letters), unseen=len(letters) < dead)
            findings.problem(f"queue {name} has {dead:,} dead letter{'s' * (dead > 1)}: {said}", mend)


def _causes(database: Database, name: str, letters: Sequence[Received]) -> set[str]:
    """Return why letters are dead, as far as each and the database tell."""
    readings = [read(name, letter) for letter in letters]
    ids = sorted({reading.request_id for reading in readings if reading.request_id is not None})
    known = database.requests_open(ids) if ids else {}
    return {cause(reading, known.get(reading.request_id or "")) for reading in readings}


def _mend(name: str, causes: set[str], *, unseen: bool) -> str:
    """Say what helps against dead letters of these causes; ``unseen``: there are more, of which nobody knows why."""
    advice = [
        (_MEND_DEAD, bool(causes & _LOST_WORK)),
        (_MEND_NO_WORK, bool(causes & _NO_WORK)),
        (_MEND_ELSEWHERE, "other_environment" in causes),
        (_MEND_UNSEEN, unseen),
    ]
    setting = f"TRAINYARD_QUEUE_{name.upper()}"
    return " ".join(words.format(name=name, setting=setting) for words, helps in advice if helps)


def _letters(letters: Sequence[Received], now: float) -> str:
    """Return how many there are of each type, and how long ago they were first sent; ``now`` as a Unix time."""
    kinds = Counter(letter.type or "without a type" for letter in letters)
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    ages = sorted(now - letter.sent_at for letter in letters if letter.sent_at is not None)
    if ages:
        youngest, oldest = in_words(ages[0]), in_words(ages[-1])
        said += f", first sent {oldest if youngest == oldest else f'{youngest} to {oldest}'} ago"
    return said


def _peek(dead_letters: Queue) -> list[Received]:
    """Return some dead letters; each is given back at once, and being looked at costs it nothing."""
    letters = dead_letters.receive(limit=_PEEKED, wait_seconds=1, visibility_seconds=_HIDDEN_SECONDS)
    for letter in letters:
        dead_letters.extend(letter.receipt, 0)
    return letters


def _suspects(traffic: Traffic, depths: Mapping[str, Depth]) -> dict[str, str]:
    """Return a sentence for each queue that holds messages although nothing in the database is behind them.

    What somebody holds (in flight) is being worked on, except in the training queue, where the database knows of all
    work. Delayed messages are on their way.
    """
    found = {}
    for name, depth in depths.items():
        if traffic.quiet.get(name, float("inf")) < _QUIET_SECONDS or traffic.waiting.get(name):
            continue
        if name == "training":
            if depth.total and not traffic.open_requests:
                found[name] = (
                    f"queue training holds {_numbers(depth)}, and no request has been open for {_QUIET_SECONDS:.0f} s"
                )
        elif depth.visible:
            found[name] = (
                f"queue {name} holds {_numbers(depth)}, and {_READERS.get(name, 'its reader')} has not taken any for"
                f" {_QUIET_SECONDS:.0f} s"
            )
    return found


def _numbers(depth: Depth) -> str:
    parts = {"visible": depth.visible, "in flight": depth.in_flight, "delayed": depth.delayed}
    return f"{depth.total:,} messages ({', '.join(f'{count:,} {state}' for state, count in parts.items() if count)})"
