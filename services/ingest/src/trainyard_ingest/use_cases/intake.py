"""Rows in: the one road that HTTP bodies and landing files take into the warehouse."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Protocol

from trainyard import logs
from trainyard.contracts.loading import Origins
from trainyard.contracts.warehouse import Intake
from trainyard.dataset_settings import ADD
from trainyard.errors import ServiceError
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.limits import MAX_STREAM_BYTES
from trainyard_ingest.domain.source import Source
from trainyard_ingest.domain.tally import Tally
from trainyard_ingest.use_cases.pace import Ahead
from trainyard_ingest.use_cases.progress import Counted, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from trainyard.clock import Clock
    from trainyard.contracts.loading import LoadingBoard
    from trainyard.contracts.warehouse import Dataset, Rows, Stored, Warehouse
    from trainyard.schema import Column
    from trainyard_ingest.domain.formats import Format
    from trainyard_ingest.domain.source import Readable

_log = logs.get(__name__)


@dataclass(frozen=True)
class Origin:
    """Where a body came from.

    Attributes:
        fingerprint: identifies it; None: its own hash does.
        size: its length in bytes, None when it is not known.
        sha256: of the body in hex, as its sender says; None when nobody says. Another body is refused.
    """

    source: str
    source_name: str
    fingerprint: str | None
    trace_id: str | None
    size: int | None = None
    sha256: str | None = None

    def fingerprint_of(self, kind: Format, sha256: str | None) -> str | None:
        """Return what identifies a body with that hash; None when that is not known yet."""
        if self.fingerprint is not None or sha256 is None:
            return self.fingerprint
        return f"sha256:{kind.name}:{sha256}"


class Grow(Protocol):
    """Adds columns that a batch brings to its dataset."""

    def __call__(self, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
        """Return the dataset as it is then."""
        ...


class RowIntake:
    """Reads, checks and stores bodies of rows; tells the board, if there is one, how far each is.

    ``most_bytes``: what a body may have as sent, where its format does not say less. ``grow``: asked to add the columns
    that a batch brings to a dataset whose settings allow it; such bodies are put on disk first.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        clock: Clock,
        spool: Path | None = None,
        *,
        board: LoadingBoard | None = None,
        most_bytes: int = MAX_STREAM_BYTES,
        grow: Grow | None = None,
    ) -> None:
        self.most_bytes = most_bytes
        self._warehouse = warehouse
        self._clock = clock
        self._spool = spool
        self._board = board
        self._grow = grow

    def take(self, name: str, stream: Readable, kind: Format, origin: Origin) -> Stored:
        """Store the rows of a body as one batch, once: the same body again gives the same batch.

        Raises:
            ServiceError: ``unknown_dataset``; ``key_reused``: the fingerprint came before with another body; for a
                body that cannot be read or does not fit, its code, and nothing is stored.
        """
        dataset = self._warehouse.dataset(name)
        if self._grow is not None and dataset.settings.new_columns == ADD:
            with self._on_disk(stream, kind) as file:
                columns = formats.new_columns(Source(file, self.most_bytes, self._spool), kind, dataset.schema)
                dataset = self._grow(dataset, columns, actor=origin.source_name)
                file.seek(0)
                return self._store(dataset, file, kind, origin)
        return self._store(dataset, stream, kind, origin)

    @contextmanager
    def _on_disk(self, stream: Readable, kind: Format) -> Iterator[IO[bytes]]:
        """Give the body as a file without a name: its first rows are read twice."""
        with TemporaryFile(dir=self._spool) as file:
            for block in Source(stream, min(kind.most_bytes, self.most_bytes)).blocks():
                file.write(block)
            file.seek(0)
            yield file

    def _store(self, dataset: Dataset, stream: Readable, kind: Format, origin: Origin) -> Stored:
        tally = Tally(dataset.settings.max_rejected_share)
        progress = self._progress(dataset, origin, tally)
        with progress.told():
            source = Source(Counted(stream, progress), min(kind.most_bytes, self.most_bytes), self._spool)
            stored = self._take(dataset, source, kind, origin, tally=tally, progress=progress)
        batch = stored.batch
        if stored.new:
            _log.info("batch.committed", dataset=dataset.name, batch=batch.id, rows=batch.rows, rejected=batch.rejected)
        return stored

    def _take(
        self, dataset: Dataset, source: Source, kind: Format, origin: Origin, *, tally: Tally, progress: Progress
    ) -> Stored:
        expected = origin.fingerprint_of(kind, origin.sha256)
        if expected is not None:
            earlier = self._warehouse.find(dataset, expected)
            if earlier is not None:
                return _same_body(earlier, _as_announced(origin, source.drain()))
        rows = kind.read(source, dataset.schema, tally)

        def conclude() -> Intake:
            tally.judge()
            return _entry(origin, kind, _as_announced(origin, source.drain()), tally)

        with Ahead(rows.chunks, self._clock, self._spool) as chunks:
            made = replace(rows, chunks=iter(chunks))
            if chunks.settle():
                intake = conclude()
                stored = self._load(dataset, made, lambda: intake, intake.fingerprint, progress)
            else:
                stored = self._load(dataset, made, conclude, expected, progress)
            if not stored.new:
                for _ in chunks:  # its hash is known when it was read to the end
                    pass
        return stored if stored.new else _same_body(stored, _as_announced(origin, source.drain()))

    def _load(
        self,
        dataset: Dataset,
        rows: Rows,
        conclude: Callable[[], Intake],
        fingerprint: str | None,
        progress: Progress,
    ) -> Stored:
        progress.enters("waiting")
        rows = replace(rows, chunks=progress.through(rows.chunks))
        return self._warehouse.load(dataset, rows, conclude, fingerprint=fingerprint, batch_id=progress.batch_id)

    def _progress(self, dataset: Dataset, origin: Origin, tally: Tally) -> Progress:
        """Return what tells the board how far a body is, under the id that its batch will have."""
        batch_id, line = str(uuid.uuid4()), None
        if self._board is not None:
            origins = Origins(origin.source, origin.source_name, origin.trace_id, origin.size)
            line = self._board.begin(batch_id, dataset, origins)
        return Progress(batch_id, line, lambda: tally.rows, origin.size)

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
        fingerprint=str(origin.fingerprint_of(kind, body_sha256)),
        body_sha256=body_sha256,
        trace_id=origin.trace_id,
        rejected=tally.rejected,
        rejects=tally.problems,
    )


def _as_announced(origin: Origin, body_sha256: str) -> str:
    if origin.sha256 not in {None, body_sha256}:
        raise ServiceError(
            "bad_request",
            "the body is not the one that its Content-Digest announces; nothing was stored, send it again",
        )
    return body_sha256


def _same_body(earlier: Stored, body_sha256: str) -> Stored:
    if earlier.body_sha256 != body_sha256:
        raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
    return earlier
