"""What the scheduler puts into the bucket for the predictor, for tests that have no scheduler."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trainyard.alias_object import (
    AliasObject,
    alias_key,
    artifact_key,
    encode_alias,
    model_key,
    version_key,
    version_object,
)
from trainyard.auth import KEYS_OBJECT, LiveKey, encode_keys, make_key, parse_key
from trainyard.model import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.blobs import BlobStore
    from trainyard.model import Model


def publish_key(blobs: BlobStore, *scopes: str) -> str:
    """Make an API key with ``scopes``, publish it as the only live one, and return it."""
    return publish_keys(blobs, {"it": scopes})["it"]


def publish_keys(blobs: BlobStore, scopes: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Make a key for each name with its scopes, publish them as the only live ones, and return them by name."""
    keys = {name: make_key() for name in scopes}
    live = []
    for name, carried in scopes.items():
        parsed = parse_key(keys[name])
        assert parsed is not None
        live.append(LiveKey(parsed.key_id, parsed.secret_sha256, tuple(carried), None))
    blobs.put(KEYS_OBJECT, encode_keys(live))
    return keys


def publish_model(blobs: BlobStore, name: str) -> None:
    """Publish that a model exists."""
    blobs.put(model_key(name), b"")


def publish_version(blobs: BlobStore, model: Model, version: int) -> AliasObject:
    """Publish a version's artifact and its pointer; return the pointer."""
    data = encode(model)
    pointer = version_object(model.name, version, hashlib.sha256(data).hexdigest(), len(data))
    publish_model(blobs, model.name)
    blobs.put(artifact_key(model.name, pointer.sha256), data)
    blobs.put(version_key(model.name, version), encode_alias(pointer))
    return pointer


def point_alias(blobs: BlobStore, to: AliasObject, *, seq: int, alias: str = "champion", weight: float = 1.0) -> None:
    """Move an alias to a published version."""
    moved = AliasObject(to.model, alias, to.version, to.key, to.sha256, to.size, weight=weight, seq=seq)
    blobs.put(alias_key(to.model, alias), encode_alias(moved))
