"""Models, versions, aliases and deployments in Postgres."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.sql import as_json, run
from trainyard.contracts.registry import (
    NOT_TRAINED_HERE,
    AliasRecord,
    Approval,
    DatasetView,
    DeploymentRecord,
    ImportedVersion,
    ModelRecord,
    Models,
    PublishedAlias,
    PublishedVersion,
    VersionRecord,
    Versions,
)
from trainyard.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

#: Whoever reads version objects and logged predictions knows models by their names only: a model made again under the
#: name of a deleted one goes on where that one ended.
NEXT_VERSION = """1 + coalesce((SELECT max(v.version) FROM core.version v JOIN core.model m ON m.id = v.model_id
    WHERE m.name = (SELECT name FROM core.model WHERE id = :model_id)), 0)"""
_NO_ROWS = hashlib.sha256(b"").hexdigest()
_DATASET = "SELECT id, name, columns, last_seq FROM core.dataset"
_MODEL = """
    SELECT m.id, m.name, m.dataset_id, d.name AS dataset, m.label, m.task,
           core.with_kinds(m.policy) AS policy, m.created_at,
           (SELECT a.version FROM core.alias a WHERE a.model_id = m.id AND a.name = 'champion') AS champion
    FROM core.model m JOIN core.dataset d ON d.id = m.dataset_id
    WHERE m.deleted_at IS NULL"""
_VERSION = """
    SELECT m.name AS model, v.version, v.request_id::text, v.run_id::text, v.fence, v.artifact_key, v.sha256,
           v.size_bytes, v.upto_seq, v.snapshot_rows, v.snapshot_hash, v.holdout, v.metrics, v.gate, v.passed,
           ARRAY(SELECT a.name FROM core.alias a WHERE a.model_id = v.model_id AND a.version = v.version ORDER BY 1)
               AS aliases, v.created_at, v.not_reproducible, v.extract_key, v.lost_at,
           w.state AS approval_state, w.champion_seq, w.decided_by, w.decided_at, w.reason AS approval_reason
    FROM core.version v JOIN core.model m ON m.id = v.model_id
    LEFT JOIN core.approval w ON w.model_id = v.model_id AND w.version = v.version
    WHERE v.model_id = :model_id"""
NEWEST_VERSIONS = f"{_VERSION} ORDER BY v.version DESC LIMIT :limit"
_ALIAS = """
    SELECT m.name AS model, a.name, a.version, a.seq, a.weight, a.updated_at
    FROM core.alias a JOIN core.model m ON m.id = a.model_id
    WHERE a.model_id = :model_id"""
_DEPLOYMENT = "SELECT id, alias, version, previous_version, seq, actor, reason, at FROM core.deployment"


class PostgresModels(Models):
    """``core.model`` and the little of ``core.dataset`` that belongs to it."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def dataset(self, name: str, *, hold: bool = False) -> DatasetView | None:
        """Return the dataset; ``hold`` may wait for a batch that is being committed, the plain look never does."""
        held = " FOR KEY SHARE" if hold else ""
        found = run(self._connection, f"{_DATASET} WHERE name = :name AND deleted_at IS NULL{held}", name=name)
        row = found.one_or_none()
        return None if row is None else DatasetView(row.id, row.name, tuple(row.columns), row.last_seq)

    def get(self, name: str, *, lock: bool = False) -> ModelRecord | None:
        """Return the model."""
        held = " FOR NO KEY UPDATE OF m" if lock else ""
        row = run(self._connection, f"{_MODEL} AND m.name = :name{held}", name=name).one_or_none()
        return None if row is None else _model(row)

    def page(self, limit: int, after: str | None) -> list[ModelRecord]:
        """Return models by name."""
        found = run(
            self._connection,
            f"{_MODEL} AND m.name > :after ORDER BY m.name LIMIT :limit",
            after=after or "",
            limit=limit,
        )
        return [_model(row) for row in found]

    def names(self, *, dataset: str | None = None) -> list[str]:
        """Return the models' names."""
        return list(
            run(
                self._connection,
                "SELECT m.name FROM core.model m JOIN core.dataset d ON d.id = m.dataset_id"
                " WHERE m.deleted_at IS NULL AND (CAST(:dataset AS text) IS NULL OR d.name = :dataset) ORDER BY 1",
                dataset=dataset,
            ).scalars()
        )

    def add(self, name: str, dataset_id: int, *, label: str, task: str, policy: Policy) -> bool:
        """Insert a model."""
        return bool(
            run(
                self._connection,
                "INSERT INTO core.model (name, dataset_id, label, task, policy)"
                " VALUES (:name, :dataset_id, :label, :task, core.with_families(CAST(:policy AS jsonb)))"
                " ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING",
                name=name,
                dataset_id=dataset_id,
                label=label,
                task=task,
                policy=as_json(policy.to_dict()),
            ).rowcount
        )

    def change_policy(self, model_id: int, policy: Policy) -> None:
        """Replace the policy."""
        run(
            self._connection,
            "UPDATE core.model SET policy = core.with_families(CAST(:policy AS jsonb)) WHERE id = :model_id",
            policy=as_json(policy.to_dict()),
            model_id=model_id,
        )

    def delete(self, model_id: int) -> None:
        """Mark the model deleted and drop its aliases."""
        run(self._connection, "UPDATE core.model SET deleted_at = now() WHERE id = :model_id", model_id=model_id)
        run(self._connection, "DELETE FROM core.alias WHERE model_id = :model_id", model_id=model_id)


class PostgresVersions(Versions):
    """``core.version``, ``core.alias`` and ``core.deployment``."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def version(self, model_id: int, number: int) -> VersionRecord | None:
        """Return one version."""
        row = run(
            self._connection, f"{_VERSION} AND v.version = :number", model_id=model_id, number=number
        ).one_or_none()
        return None if row is None else _version(row)

    def versions(self, model_id: int, limit: int, before: int | None) -> list[VersionRecord]:
        """Return versions, newest first."""
        found = run(
            self._connection,
            f"{_VERSION} AND (CAST(:before AS integer) IS NULL OR v.version < :before)"
            " ORDER BY v.version DESC LIMIT :limit",
            model_id=model_id,
            before=before,
            limit=limit,
        )
        return [_version(row) for row in found]

    def report(self, model_id: int, number: int) -> Mapping[str, Any] | None:
        """Return the version's report, which nothing else reads."""
        found = run(
            self._connection,
            "SELECT report FROM core.version WHERE model_id = :model_id AND version = :number",
            model_id=model_id,
            number=number,
        )
        report: Mapping[str, Any] | None = found.scalar_one_or_none()
        return report

    def with_bytes(self, model_id: int, sha256: str) -> VersionRecord | None:
        """Return the newest version of these bytes."""
        found = run(
            self._connection,
            f"{_VERSION} AND v.sha256 = :sha256 ORDER BY v.version DESC LIMIT 1",
            model_id=model_id,
            sha256=sha256,
        )
        row = found.one_or_none()
        return None if row is None else _version(row)

    def add_imported(self, model_id: int, version: ImportedVersion) -> VersionRecord:
        """Insert a version without request and run: of no rows, tested on none."""
        number = run(
            self._connection,
            "INSERT INTO core.version (model_id, version, artifact_key, sha256, size_bytes, upto_seq, snapshot_rows,"  # noqa: S608 - of a constant
            " snapshot_hash, holdout, metrics, gate, passed, not_reproducible)"
            f" VALUES (:model_id, {NEXT_VERSION}, :artifact_key, :sha256, :size_bytes, 0, 0, :snapshot_hash,"
            " '{}', CAST(:metrics AS jsonb), CAST(:gate AS jsonb), false, :why) RETURNING version",
            model_id=model_id,
            artifact_key=version.artifact_key,
            sha256=version.sha256,
            size_bytes=version.size_bytes,
            snapshot_hash=_NO_ROWS,
            metrics=as_json(version.metrics),
            gate=as_json(version.gate),
            why=NOT_TRAINED_HERE,
        ).scalar_one()
        made = self.version(model_id, number)
        if made is None:
            raise RuntimeError(f"version {number} vanished inside its own transaction")
        return made

    def decide(self, model_id: int, number: int, *, approve: bool, actor: str, reason: str) -> bool:
        """Change the row of a version that waits."""
        done = run(
            self._connection,
            "UPDATE core.approval SET state = :state, decided_by = :actor, decided_at = now(), reason = :reason"
            " WHERE model_id = :model_id AND version = :number AND state = 'pending_approval'",
            state="approved" if approve else "rejected",
            actor=actor,
            reason=reason,
            model_id=model_id,
            number=number,
        )
        return bool(done.rowcount)

    def aliases(self, model_id: int) -> list[AliasRecord]:
        """Return the aliases by name."""
        found = run(self._connection, f"{_ALIAS} ORDER BY a.name", model_id=model_id)
        return [AliasRecord(**row) for row in found.mappings()]

    def alias(self, model_id: int, name: str, *, lock: bool = False) -> AliasRecord | None:
        """Return one alias."""
        held = " FOR NO KEY UPDATE OF a" if lock else ""
        row = run(self._connection, f"{_ALIAS} AND a.name = :name{held}", model_id=model_id, name=name)
        found = row.mappings().one_or_none()
        return None if found is None else AliasRecord(**found)

    def point(self, model_id: int, name: str, version: int, *, weight: float = 1.0) -> AliasRecord:
        """Move or create the alias; ``seq`` goes on from the last one, of a removed alias or deleted model as well.

        Whoever reads the alias object knows models by their names only, and takes a lower ``seq`` for an old object.
        """
        run(
            self._connection,
            """
            INSERT INTO core.alias AS a (model_id, name, version, weight, seq)
            SELECT :model_id, :name, :version, :weight,
                   1 + coalesce((SELECT max(d.seq) FROM core.deployment d JOIN core.model m ON m.id = d.model_id
                                 WHERE d.alias = :name
                                 AND m.name = (SELECT name FROM core.model WHERE id = :model_id)), 0)
            ON CONFLICT (model_id, name) DO UPDATE SET version = excluded.version, weight = excluded.weight,
                   seq = greatest(a.seq + 1, excluded.seq), updated_at = now()""",
            model_id=model_id,
            name=name,
            version=version,
            weight=weight,
        )
        moved = self.alias(model_id, name)
        if moved is None:
            raise RuntimeError(f"alias {name} vanished inside its own transaction")
        return moved

    def remove_alias(self, model_id: int, name: str) -> None:
        """Remove the alias."""
        run(
            self._connection,
            "DELETE FROM core.alias WHERE model_id = :model_id AND name = :name",
            model_id=model_id,
            name=name,
        )

    def deployed(
        self, model_id: int, alias: AliasRecord, *, previous_version: int | None, removed: bool, actor: str, reason: str
    ) -> None:
        """Append a deployment."""
        run(
            self._connection,
            "INSERT INTO core.deployment (model_id, alias, version, previous_version, seq, actor, reason)"
            " VALUES (:model_id, :alias, :version, :previous_version, :seq, :actor, :reason)",
            model_id=model_id,
            alias=alias.name,
            version=None if removed else alias.version,
            previous_version=previous_version,
            seq=alias.seq,
            actor=actor,
            reason=reason,
        )

    def deployments_of_all(self, limit: int, before: int | None) -> list[tuple[str, DeploymentRecord]]:
        """Return moves with the names of their models."""
        found = run(
            self._connection,
            "SELECT m.name AS model, d.id, d.alias, d.version, d.previous_version, d.seq, d.actor, d.reason, d.at"
            " FROM core.deployment d JOIN core.model m ON m.id = d.model_id"
            " WHERE m.deleted_at IS NULL AND (CAST(:before AS bigint) IS NULL OR d.id < :before)"
            " ORDER BY d.id DESC LIMIT :limit",
            before=before,
            limit=limit,
        )
        moves = [dict(row) for row in found.mappings()]
        return [(move.pop("model"), DeploymentRecord(**move)) for move in moves]

    def deployments(self, model_id: int, limit: int, before: int | None) -> list[DeploymentRecord]:
        """Return moves, newest first."""
        found = run(
            self._connection,
            f"{_DEPLOYMENT} WHERE model_id = :model_id AND (CAST(:before AS bigint) IS NULL OR id < :before)"
            " ORDER BY id DESC LIMIT :limit",
            model_id=model_id,
            before=before,
            limit=limit,
        )
        return [DeploymentRecord(**row) for row in found.mappings()]

    def deployed_at(self, model_id: int, at: datetime) -> list[DeploymentRecord]:
        """Return the last move of each alias at or before ``at``; removed aliases pointed nowhere."""
        found = run(
            self._connection,
            "SELECT * FROM (SELECT DISTINCT ON (alias) id, alias, version, previous_version, seq, actor, reason, at"
            "  FROM core.deployment WHERE model_id = :model_id AND at <= :at ORDER BY alias, id DESC) last"
            " WHERE version IS NOT NULL ORDER BY id DESC",
            model_id=model_id,
            at=at,
        )
        return [DeploymentRecord(**row) for row in found.mappings()]

    def published(self) -> Sequence[PublishedAlias]:
        """Return every alias with its artifact."""
        found = run(
            self._connection,
            "SELECT m.name AS model, a.name AS alias, a.version, v.artifact_key AS key, v.sha256,"
            " v.size_bytes AS size, a.weight, a.seq"
            " FROM core.alias a JOIN core.model m ON m.id = a.model_id"
            " JOIN core.version v ON v.model_id = a.model_id AND v.version = a.version"
            " WHERE m.deleted_at IS NULL ORDER BY 1, 2",
        )
        return [PublishedAlias(**row) for row in found.mappings()]

    def published_versions(self) -> Sequence[PublishedVersion]:
        """Return every version with its artifact."""
        found = run(
            self._connection,
            "SELECT m.name AS model, v.version, v.sha256, v.size_bytes AS size"
            " FROM core.version v JOIN core.model m ON m.id = v.model_id"
            " WHERE m.deleted_at IS NULL ORDER BY 1, 2",
        )
        return [PublishedVersion(**row) for row in found.mappings()]


def _model(row: Any) -> ModelRecord:
    return ModelRecord(
        id=row.id,
        name=row.name,
        dataset_id=row.dataset_id,
        dataset=row.dataset,
        label=row.label,
        task=row.task,
        policy=Policy.from_dict(row.policy),
        created_at=row.created_at,
        champion=row.champion,
    )


def _version(row: Any) -> VersionRecord:
    return version_of(**row._mapping)  # noqa: SLF001 - SQLAlchemy's documented name for it


def version_of(**values: Any) -> VersionRecord:
    """Return a version of what a statement tells of it."""
    names = ("approval_state", "champion_seq", "decided_by", "decided_at", "approval_reason")
    decided = [values.pop(name) for name in names]
    approval = None if decided[0] is None else Approval(*decided)
    return VersionRecord(**{**values, "aliases": tuple(values["aliases"]), "approval": approval})
