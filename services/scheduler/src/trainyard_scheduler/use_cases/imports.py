"""Versions that were fitted elsewhere: a model file is decoded, tested, held against its dataset and registered.

It goes through no gate, so it becomes champion only by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.alias_object import artifact_key
from trainyard.contracts.blobs import BlobExistsError
from trainyard.contracts.copies import LiveArtifact
from trainyard.contracts.registry import ImportedVersion
from trainyard.errors import ArtifactError, Problem, ServiceError
from trainyard.model import decode, self_test
from trainyard.policy import CLASSIFICATION
from trainyard.schema.evolution import holds
from trainyard_scheduler.use_cases.models import features_for, model_called, task_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.registry import DatasetView, ModelRecord, VersionRecord
    from trainyard.contracts.scheduling import Records
    from trainyard.model import Model
    from trainyard_scheduler.use_cases.answers import By

MAX_BYTES = 64 * 1024 * 1024
#: Of what a model says about where it was imported from: facts, words in all, characters of each.
_MOST_FACTS, _MOST_WORDS, _MOST_CHARS = 20, 50, 500
_CLASS_TYPES = {"bool": bool, "int": int, "text": str, "category": str}


@dataclass(frozen=True)
class Upload:
    """A model file that answers its golden rows."""

    model: Model
    sha256: str
    size_bytes: int


def read(data: bytes) -> Upload:
    """Decode a model file and let it answer its golden rows.

    Raises:
        ServiceError: ``invalid_artifact``: it is none, it answers otherwise, or it was not imported.
    """
    try:
        model = decode(data)
        self_test(model)
    except ArtifactError as e:
        raise ServiceError("invalid_artifact", f"the body is not a model file that can be served: {e}") from e
    if not _is_origin(model.lineage.configuration.get("imported")):
        raise ServiceError(
            "invalid_artifact",
            "the model does not say in a few words where it comes from; make it with trainyard model import",
        )
    return Upload(model, hashlib.sha256(data).hexdigest(), len(data))


def _is_origin(told: Any) -> bool:
    """Tell whether this is where a model comes from as the converters say it: it goes into lists, events and audits."""
    if not isinstance(told, dict) or not isinstance(told.get("library"), str) or len(told) > _MOST_FACTS:
        return False
    words = [word for value in told.values() for word in (value if isinstance(value, list) else [value])]
    return len(words) <= _MOST_WORDS and all(
        word is None or (isinstance(word, str) and len(word) <= _MOST_CHARS and word.isprintable())
        for word in (*told, *words)
    )


def check(records: Records, name: str, upload: Upload) -> None:
    """Hold the upload against the model called ``name`` and its dataset.

    Raises:
        ServiceError: ``unknown_model``, or ``invalid_artifact`` with every problem.
    """
    model = model_called(records, name)
    dataset = records.models.dataset(model.dataset)
    if dataset is None:
        raise ServiceError("unknown_dataset", f"the dataset {model.dataset!r} of model {name!r} was deleted")
    problems = _problems(model, dataset, upload.model)
    if problems:
        message = f"the file is not one of model {name!r}: {problems[0].column}: {problems[0].expected}"
        raise ServiceError("invalid_artifact", message, problems)


def store(blobs: BlobStore, name: str, data: bytes, sha256: str) -> None:
    """Put the artifact under its hash; the same bytes may be there, and become young again for the sweeper.

    Raises:
        ServiceError: ``conflict``: other bytes stand there, which nobody of us has written.
    """
    key = artifact_key(name, sha256)
    try:
        blobs.put(key, data, only_if_absent=True)
    except BlobExistsError:
        if hashlib.sha256(blobs.get(key).data).hexdigest() != sha256:
            raise ServiceError("conflict", f"another object stands under the key {key}") from None
        blobs.put(key, data)


def register(
    records: Records, name: str, upload: Upload, by: By, *, copy: bytes | None = None
) -> tuple[bool, VersionRecord]:
    """Make it a version, or find the one of the same bytes; return whether it was made, and the version.

    ``copy``: the file, to be kept in the database as well.

    Raises:
        ServiceError: ``unknown_model``, or what :func:`check` raises: model and dataset may have changed since.
    """
    model = model_called(records, name, lock=True)
    check(records, name, upload)
    known = records.versions.with_bytes(model.id, upload.sha256)
    if known is not None:
        return False, known
    origin: Mapping[str, Any] = upload.model.lineage.configuration["imported"]
    made = records.versions.add_imported(
        model.id,
        ImportedVersion(
            artifact_key(name, upload.sha256),
            upload.sha256,
            upload.size_bytes,
            dict(origin),
            upload.model.metrics.get("parity"),
        ),
    )
    if copy is not None:
        records.copies.keep(LiveArtifact(name, made.artifact_key, made.sha256, made.size_bytes, None), copy)
    subject = f"model/{name}"
    details = {"version": made.version, "sha256": upload.sha256, "library": origin.get("library")}
    records.journal.announce("version.imported", subject, details)
    records.journal.audit(actor=by.key_id, action="version.import", subject=subject, details=details)
    return True, made


def _problems(model: ModelRecord, dataset: DatasetView, found: Model) -> list[Problem]:
    problems = []
    if found.name != model.name:
        problems.append(Problem(None, "name", f"the name {model.name}", found.name))
    if found.lineage.dataset != model.dataset:
        problems.append(Problem(None, "dataset", f"the dataset {model.dataset}", found.lineage.dataset))
    wanted = task_for(dataset, model.label, model.task)
    if wanted not in ("auto", found.task) and (wanted != CLASSIFICATION or found.task == "regression"):
        problems.append(Problem(None, "task", f"the task {wanted}", found.task))
    types = {c["name"]: c["type"] for c in dataset.columns}
    allowed = features_for(dataset, model.label)
    for column in found.schema.features:
        if column.name not in allowed:
            problems.append(Problem(None, column.name, "a feature of the dataset", "a column that is none"))
        elif not holds(types[column.name], column.type):
            problems.append(Problem(None, column.name, f"the type {types[column.name]}", column.type))
    kind = _CLASS_TYPES.get(types.get(model.label, ""))
    if found.classes and (kind is None or any(type(c) is not kind for c in found.classes)):
        got = ", ".join(map(repr, found.classes[:5]))
        problems.append(Problem(None, model.label, f"classes that are values of a {types.get(model.label)}", got[:80]))
    return problems
