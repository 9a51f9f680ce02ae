"""An artifact from the object store, checked against what its pointer says before anything is made of it."""

from __future__ import annotations

import hashlib

from trainyard.crashpoints import crashpoint, step
from trainyard.errors import ArtifactError
from trainyard.model import Predictor, decode
from trainyard.schema import Schema
from trainyard_predictor.use_cases import Served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from trainyard.alias_object import AliasObject
    from trainyard.contracts.blobs import BlobStore


def load_artifact(blobs: BlobStore, pointer: AliasObject, *, most_bytes: int) -> Served:
    """Read the artifact that ``pointer`` names and make it ready to answer; its golden rows have been scored.

    Raises:
        ArtifactError, ServiceError: it is larger than ``most_bytes``, not what the pointer says, or not a sound model.
        BlobMissingError: it is not there.
        TransientError: the store does not answer.
    """
    if pointer.size > most_bytes:
        raise ArtifactError("too_large", f"an artifact of {pointer.size:,} bytes is over the limit of {most_bytes:,}")
    with step("K34"):
        data = blobs.get(pointer.key).data
    if len(data) != pointer.size:
        raise ArtifactError("bad_size", f"the artifact has {len(data)} bytes, its alias says {pointer.size}")
    if hashlib.sha256(data).hexdigest() != pointer.sha256:
        raise ArtifactError("bad_sha256", "the artifact's SHA-256 is not the one that its alias says")
    crashpoint("K35")
    model = decode(data)
    if model.name != pointer.model:
        raise ArtifactError("other_model", f"the artifact is of the model {model.name!r}")
    predictor = Predictor(model)
    predictor.self_test()
    return Served(pointer.model, pointer.version, pointer.sha256, len(data), predictor, Schema(model.schema.features))
