"""Pulling: takes what is due, batch after batch; every batch is planned, loaded, and settled from the ledger.

Before a batch is loaded, its fingerprint and the cursor behind it are written down. Whoever pulls next, after a crash
at any point, asks the ledger for that fingerprint: if it is there the cursor moves, if not the range is read again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.sources import Outcome
from trainyard.crashpoints import crashpoint, step
from trainyard.cron import next_due
from trainyard.errors import ServiceError, TransientError
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.pull_spec import FORMAT_ENDINGS, TableSpec, UrlSpec
from trainyard_ingest.domain.pulls import SourceAwayError, refused
from trainyard_ingest.use_cases.intake import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from trainyard.contracts.sources import Claim, Sources
    from trainyard.contracts.warehouse import Dataset, Stored, Warehouse
    from trainyard_ingest.domain.formats import Format
    from trainyard_ingest.domain.pulls import Download, Fetcher, Key, Table, Tables
    from trainyard_ingest.use_cases.intake import RowIntake

#: A worker that dies is replaced after this long; one that lives renews its lease four times as often.
LEASE_SECONDS = 30.0
_BEAT_SECONDS = 8.0
#: Most problems of refused rows that are told in the state of a source; all of them are under its batch.
_TOLD_PROBLEMS = 3
_log = logs.get(__name__)


class LostClaimError(Exception):
    """The source was changed, removed or taken over: what this worker does to it now no longer counts."""


class Puller:
    """Does one pull at a time.

    Args:
        spool: directory for what has been fetched and not yet stored; a slow source never holds a dataset's lock.
        stopping: asked between batches; when it says yes the rest is left to whoever claims the source next.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        warehouse: Warehouse,
        intake: RowIntake,
        tables: Tables,
        fetcher: Fetcher,
        spool: Path | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._sources = sources
        self._warehouse = warehouse
        self._intake = intake
        self._tables = tables
        self._fetcher = fetcher
        self._spool = spool
        self._stopping = stopping

    def step(self) -> bool:
        """Pull one source that is due or asked for; tell whether there was one.

        Raises:
            TransientError: our own database does not answer; the source is taken up again when the lease is over.
        """
        claim = self._sources.claim(lease_seconds=LEASE_SECONDS)
        if claim is None:
            return False
        crashpoint("K1")
        with logs.bound(dataset=claim.source.dataset, source=claim.source.name), _Beat(self._sources, claim):
            try:
                outcome = self._pull(claim)
                # What a stop has left undone is due at once.
                next_at = claim.now if self._stopping() else _next(claim)
                if not self._sources.finish(claim, outcome, next_at=next_at):
                    raise LostClaimError  # noqa: TRY301 - the same end as anywhere on the way
            except LostClaimError:
                _log.warning("pull.lost")
            else:
                _log.info("pull.done", rows=outcome.rows, batch=outcome.batch_id, reason=outcome.error)
        return True

    def _pull(self, claim: Claim) -> Outcome:
        """Pull to the end, or to what stops it; whatever was stored before that stays and counts."""
        pull = _Pull(claim, self._sources, self._warehouse, self._intake)
        try:
            pull.settle()
            if claim.source.kind == "sql":
                self._pull_table(pull)
            else:
                self._pull_url(pull)
        except SourceAwayError as e:
            return pull.outcome(str(e))
        except ServiceError as e:
            return pull.outcome(_told(e))
        except (TransientError, LostClaimError):
            raise
        except Exception as e:  # noqa: BLE001 - one source must never end the loop for all others, nor the worker
            _log.error("pull.crashed", error=e)
            return pull.outcome(f"a fault of the service: {type(e).__name__}; the log of ingest-worker has the whole")
        return pull.outcome(None)

    def _pull_table(self, pull: _Pull) -> None:
        spec = TableSpec.of(pull.source.description)
        with self._tables.open(spec, pull.dataset().schema) as table:
            crashpoint("K2")
            if pull.planned is not None:  # not in the ledger, so the same range again, however many rows it has by now
                self._take_range(pull, table, pull.planned, None)
            limit = table.limit(pull.key)
            while limit is not None and not self._stopping() and self._take_range(pull, table, limit, spec.page_rows):
                pass

    def _take_range(self, pull: _Pull, table: Table, upto: Key, most: int | None) -> bool:
        """Store the next rows up to a place as one batch; tell whether there may be more behind it."""
        with tempfile.TemporaryFile(dir=self._spool) as spool:
            last, count = _write_lines(table.rows(pull.key, upto, most), spool)
            if most is None:
                last = upto
            if last is None:
                return False
            cursor = {"key": last}
            if count == 0:  # what was planned is gone from the source
                pull.advance(cursor, 0)
                return True
            fingerprint = f"sql:{pull.source.run_id}:{_digest([pull.key, last])}"
            pull.load(spool, formats.NDJSON, fingerprint, cursor)
            return count == most

    def _pull_url(self, pull: _Pull) -> None:
        spec = UrlSpec.of(pull.source.description)
        cursor = pull.cursor or {}
        known = cursor.get("validators")
        with tempfile.TemporaryFile(dir=self._spool) as spool:
            download = self._fetcher.fetch(spec, known, spool)
            crashpoint("K2")
            if download is None:
                return
            taken = cursor.get("taken", 0)
            found = {
                "final_url": download.final_url.partition("?")[0],
                "validators": download.validators,
                "sha256": download.sha256,
                "taken": taken,
            }
            if cursor.get("sha256") == download.sha256:  # the server calls it new; it is not
                pull.advance(found, 0)
                return
            etag, modified = download.validators["etag"], download.validators["last_modified"]
            version = _digest([download.final_url, etag, modified])
            # Counted, for a file that is again what it once was is another one than the one before it.
            fingerprint = f"url:{pull.source.run_id}:{taken}:{version}:{download.sha256}"
            pull.load(spool, _format(spec, download), fingerprint, {**found, "taken": taken + 1})


class _Pull:
    """One pull in progress: where it stands and what it has stored."""

    def __init__(self, claim: Claim, sources: Sources, warehouse: Warehouse, intake: RowIntake) -> None:
        self._claim = claim
        self._sources = sources
        self._warehouse = warehouse
        self._intake = intake
        self.source = claim.source
        self.cursor = claim.source.cursor
        self.planned: Key | None = None
        self._rows = 0
        self._batch_id: str | None = None

    @property
    def key(self) -> Key | None:
        """The place in a table up to which everything is stored."""
        return None if self.cursor is None else list(self.cursor["key"])

    def dataset(self) -> Dataset:
        """Return the dataset as it is now."""
        return self._warehouse.dataset(self.source.dataset)

    def settle(self) -> None:
        """Find out from the ledger what became of a batch that an earlier pull had planned."""
        plan = self.source.plan
        if plan is None:
            return
        stored = self._warehouse.find(self.dataset(), plan["fingerprint"])
        if stored is not None:
            self._count(stored)
            self.advance(plan["cursor"], stored.batch.rows)
        elif self.source.kind == "sql":
            self.planned = list(plan["cursor"]["key"])

    def load(self, spool: IO[bytes], kind: Format, fingerprint: str, cursor: dict[str, Any]) -> None:
        """Plan a batch, store it, and move the cursor behind it.

        Raises:
            ServiceError: it was refused as a whole; that is in the ledger, and the cursor stays where it is.
        """
        self._hold(self._sources.plan(self._claim, {"fingerprint": fingerprint, "cursor": cursor}))
        spool.seek(0)
        origin = Origin("pull", self.source.name, fingerprint, None)
        try:
            stored = self._intake.take(self.source.dataset, spool, kind, origin)
        except ServiceError as e:
            stored = self._stored_otherwise(fingerprint, origin, e)
        self._count(stored)
        self.advance(cursor, stored.batch.rows)

    def _stored_otherwise(self, fingerprint: str, origin: Origin, error: ServiceError) -> Stored:
        """Return the batch that another worker has stored meanwhile for the same plan; else enter the refusal."""
        dataset = self.dataset()
        stored = self._warehouse.find(dataset, fingerprint)
        if stored is not None:
            return stored
        # Under a name of its own, for the same rows may be taken once the dataset or the source is mended.
        refusal = Origin(origin.source, origin.source_name, f"{fingerprint}:refused:{error.code}", None)
        self._batch_id = self._intake.refuse(dataset, refusal, error).batch.id
        raise error

    def advance(self, cursor: dict[str, Any], rows: int) -> None:
        """Move the cursor: this is what the source hears of a batch."""
        with step("K9"):
            self._hold(self._sources.advance(self._claim, cursor, rows=rows))
        self.cursor, self.planned = cursor, None

    def outcome(self, error: str | None) -> Outcome:
        """Return how it ended."""
        return Outcome(self._rows, self._batch_id, error)

    def _count(self, stored: Stored) -> None:
        self._rows += stored.batch.rows
        self._batch_id = stored.batch.id

    def _hold(self, held: bool) -> None:
        if not held:
            raise LostClaimError


class _Beat:
    """Renews the lease from a thread of its own while the block runs.

    A renewal that fails is not told to the pull: every write under the claim is checked by its fence anyway.
    """

    def __init__(self, sources: Sources, claim: Claim) -> None:
        self._sources = sources
        self._claim = claim
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pull lease", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(_BEAT_SECONDS):
            try:
                if not self._sources.renew(self._claim, lease_seconds=LEASE_SECONDS):
                    return
            except Exception as e:  # noqa: BLE001 - the next beat tries again, and the pull itself meets the outage
                _log.warning("pull.beat_failed", reason=str(e))


def _next(claim: Claim) -> datetime | None:
    """Return when the source is due again, counted from when this pull began."""
    schedule = claim.source.schedule
    if schedule is None:
        return None
    if "cron" in schedule:
        return next_due(schedule["cron"], claim.now)
    return claim.now + timedelta(seconds=schedule["every"])


def _write_lines(rows: Iterator[tuple[Key, dict[str, Any]]], spool: IO[bytes]) -> tuple[Key | None, int]:
    """Write rows as NDJSON; return the place of the last one, and how many there were."""
    last, count = None, 0
    for place, values in rows:
        spool.write(json.dumps(values, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        last, count = place, count + 1
    return last, count


def _digest(value: list[Any]) -> str:
    """Return what stands for ``value`` in a fingerprint: keys and URLs may be long, and URLs hold signatures."""
    return hashlib.sha256(json.dumps(value, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def _format(spec: UrlSpec, download: Download) -> Format:
    """Return the format: as described, else by Content-Type, else by the ending of the URL's path.

    Raises:
        ServiceError: ``source_refused``: none of them says it.
    """
    ending = FORMAT_ENDINGS.get(spec.format or "")
    kind = None if ending is None else formats.by_name(f"body{ending}")
    if kind is not None:
        return kind
    try:
        return formats.by_content_type(download.content_type)
    except ServiceError:
        kind = formats.by_name(download.final_url.partition("?")[0])
    if kind is None:
        names = ", ".join(FORMAT_ENDINGS)
        raise refused(
            f"neither Content-Type nor the URL's ending says which format it is; give 'format', one of {names}"
        )
    return kind


def _told(error: ServiceError) -> str:
    """Return an error in plain words, with the first of its problems."""
    where = [
        f"; row {problem.row}, column {problem.column}: expected {problem.expected}, got {problem.got}"
        for problem in error.details[:_TOLD_PROBLEMS]
    ]
    return f"{error.code}: {error.message}{''.join(where)}"
