"""The scheduler's records in Postgres: one transaction over all rooms."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres import idempotency, journal
from trainyard.adapters.postgres.api_keys import PostgresApiKeys
from trainyard.adapters.postgres.copies import PostgresCopies
from trainyard.adapters.postgres.costs import PostgresCosts
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.glances import PostgresGlances
from trainyard.adapters.postgres.launches import PostgresLaunches
from trainyard.adapters.postgres.monitoring import PostgresAlarms, PostgresMonitoring
from trainyard.adapters.postgres.outbox import PostgresOutbox
from trainyard.adapters.postgres.registry import PostgresModels, PostgresVersions
from trainyard.adapters.postgres.requests import PostgresRequests
from trainyard.adapters.postgres.sql import run
from trainyard.adapters.postgres.tallies import PostgresTallies
from trainyard.adapters.postgres.upkeep import PostgresUpkeep
from trainyard.adapters.postgres.workers import PostgresWorkers
from trainyard.contracts.answers import Answers
from trainyard.contracts.scheduling import (
    AuditEntry,
    Event,
    Journal,
    Records,
    Store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import sqlalchemy as sa

    from trainyard.contracts.idempotency import Repeatable


class PostgresAnswers(Answers):
    """``core.idempotency``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def first(self, post: Repeatable) -> tuple[int, str] | None:
        """Return the stored answer."""
        return idempotency.stored_answer(self._connection, post)

    def keep(self, post: Repeatable, status: int, response: str) -> None:
        """Store the answer."""
        idempotency.store_answer(self._connection, post, status, response)


class PostgresJournal(Journal):
    """``core.event`` and ``core.audit``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def announce(self, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Record an event."""
        journal.announce(self._connection, kind, subject, dict(payload))

    def audit(self, *, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Append to the chain."""
        journal.audit(self._connection, actor=actor, action=action, subject=subject, details=dict(details))

    def events(self, after: int, limit: int) -> list[Event]:
        """Return later events."""
        found = run(
            self._connection,
            "SELECT id, kind, subject, payload, at FROM core.event WHERE id > :after ORDER BY id LIMIT :limit",
            after=after,
            limit=limit,
        )
        return [Event(**row) for row in found.mappings()]

    def last_event(self) -> int:
        """Return the highest id."""
        highest: int = run(self._connection, "SELECT coalesce(max(id), 0) FROM core.event").scalar_one()
        return highest

    def audit_page(self, limit: int, before: int | None) -> list[AuditEntry]:
        """Return entries, newest first."""
        found = run(
            self._connection,
            "SELECT id, at, actor, action, subject, details, encode(previous_hash, 'hex') AS previous_hash,"
            " encode(hash, 'hex') AS hash FROM core.audit"
            " WHERE CAST(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :limit",
            before=before,
            limit=limit,
        )
        return [AuditEntry(**row) for row in found.mappings()]


class PostgresRecords(Records):
    """All rooms over one connection inside a transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.models = PostgresModels(connection)
        self.versions = PostgresVersions(connection)
        self.requests = PostgresRequests(connection)
        self.outbox = PostgresOutbox(connection)
        self.launches = PostgresLaunches(connection)
        self.workers = PostgresWorkers(connection)
        self.costs = PostgresCosts(connection)
        self.keys = PostgresApiKeys(connection)
        self.answers = PostgresAnswers(connection)
        self.journal = PostgresJournal(connection)
        self.alarms = PostgresAlarms(connection)
        self.upkeep = PostgresUpkeep(connection)
        self.copies = PostgresCopies(connection)
        self.monitoring = PostgresMonitoring(connection)
        self.glances = PostgresGlances(connection)
        self.tallies = PostgresTallies(connection)


class PostgresStore(Store):
    """Transactions of one engine."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    @contextmanager
    def begin(self) -> Iterator[Records]:
        """Open a transaction."""
        with transaction(self._engine) as connection:
            yield PostgresRecords(connection)
