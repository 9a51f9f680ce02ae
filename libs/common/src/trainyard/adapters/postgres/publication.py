"""Rows of a version that is being published: its model, locked, and the version itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.registry import NEXT_VERSION
from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.runs import LeaseLostError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trainyard.contracts.runs import Lease, NewVersion


def lock_model(connection: sa.Connection, lease: Lease) -> Any:
    """Return id, name and deleted_at of the request's model, under the lock that every move of an alias takes.

    The deleted models of its name are locked as well: they share its version numbers, and a run that began before
    the deletion may publish at this very moment.

    Raises:
        LeaseLostError: there is no such request any more.
    """
    found = run(
        connection,
        "SELECT m.id, m.name, m.deleted_at, m.id = r.model_id AS own FROM core.training_request r"
        " JOIN core.model o ON o.id = r.model_id JOIN core.model m ON m.name = o.name"
        " WHERE r.id = CAST(:id AS uuid) ORDER BY m.id FOR NO KEY UPDATE OF m",
        id=lease.request_id,
    )
    model = next((row for row in found if row.own), None)
    if model is None:
        raise lost(lease)
    return model


def insert_version(
    connection: sa.Connection, lease: Lease, model_id: int, version: NewVersion, *, promoted: bool, words: str
) -> int:
    """Write the version of the request that the lease holds; return its number.

    Raises:
        LeaseLostError: the request has a version already.
    """
    number = run(
        connection,
        "INSERT INTO core.version"  # noqa: S608 - of constants
        " (model_id, version, request_id, run_id, fence, artifact_key, sha256, size_bytes, upto_seq, snapshot_rows,"
        " snapshot_hash, holdout, metrics, gate, passed, profile, extract_key, report, not_reproducible)"
        f" SELECT :model_id, {NEXT_VERSION},"
        " r.id, CAST(:run AS uuid), :fence, :artifact_key, :sha256, :size_bytes, r.upto_seq, :snapshot_rows,"
        " :snapshot_hash, CAST(:holdout AS jsonb), CAST(:metrics AS jsonb), CAST(:gate AS jsonb), :passed,"
        " CAST(:profile AS jsonb), :extract_key, CAST(:report AS jsonb),"
        # Rows may have been removed since the run began to read. Removals lock the model's row as well.
        " (SELECT 'rows of its snapshot were removed (' || e.kind || ', erasure ' || e.id || ')'"
        "  FROM core.erasure e JOIN core.model m ON m.dataset_id = e.dataset_id"
        "  WHERE m.id = :model_id AND e.first_seq <= r.upto_seq"
        "  AND e.last_at >= (SELECT started_at FROM core.run WHERE id = CAST(:run AS uuid))"
        "  ORDER BY e.last_at LIMIT 1)"
        " FROM core.training_request r WHERE r.id = CAST(:id AS uuid)"
        " ON CONFLICT (request_id) DO NOTHING RETURNING version",
        model_id=model_id,
        run=lease.run_id,
        id=lease.request_id,
        fence=lease.fence,
        artifact_key=version.artifact_key,
        sha256=version.sha256,
        size_bytes=version.size_bytes,
        snapshot_rows=version.snapshot_rows,
        snapshot_hash=version.snapshot_hash,
        holdout=as_json(version.holdout),
        metrics=as_json(version.metrics),
        gate=as_json({**version.gate, "promoted": promoted, "promotion": words}),
        passed=version.passed,
        profile=None if version.profile is None else as_json(version.profile),
        extract_key=version.extract_key,
        report=None if version.report is None else as_json(version.report),
    ).scalar_one_or_none()
    if number is None:  # cannot be while request and version end in one transaction; a zombie all the same
        raise lost(lease)
    return int(number)


def lost(lease: Lease) -> LeaseLostError:
    """Return the error of a worker that is no longer the one."""
    return LeaseLostError(f"request {lease.request_id} is not held under fence {lease.fence} any more")
