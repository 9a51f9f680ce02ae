"""I5: no message without work behind it while the system is quiet, none stuck in the outbox, no dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.contracts.queue import Depth, Queue
    from trainyard.doctor.evidence import Database, Traffic
    from trainyard.doctor.report import Findings

#: The relay sends within a second; the reader of a queue that is not 'training' takes a message within some more.
_OUTBOX_SECONDS = 120.0
#: So long after the last trace of work messages may still be on their way out: two production leases.
_QUIET_SECONDS = 120.0
#: Who reads each queue.
_READERS = {
    "training": "a trainer",
    "arrived": "trainyard_scheduler.main",
    "objects": "trainyard_ingest.main",
    "predictions": "trainyard_ingest.main",
}
_MEND_OUTBOX = "Is trainyard_scheduler.main running, and does SQS answer? Its log names the queue that does not."
_MEND_DEAD = (
    "See what they are with `trainyard queue dlq`, mend the cause, and send them back with `trainyard queue redrive`."
)
_MEND_TICKETS = (
    "Messages of requests that have ended do no harm: the next trainer removes them (`trainyard train MODEL` starts"
    " one), and after four days SQS does."
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
            f"{sum(traffic.waiting.values()):,} messages wait in the outbox, the oldest for"
            f" {traffic.oldest_waiting:,.0f} s",
            _MEND_OUTBOX,
        )
    for name, (_, dead_letters) in queues.items():
        dead = dead_letters.depth().total
        if dead:
            findings.problem(f"queue {name} has {dead:,} dead letter{'s' * (dead > 1)}", _MEND_DEAD)


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
