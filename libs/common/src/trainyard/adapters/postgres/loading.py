"""The board of batches on their way in, in Postgres: an unlogged table, written beside the loads' transactions."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from trainyard import logs
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.loading import FORGOTTEN_SECONDS, TOUCHED_EVERY_SECONDS, Loading, LoadingBoard, Origins

if TYPE_CHECKING:
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.contracts.loading import LoadingLine
    from trainyard.contracts.warehouse import Dataset

#: After a failure nobody writes for so long, so that an outage of the board costs a load next to nothing.
_AWAY_SECONDS = 30.0
_log = logs.get(__name__)

_TOUCH = """
    INSERT INTO core.loading (id, dataset_id, source, source_name, trace_id, stage, bytes_done, bytes_total, rows_done)
    VALUES (CAST(:id AS uuid), :dataset, :source, :source_name, :trace_id, :stage, :bytes_done, :bytes_total,
        :rows_done)
    ON CONFLICT (id) DO UPDATE SET stage = excluded.stage, bytes_done = excluded.bytes_done,
        rows_done = excluded.rows_done, touched_at = clock_timestamp()
"""
_SWEEP = "DELETE FROM core.loading WHERE touched_at < clock_timestamp() - make_interval(secs => :seconds)"
_READ = """
    SELECT l.id::text, d.name AS dataset, l.source, l.source_name, l.trace_id, l.bytes_total, l.stage, l.bytes_done,
        l.rows_done, l.started_at
    FROM core.loading l JOIN core.dataset d ON d.id = l.dataset_id AND d.deleted_at IS NULL
    WHERE l.touched_at >= clock_timestamp() - make_interval(secs => :seconds)
        AND NOT EXISTS (SELECT FROM core.batch b WHERE b.id = l.id)
"""


def make_board_engine(database_url: str | sa.URL, *, service: str, role: str | None = None) -> sa.Engine:
    """Return an engine for the board alone: two connections, and no patience with any of them."""
    return sa.create_engine(
        database_url,
        pool_size=2,
        max_overflow=0,
        pool_timeout=0.5,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "application_name": f"trainyard-{service}-board",
            "connect_timeout": 2,
            "options": "-c statement_timeout=500ms -c lock_timeout=250ms -c timezone=UTC"
            + (f" -c role={role}" if role else ""),
        },
    )


class PostgresLoadingBoard(LoadingBoard):
    """The table ``core.loading``.

    Args:
        engine: one of :func:`make_board_engine`; each word is a transaction of its own.
        clock: its monotonic time spaces the words.
    """

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._away_until = float("-inf")

    def begin(self, batch_id: str, dataset: Dataset, origins: Origins) -> LoadingLine:
        """Return a line."""
        return _Line(self, self._clock, batch_id, dataset, origins)

    def listed(self, dataset: Dataset, limit: int) -> list[Loading]:
        """Return what is on its way into the dataset."""
        with transaction(self._engine) as connection:
            found = run(
                connection,
                f"{_READ} AND l.dataset_id = :dataset ORDER BY l.started_at DESC, l.id DESC LIMIT :limit",
                seconds=FORGOTTEN_SECONDS,
                dataset=dataset.id,
                limit=limit,
            )
            return [_loading(row) for row in found]

    def find(self, batch_id: str) -> Loading | None:
        """Return one batch that is on its way."""
        try:
            ident = uuid.UUID(batch_id)
        except ValueError:
            return None
        with transaction(self._engine) as connection:
            found = run(connection, f"{_READ} AND l.id = :id", seconds=FORGOTTEN_SECONDS, id=ident)
            row = found.one_or_none()
        return None if row is None else _loading(row)

    def write(self, statement: str, **values: Any) -> None:
        """Write a word, unless the board was away a moment ago; a failure is logged and forgotten."""
        if self._clock.monotonic() < self._away_until:
            return
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                run(connection, statement, **values)
        except SQLAlchemyError as e:
            self._away_until = self._clock.monotonic() + _AWAY_SECONDS
            _log.warning("loading.board_away", batch=values.get("id"), error=e, again_in_seconds=_AWAY_SECONDS)


class _Line:
    """A batch's line; written from the thread that reads the body and from the one that loads it."""

    def __init__(
        self, board: PostgresLoadingBoard, clock: Clock, batch_id: str, dataset: Dataset, origins: Origins
    ) -> None:
        self._board = board
        self._clock = clock
        self._fixed = {
            "id": batch_id,
            "dataset": dataset.id,
            "source": origins.source,
            "source_name": origins.source_name,
            "trace_id": origins.trace_id,
            "bytes_total": origins.bytes_total,
        }
        self._lock = threading.Lock()
        self._stage: str | None = None
        self._written_at = float("-inf")
        self._ended = False

    def touch(self, stage: str, bytes_done: int, rows_done: int) -> None:
        """Insert or renew the line."""
        with self._lock:
            now = self._clock.monotonic()
            if self._ended or (stage == self._stage and now - self._written_at < TOUCHED_EVERY_SECONDS):
                return
            if self._stage is None:
                self._board.write(_SWEEP, seconds=FORGOTTEN_SECONDS)
            self._stage, self._written_at = stage, now
            self._board.write(_TOUCH, **self._fixed, stage=stage, bytes_done=bytes_done, rows_done=rows_done)

    def end(self) -> None:
        """Delete the line; a later touch of a thread that has not ended yet does not bring it back."""
        with self._lock:
            self._ended = True
            if self._stage is not None:
                self._board.write("DELETE FROM core.loading WHERE id = CAST(:id AS uuid)", id=self._fixed["id"])


def _loading(row: Any) -> Loading:
    origins = Origins(row.source, row.source_name, row.trace_id, row.bytes_total)
    return Loading(row.id, row.dataset, origins, row.stage, row.bytes_done, row.rows_done, row.started_at)
