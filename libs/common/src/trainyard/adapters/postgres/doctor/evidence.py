"""Evidence from one database, a short transaction for each question."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg2
from sqlalchemy.exc import DBAPIError

from trainyard.adapters.postgres.copies import PostgresCopies
from trainyard.adapters.postgres.doctor import ledger, statements
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.registry import PostgresModels, PostgresVersions
from trainyard.adapters.postgres.sql import run
from trainyard.doctor.evidence import (
    Audit,
    Database,
    JudgedVersion,
    LaunchRow,
    Ledger,
    Leftovers,
    LeftRun,
    OpenWork,
    Predictions,
    Session,
    StandingAlias,
    StoredVersion,
    Traffic,
    Versions,
    WorkerRow,
)
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from trainyard.contracts.copies import StoreLife
    from trainyard.contracts.registry import PublishedVersion

#: SQLSTATE of a statement that took longer than it may.
_CANCELLED = "57014"


class PostgresDatabase(Database):
    """Reads only. A question that takes longer than ``statement_seconds`` is not answered."""

    def __init__(self, engine: sa.Engine, *, statement_seconds: float = 30.0) -> None:
        self._engine = engine
        self._statement_seconds = statement_seconds

    def now(self) -> datetime:
        """Return the database's time."""
        with self._reading() as connection:
            time: datetime = run(connection, "SELECT clock_timestamp()").scalar_one()
        return time

    def ledger(self, most_rows: int | None) -> Ledger:
        """Count and hash rows, dataset by dataset."""
        with self._reading(steady=True) as connection:
            return ledger.ledger(connection, most_rows)

    def open_requests(self) -> Sequence[OpenWork]:
        """Return open requests, oldest first."""
        with self._reading() as connection:
            return [OpenWork(**row) for row in run(connection, statements.OPEN).mappings()]

    def versions(self, most: int | None) -> Versions:
        """Return the newest versions with their request's state and fence."""
        with self._reading() as connection:
            newest = run(connection, statements.VERSIONS, most=most).mappings()
            return Versions(
                [JudgedVersion(**row) for row in newest],
                run(connection, statements.VERSION_COUNT).scalar_one(),
                list(run(connection, statements.MISCOUNTED).scalars()),
            )

    def aliases(self) -> Sequence[StandingAlias]:
        """Return every alias."""
        with self._reading() as connection:
            found = PostgresVersions(connection).published()
            # The ages come second: one that is moved or removed between the two looks counts as moved just now.
            ages = {(row.model, row.alias): row.seconds for row in run(connection, statements.ALIAS_AGES)}
        return [StandingAlias(alias, ages.get((alias.model, alias.alias), 0.0)) for alias in found]

    def traffic(self) -> Traffic:
        """Look at outbox, requests and what was logged last."""
        with self._reading() as connection:
            waiting = run(connection, statements.WAITING).all()
            return Traffic(
                open_requests=run(
                    connection, "SELECT count(*) FROM core.training_request WHERE state IN ('queued', 'running')"
                ).scalar_one(),
                waiting={row.queue: row.waiting for row in waiting},
                oldest_waiting=max((row.oldest for row in waiting), default=0.0),
                quiet={row.queue: row.seconds for row in run(connection, statements.QUIET)},
            )

    def requests_open(self, ids: Sequence[str]) -> Mapping[str, bool]:
        """Return which of these requests there are, and whether they are open."""
        with self._reading() as connection:
            found = run(connection, statements.REQUESTS_OPEN, ids=list(ids))
            return {row.id: row.open for row in found}

    def predictions(self, most: int | None) -> Predictions:
        """Look through the newest predictions and labels."""
        with self._reading() as connection:
            # The highest seq is an upper bound of the number of entries, found without counting them.
            total = run(connection, "SELECT coalesce(max(seq), 0) FROM core.prediction").scalar_one()
            parked = run(connection, statements.PARKED, most=most).one()
            return Predictions(
                seen=total if most is None else min(most, total),
                total=total,
                doubled=list(run(connection, statements.DOUBLED, most=most).scalars()),
                strangers=[(r.model, r.version, r.n) for r in run(connection, statements.STRANGERS, most=most)],
                relabelled=list(run(connection, statements.RELABELLED, most=most).scalars()),
                parked=parked.n,
                parked_oldest=parked.oldest,
            )

    def stored_versions(self) -> Sequence[StoredVersion]:
        """Return every version's artifact."""
        with self._reading() as connection:
            found = run(
                connection,
                "SELECT m.name AS model, v.version, v.artifact_key AS key, v.size_bytes AS size,"
                " m.deleted_at IS NOT NULL AS deleted, v.lost_at IS NOT NULL AS lost"
                " FROM core.version v JOIN core.model m ON m.id = v.model_id ORDER BY 1, 2",
            )
            return [StoredVersion(**row) for row in found.mappings()]

    def store_lives(self) -> Sequence[StoreLife]:
        """Return the lives."""
        with self._reading() as connection:
            return PostgresCopies(connection).lives()

    def copies(self) -> tuple[int, int]:
        """Count."""
        with self._reading() as connection:
            live = PostgresCopies(connection).live()
        return sum(artifact.copy is not None for artifact in live), len(live)

    def published(self) -> tuple[Sequence[str], Sequence[PublishedVersion]]:
        """Return what the publisher writes."""
        with self._reading() as connection:
            return PostgresModels(connection).names(), PostgresVersions(connection).published_versions()

    def open_models(self) -> frozenset[str]:
        """Return the models with open requests."""
        with self._reading() as connection:
            found = run(
                connection,
                "SELECT DISTINCT m.name FROM core.training_request r JOIN core.model m ON m.id = r.model_id"
                " WHERE r.state IN ('queued', 'running')",
            )
            return frozenset(found.scalars())

    def leftovers(self, idle_seconds: float, launch_ids: Sequence[str]) -> Leftovers:
        """Return sessions, runs, launches and workers."""
        with self._reading() as connection:
            launches = run(connection, statements.LAUNCHES, ids=list(launch_ids)).mappings()
            return Leftovers(
                [Session(**row) for row in run(connection, statements.SESSIONS, idle=idle_seconds).mappings()],
                [LeftRun(**row) for row in run(connection, statements.LEFT_RUNS).mappings()],
                [LaunchRow(**row) for row in launches],
                [WorkerRow(**row) for row in run(connection, statements.WORKERS).mappings()],
            )

    def audit(self, most: int | None) -> Audit:
        """Compute the hashes of the newest entries again."""
        with self._reading() as connection:
            return ledger.audit(connection, most)

    @contextmanager
    def _reading(self, *, steady: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that cannot write and whose statements end in time; ``steady``: they all see the same."""
        try:
            with transaction(self._engine) as connection:
                run(connection, f"SET TRANSACTION {'ISOLATION LEVEL REPEATABLE READ,' if steady else ''} READ ONLY")
                run(connection, f"SET LOCAL statement_timeout = {int(self._statement_seconds * 1000)}")
                yield connection
        except (DBAPIError, psycopg2.Error) as e:
            if getattr(e.orig if isinstance(e, DBAPIError) else e, "pgcode", None) != _CANCELLED:
                raise
            raise TransientError(f"the database took longer than {self._statement_seconds:.0f} s to answer") from e
