"""Rows in: the one road that HTTP bodies and landing files take into the warehouse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.contracts.warehouse import Intake
from trainyard.errors import ServiceError
from trainyard_ingest.domain.limits import MAX_STREAM_BYTES
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally
from trainyard_ingest.use_cases.pace import Ahead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.contracts.warehouse import Dataset, Rows, Stored, Warehouse
    from trainyard_ingest.domain.formats import Format
    from trainyard_ingest.domain.source import Readable

_log = logs.get(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a body came from. ``fingerprint`` None: the body's own hash identifies it."""

    source: str
    source_name: str
    fingerprint: str | None
    trace_id: str | None


class RowIntake:
    """Reads, checks and stores bodies of rows, which may have ``most_bytes`` as sent."""

    def __init__(
        self, warehouse: Warehouse, clock: Clock, spool: Path | None = None, most_bytes: int = MAX_STREAM_BYTES
    ) -> None:
        self.most_bytes = most_bytes
        self._warehouse = warehouse
        self._clock = clock
        self._spool = spool

    def take(self, name: str, stream: Readable, kind: Format, origin: Origin) -> Stored:
        """Store the rows of a body as one batch, once: the same body again gives the same batch.

        Raises:
            ServiceError: ``unknown_dataset``; ``key_reused``: the fingerprint came before with another body; for a
                body that cannot be read or does not fit, its code, and nothing is stored.
        """
        dataset = self._warehouse.dataset(name)
        source, tally = Source(stream, min(kind.most_bytes, self.most_bytes), self._spool), Tally()
        if origin.fingerprint is not None:
            earlier = self._warehouse.find(dataset, origin.fingerprint)
            if earlier is not None:
                return _same_body(earlier, source.drain())
        rows = kind.read(source, dataset.schema, tally)

        def conclude() -> Intake:
            tally.judge()
            return _entry(origin, kind, source.drain(), tally)

        with Ahead(rows.chunks, self._clock, self._spool) as chunks:
            if chunks.settle():
                intake = conclude()
                stored = self._load(dataset, rows, chunks, lambda: intake, intake.fingerprint)
            else:
                stored = self._load(dataset, rows, chunks, conclude, origin.fingerprint)
            if not stored.new:
                for _ in chunks:  # its hash is known when it was read to the end
                    pass
        batch = stored.batch
        if not stored.new:
            return _same_body(stored, source.drain())
        _log.info("batch.committed", dataset=name, batch=batch.id, rows=batch.rows, rejected=batch.rejected)
        return stored

    def _load(
        self,
        dataset: Dataset,
        rows: Rows,
        chunks: Ahead,
        conclude: Callable[[], Intake],
        fingerprint: str | None,
    ) -> Stored:
        return self._warehouse.load(dataset, replace(rows, chunks=iter(chunks)), conclude, fingerprint=fingerprint)

    def refuse(self, dataset: Dataset, origin: Origin, error: ServiceError) -> Stored:
        """Enter a file that was refused as a whole in the ledger; ``origin`` must have a fingerprint."""
        intake = Intake(
            source=origin.source,
            source_name=origin.source_name,
            fingerprint=str(origin.fingerprint),
            body_sha256="",
            trace_id=origin.trace_id,
            rejects=error.details,
        )
        _log.warning("batch.refused", dataset=dataset.name, source=origin.source_name, reason=str(error))
        return self._warehouse.refuse(dataset, intake, f"{error.code}: {error.message}")


def _entry(origin: Origin, kind: Format, body_sha256: str, tally: Tally) -> Intake:
    return Intake(
        source=origin.source,
        source_name=origin.source_name,
        fingerprint=origin.fingerprint or f"sha256:{kind.name}:{body_sha256}",
        body_sha256=body_sha256,
        trace_id=origin.trace_id,
        rejected=tally.rejected,
        rejects=tally.problems,
    )


def _same_body(earlier: Stored, body_sha256: str) -> Stored:
    if earlier.body_sha256 != body_sha256:
        raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
    return earlier
