"""The run of a request to fit a version again: from its artifact to how the new one compares. It publishes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.blobs import BlobMissingError
from trainyard.contracts.runs import Reproduction
from trainyard.errors import ArtifactError
from trainyard.model import decode
from trainyard_trainer import workdir
from trainyard_trainer.differences import differences
from trainyard_trainer.domain import BlockedError, RunFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.runs import Job, Original
    from trainyard.model import Model
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.guard import Guard


def original_file(original: Original, blobs: BlobStore, guard: Guard) -> tuple[bytes, Model]:
    """Return the artifact of the version, and the model in it.

    Raises:
        BlockedError: rows that it was trained on are gone.
        RunFailedError: ``data``: the artifact is not there, or not what was published.
    """
    if original.not_reproducible is not None:
        raise BlockedError(
            f"version {original.version} cannot be trained again to the same bytes: {original.not_reproducible}"
        )
    try:
        data = guard.work(lambda: blobs.get(original.artifact_key)).data
    except BlobMissingError as e:
        raise RunFailedError("data", f"the artifact of version {original.version} is missing") from e
    if hashlib.sha256(data).hexdigest() != original.sha256:
        raise RunFailedError("data", f"the artifact of version {original.version} is not what was published")
    try:
        return data, decode(data)
    except ArtifactError as e:
        raise RunFailedError("data", f"the artifact of version {original.version} cannot be read: {e}") from e


def as_seen(snapshot: Snapshot, model: Model) -> Snapshot:
    """Return the rows as the version saw them: columns that the dataset has got since are left away, types are as then.

    Raises:
        RunFailedError: ``data``: the rows are others, though the columns are the same.
    """
    lineage, then = model.lineage, model.schema
    if snapshot.sha256 == lineage.snapshot_sha256:
        return replace(snapshot, schema=then)
    now = {column.name: column.type for column in snapshot.schema.columns}
    if now == {column.name: column.type for column in then.columns} or not {c.name for c in then.columns} <= set(now):
        raise RunFailedError(
            "data",
            f"the rows up to {snapshot.upto_seq} are not those that the version was trained on: their content hash is"
            f" {snapshot.sha256}, it was {lineage.snapshot_sha256}",
        )
    # The hash counts the columns of today. That the rows are the same shows in the end: by the bytes of the model.
    columns = {column.name: snapshot.columns[column.name] for column in then.columns}
    return replace(snapshot, schema=then, columns=columns, sha256=lineage.snapshot_sha256)


def described(job: Job, snapshot: Snapshot, directory: Path) -> dict[str, Any]:
    """Fill the run's directory with the rows; return what job.json says."""
    return {"model": job.model, "rows": snapshot.rows, "snapshot": workdir.write_snapshot(directory, snapshot)}


def outcome(data: bytes, model: Model, original: Original, environment: Mapping[str, Any]) -> Reproduction:
    """Return how the artifact that was fitted again compares with the original, whose model is ``model``."""
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 == original.sha256:
        return Reproduction(original.version, sha256, original.sha256)
    said = differences(decode(data), model, environment, original.environment)
    return Reproduction(original.version, sha256, original.sha256, said)
