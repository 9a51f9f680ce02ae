"""The object behind an alias: which version it points to, and what its artifact must look like.

The scheduler writes ``aliases/<model>/<alias>`` from the database; the predictor reads it. The bytes are canonical,
so that an unchanged alias has an unchanged etag. Every S3 key of models and aliases is built here.

Two more objects let the predictor, which has no database, answer exactly: ``versions/<model>/<version>``, in the same
format with :data:`VERSION_ALIAS` as alias, finds a version by its number; ``catalogue/<model>`` (empty) exists for as
long as the model does, so that a model without champion is told from a model that nobody made.
"""

from __future__ import annotations

import math
import re

import msgpack

from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = 1
MAX_BYTES = 4096
#: The alias that stands in the object of a version, which no alias needs to point to.
VERSION_ALIAS = "version"
#: What the keys of :func:`model_key` and :func:`alias_key` begin with.
CATALOGUE_PREFIX = "catalogue/"
ALIASES_PREFIX = "aliases/"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "v": int,
    "model": str,
    "alias": str,
    "version": int,
    "key": str,
    "sha256": str,
    "size": int,
    "weight": (int, float),
    "seq": int,
}


@dataclass(frozen=True)
class AliasObject:
    """Where an alias points. ``size`` is the artifact's, in bytes; ``seq`` rises with every move of the alias."""

    model: str
    alias: str
    version: int
    key: str
    sha256: str
    size: int
    weight: float
    seq: int


def is_name(text: str) -> bool:
    """Tell whether ``text`` may name a dataset, a model or an alias."""
    return _NAME.fullmatch(text) is not None


def alias_key(model: str, alias: str) -> str:
    """Return the key of the alias object.

    Raises:
        ValueError: a name is not well-formed; nothing else may become part of a key.
    """
    return f"{ALIASES_PREFIX}{_checked(model)}/{_checked(alias)}"


def artifact_key(model: str, sha256: str) -> str:
    """Return the key of the artifact with that hash (64 hex digits).

    Raises:
        ValueError: the name or the hash is not well-formed.
    """
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower-case hex: {sha256[:80]!r}")
    return f"models/{_checked(model)}/{sha256}.msgpack"


def extract_key(model: str, snapshot_sha256: str) -> str:
    """Return the key of the rows with that content hash, kept for ``model``; ValueError as for :func:`artifact_key`."""
    if not _SHA256.fullmatch(snapshot_sha256):
        raise ValueError(f"not a SHA-256 in lower-case hex: {snapshot_sha256[:80]!r}")
    return f"extracts/{_checked(model)}/{snapshot_sha256}.parquet"


def model_of(key: str) -> str | None:
    """Return the model whose artifact or extract may have this key; None: the key is not one of ours."""
    model, _, file = key.partition("/")[2].partition("/")
    for key_of, ending in ((artifact_key, ".msgpack"), (extract_key, ".parquet")):
        try:
            if key == key_of(model, file.removesuffix(ending)):
                return model
        except ValueError:
            continue
    return None


def version_key(model: str, version: int) -> str:
    """Return the key of the object that says where a version's artifact is; ValueError as for :func:`alias_key`."""
    if version < 1:
        raise ValueError(f"versions count from 1, not {version}")
    return f"{versions_prefix(model)}{version}"


def versions_prefix(model: str) -> str:
    """Return what the keys of a model's versions begin with; ValueError as for :func:`alias_key`."""
    return f"versions/{_checked(model)}/"


def model_key(model: str) -> str:
    """Return the key of the object that exists while the model does; ValueError as for :func:`alias_key`."""
    return f"{CATALOGUE_PREFIX}{_checked(model)}"


def version_object(model: str, version: int, sha256: str, size: int) -> AliasObject:
    """Return what stands under :func:`version_key`; it never changes."""
    return AliasObject(model, VERSION_ALIAS, version, artifact_key(model, sha256), sha256, size, weight=1.0, seq=0)


def encode_alias(alias: AliasObject) -> bytes:
    """Return the object's bytes: equal aliases give equal bytes."""
    packed: bytes = msgpack.packb(
        {
            "v": VERSION,
            "model": alias.model,
            "alias": alias.alias,
            "version": alias.version,
            "key": alias.key,
            "sha256": alias.sha256,
            "size": alias.size,
            "weight": float(alias.weight),
            "seq": alias.seq,
        }
    )
    return packed


def decode_alias(data: bytes) -> AliasObject:
    """Return the alias that ``data`` holds.

    Raises:
        ValueError: the bytes are not an alias object of this version, or contradict themselves.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"an alias object of {len(data)} bytes is over the limit of {MAX_BYTES}")
    try:
        raw: Any = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, msgpack.exceptions.UnpackException) as e:
        raise ValueError("an alias object that is not msgpack") from e
    if not isinstance(raw, dict) or raw.get("v") != VERSION:
        raise ValueError(f"not an alias object of version {VERSION}")
    if set(raw) != set(_FIELDS):
        raise ValueError(f"the alias object's fields {sorted(map(str, raw))} are not {sorted(_FIELDS)}")
    wrong = [name for name, kind in _FIELDS.items() if not isinstance(raw[name], kind) or isinstance(raw[name], bool)]
    if wrong:
        raise ValueError(f"the alias object's {', '.join(wrong)} is of the wrong type")
    if raw["version"] < 1 or raw["size"] < 0 or raw["seq"] < 0 or not 0 <= raw["weight"] < math.inf:
        raise ValueError("the alias object holds a number out of range")
    if raw["key"] != artifact_key(raw["model"], raw["sha256"]) or not is_name(raw["alias"]):
        raise ValueError("the alias object's key is not that of its model and hash")
    del raw["v"]
    return AliasObject(**{**raw, "weight": float(raw["weight"])})


def _checked(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"not a name: {name[:80]!r}")
    return name
