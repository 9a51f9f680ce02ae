"""What ingest and the trainer would have written, as plain SQL: a dataset, batches, versions."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trainyard.adapters.postgres import journal
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.messages import DataArrived

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.runs import Line

COLUMNS = [
    {"name": "x", "type": "float", "role": "feature", "nullable": True, "categories": None, "physical": "c1"},
    {"name": "late", "type": "bool", "role": "label", "nullable": False, "categories": None, "physical": "c2"},
    {"name": "id", "type": "int", "role": "key", "nullable": False, "categories": None, "physical": "c3"},
]


class Warehouse:
    """One dataset ``flights`` in the database of ``engine``; ``existing``: another one has made it."""

    def __init__(self, engine: sa.Engine, *, existing: bool = False) -> None:
        self._engine = engine
        with engine.begin() as connection:
            if existing:
                found = connection.execute(sa.text("SELECT id FROM core.dataset WHERE name = 'flights'"))
                self.dataset_id = found.scalar_one()
                return
            self.dataset_id = connection.execute(
                sa.text("INSERT INTO core.dataset (name, columns) VALUES ('flights', CAST(:c AS jsonb)) RETURNING id"),
                {"c": json.dumps(COLUMNS)},
            ).scalar_one()
            connection.execute(
                sa.text(
                    f"CREATE TABLE data_.t_{self.dataset_id} (ingest_seq bigint PRIMARY KEY, batch_id uuid NOT NULL,"
                    " c1 float8, c2 boolean, c3 bigint)"
                )
            )

    def add(self, rows: int, *, announce: bool = True) -> int:
        """Commit a batch of ``rows`` rows as ingest does, message included; return the last row's number."""
        batch = str(uuid.uuid4())
        table = f"data_.t_{self.dataset_id}"
        with self._engine.begin() as connection:
            last = connection.execute(
                sa.text("UPDATE core.dataset SET last_seq = last_seq + :n WHERE id = :id RETURNING last_seq"),
                {"n": rows, "id": self.dataset_id},
            ).scalar_one()
            connection.execute(
                sa.text(
                    f"INSERT INTO {table} SELECT n, CAST(:batch AS uuid), n / 2.0, n % 3 = 0, n"
                    " FROM generate_series(:first, :last) n"
                ),
                {"batch": batch, "first": last - rows + 1, "last": last},
            )
            connection.execute(
                sa.text(
                    "INSERT INTO core.batch (id, dataset_id, source, fingerprint, body_sha256, state, row_count,"
                    " first_seq, last_seq, checksum) SELECT CAST(:batch AS uuid), :id, 'http', :batch, '', 'committed',"
                    " :rows, :first, :last, (SELECT sum(hash_record_extended(ROW(c1, c2, c3), 0))"
                    f" FROM {table} WHERE batch_id = CAST(:batch AS uuid))"
                ),
                {
                    "batch": batch,
                    "id": self.dataset_id,
                    "rows": rows,
                    "first": last - rows + 1,
                    "last": last,
                },
            )
            if announce:
                journal.post(connection, "arrived", DataArrived("flights", batch, last))
        return int(last)

    def claim(self, request_id: str, *, lease_seconds: float = 60.0, instance_id: str | None = None) -> None:
        """Let a trainer hold the request."""
        with self._engine.begin() as connection:
            fence = connection.execute(
                sa.text(
                    "UPDATE core.training_request SET state = 'running', attempt = attempt + 1, fence = fence + 1,"
                    " holder = 'test', lease_until = clock_timestamp() + make_interval(secs => :lease),"
                    " started_at = coalesce(started_at, now()) WHERE id = CAST(:id AS uuid) RETURNING fence"
                ),
                {"id": request_id, "lease": lease_seconds},
            ).scalar_one()
            connection.execute(
                sa.text(
                    "INSERT INTO core.run (id, request_id, attempt, fence, worker, instance_id)"
                    " VALUES (gen_random_uuid(), CAST(:id AS uuid), 1, :fence, 'test', :instance)"
                ),
                {"id": request_id, "fence": fence, "instance": instance_id},
            )

    def say(self, run_id: str, lines: Sequence[Line]) -> None:
        """Keep what a run has said."""
        PostgresRuns(self._engine).keep_lines(run_id, lines)

    def finish(
        self,
        request_id: str,
        *,
        sha256: str = "ab" * 32,
        size: int = 10,
        extract_key: str | None = None,
        report: Mapping[str, Any] | None = None,
        waits: bool = False,
    ) -> int:
        """Let the holder publish a version, which may wait for a person; return its number."""
        with self._engine.begin() as connection:
            number = connection.execute(
                sa.text(
                    """
                    INSERT INTO core.version (model_id, version, request_id, run_id, fence, artifact_key, sha256,
                        size_bytes, upto_seq, snapshot_rows, snapshot_hash, holdout, metrics, gate, passed,
                        extract_key, report)
                    SELECT r.model_id, 1 + (SELECT count(*) FROM core.version v WHERE v.model_id = r.model_id), r.id,
                        u.id, r.fence, 'models/' || m.name || '/' || :sha256 || '.msgpack', :sha256, :size,
                        r.upto_seq, r.upto_seq, 'hash',
                        '{"rule": "time", "fit_upto_seq": 8, "test_from_seq": 9, "test_upto_seq": 10}',
                        '{"roc_auc": 0.7}', '{}', true, :extract_key, CAST(:report AS jsonb)
                    FROM core.training_request r JOIN core.run u ON u.request_id = r.id AND u.fence = r.fence
                    JOIN core.model m ON m.id = r.model_id WHERE r.id = CAST(:id AS uuid) RETURNING version"""
                ),
                {
                    "id": request_id,
                    "sha256": sha256,
                    "size": size,
                    "extract_key": extract_key,
                    "report": None if report is None else json.dumps(report),
                },
            ).scalar_one()
            if waits:
                connection.execute(
                    sa.text(
                        "INSERT INTO core.approval (model_id, version, champion_seq) SELECT r.model_id, :version,"
                        " coalesce((SELECT a.seq FROM core.alias a WHERE a.model_id = r.model_id"
                        "  AND a.name = 'champion'), 0)"
                        " FROM core.training_request r WHERE r.id = CAST(:id AS uuid)"
                    ),
                    {"id": request_id, "version": number},
                )
            connection.execute(
                sa.text(
                    "UPDATE core.training_request SET state = 'done', finished_at = now() WHERE id = CAST(:id AS uuid)"
                ),
                {"id": request_id},
            )
            connection.execute(
                sa.text("UPDATE core.run SET state = 'done', ended_at = now() WHERE request_id = CAST(:id AS uuid)"),
                {"id": request_id},
            )
        return int(number)

    def rows_went(self, version: int) -> None:
        """Mark the version as an erasure does."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE core.version SET not_reproducible = 'erased' WHERE version = :version"),
                {"version": version},
            )

    def drop(self) -> None:
        """Mark the dataset as deleted."""
        with self._engine.begin() as connection:
            connection.execute(sa.text("UPDATE core.dataset SET deleted_at = now()"))

    def end(self, request_id: str, state: str) -> None:
        """Let the request end without a version."""
        with self._engine.begin() as connection:
            for table, ended in (("training_request", "finished_at"), ("run", "ended_at")):
                key = "id" if table == "training_request" else "request_id"
                connection.execute(
                    sa.text(f"UPDATE core.{table} SET state = :state, error = 'no', {ended} = now() WHERE {key} = :id"),
                    {"id": request_id, "state": state},
                )

    def label(self, model: str, prediction_id: str) -> None:
        """Log a prediction if it is new, and commit a label of it, as ingest does."""
        with self._engine.begin() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at)"
                    " VALUES (:id, :model, 1, '{}', '{}', now()) ON CONFLICT DO NOTHING"
                ),
                {"id": prediction_id, "model": model},
            )
            connection.execute(
                sa.text("INSERT INTO core.feedback (prediction_id, label) VALUES (:id, 'true')"), {"id": prediction_id}
            )
