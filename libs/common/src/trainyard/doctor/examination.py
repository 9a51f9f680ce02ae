"""The doctor: asks every source once whether it answers, then makes the checks that can be made."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.clock import SystemClock
from trainyard.doctor.artifacts import PUBLISHED_WITHIN_SECONDS, aliases_work, objects_are_known
from trainyard.doctor.ledger import audit_is_whole, rows_equal_the_ledger
from trainyard.doctor.leftovers import nothing_is_left_over
from trainyard.doctor.predictions import predictions_are_logged
from trainyard.doctor.queues import queues_agree
from trainyard.doctor.report import Check, Findings, Report
from trainyard.doctor.requests import one_honest_version, requests_move
from trainyard.errors import TrainyardError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.fleet import Fleet
    from trainyard.contracts.queue import Queue
    from trainyard.doctor.evidence import Database, Machine

_log = logs.get(__name__)
_DATABASE, _BLOBS, _QUEUES, _FLEET = "the database", "S3", "SQS", "EC2"

#: Every check by its id: what holds when it passes, and which sources it needs. docs/doctor.md explains each.
CHECKS: Mapping[str, tuple[str, frozenset[str]]] = {
    "I1": ("Rows and checksums equal the ledger, batch by batch", frozenset({_DATABASE})),
    "I2": ("Every training request has ended or moves", frozenset({_DATABASE})),
    "I3": ("One version for a request, judged on rows it never saw", frozenset({_DATABASE})),
    "I4": ("Every alias leads to an artifact that predicts", frozenset({_DATABASE, _BLOBS})),
    "I5": ("No message is left without work behind it, and none is dead", frozenset({_DATABASE, _QUEUES})),
    "I6": ("Every prediction is logged once, with one current label", frozenset({_DATABASE})),
    "I7": ("Every version has its object, and every object its version", frozenset({_DATABASE, _BLOBS})),
    "I8": ("No process, lock, session or directory is left over", frozenset({_DATABASE, _FLEET})),
    "I9": ("The audit log is whole", frozenset({_DATABASE})),
}


@dataclass(frozen=True)
class Limits:
    """How much is looked at, the newest first, so that an answer comes within seconds; None: everything."""

    rows: int | None = 2_000_000
    versions: int | None = 10_000
    artifacts: int | None = 50
    objects: int | None = 200
    predictions: int | None = 200_000
    audit: int | None = 100_000


EVERYTHING = Limits(None, None, None, None, None, None)


@dataclass(frozen=True)
class Sources:
    """Where the evidence comes from. ``queues``: by short name, each with its dead-letter queue."""

    database: Database
    blobs: BlobStore
    queues: Mapping[str, tuple[Queue, Queue]] = field(default_factory=dict)
    fleet: Fleet | None = None
    machine: Machine | None = None


class Doctor:
    """Looks and changes nothing."""

    def __init__(self, sources: Sources, clock: Clock | None = None) -> None:
        self._sources = sources
        self._clock = clock or SystemClock()

    def examine(self, limits: Limits | None = None) -> Report:
        """Make every check that can be made; one that cannot is 'unknown' and says why. Never raises."""
        looks = self._looks(limits or Limits())
        away = self._away()
        return Report([self._check(ident, look, away) for ident, look in looks.items()])

    def _looks(self, limits: Limits) -> dict[str, Callable[[Findings], None]]:
        s = self._sources
        pause = partial(self._clock.sleep, PUBLISHED_WITHIN_SECONDS)
        return {
            "I1": lambda f: rows_equal_the_ledger(f, s.database, limits.rows),
            "I2": lambda f: requests_move(f, s.database),
            "I3": lambda f: one_honest_version(f, s.database, limits.versions),
            "I4": lambda f: aliases_work(f, s.database, s.blobs, limits.artifacts),
            "I5": lambda f: queues_agree(f, s.database, s.queues, pause),
            "I6": lambda f: predictions_are_logged(f, s.database, s.machine, limits.predictions),
            "I7": lambda f: objects_are_known(f, s.database, s.blobs, pause, limits.objects),
            "I8": lambda f: nothing_is_left_over(f, s.database, s.fleet, s.machine),
            "I9": lambda f: audit_is_whole(f, s.database, limits.audit),
        }

    def _away(self) -> dict[str, str]:
        """Return why a source does not answer, by source: asked once, so that an outage costs one wait, not nine."""
        s = self._sources
        questions: dict[str, Callable[[], object]] = {
            _DATABASE: s.database.now,
            _BLOBS: lambda: next(iter(s.blobs.list("catalogue/")), None),
            _QUEUES: lambda: [queue.made_at() for queue, _ in list(s.queues.values())[:1]],
            _FLEET: lambda: None if s.fleet is None else s.fleet.instances(),
        }
        away = {}
        for source, ask in questions.items():
            reason = _trouble(ask, source)
            if reason is not None:
                away[source] = reason
        return away

    def _check(self, ident: str, look: Callable[[Findings], None], away: Mapping[str, str]) -> Check:
        title, needs = CHECKS[ident]
        findings = Findings()
        reasons = [f"{source} does not answer ({away[source]})" for source in sorted(needs & away.keys())]
        reason = "; ".join(reasons) or _trouble(lambda: look(findings), ident)
        return findings.check(ident, title) if reason is None else findings.broken(ident, title, reason)


def _trouble(work: Callable[[], object], what: str) -> str | None:
    """Do the work; return why it could not be done, None when it was.

    Whatever goes wrong here is an answer: a check that breaks must neither hide the others nor look healthy.
    """
    try:
        work()
    except TrainyardError as e:
        return str(e)
    except Exception as e:  # noqa: BLE001 - as the docstring says; the log has the traceback
        _log.error("doctor.broke", what=what, error=e)
        return f"{type(e).__name__}: the scheduler's log has more"
    return None
