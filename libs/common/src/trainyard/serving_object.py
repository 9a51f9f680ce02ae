"""What a predictor process says of itself: one small object on S3, ``serving/<environment>/<process>``.

A process writes it again every few seconds and removes it when it ends; one that was killed is told by the age of its
object. Readers see which environments answer with which version, and which refused one.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import msgpack

VERSION = 1
PREFIX = "serving/"
#: How often a process says it again, and the age from which it counts as gone.
BEAT_SECONDS, GONE_SECONDS = 5.0, 20.0
_MAX_BYTES = 1 << 20
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_NOT_PART = re.compile(r"[^A-Za-z0-9_-]")


@dataclass(frozen=True)
class ServedModel:
    """What one process answers to ``model@asked`` (an alias, or a version's number as text).

    ``version`` None: nothing yet. ``seq``: the move of the alias that it has followed. ``refused``: why not a newer.
    """

    model: str
    asked: str
    version: int | None
    seq: int | None
    refused: str | None


def serving_key(environment: str, process: str) -> str:
    """Return the key of a process's object; what may not stand in a key becomes ``-``.

    Raises:
        ValueError: a part is empty, too long, or begins with something else than a letter or digit.
    """
    parts = [_NOT_PART.sub("-", part) for part in (environment, process)]
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"not an environment and a process: {environment[:80]!r}, {process[:80]!r}")
    return f"{PREFIX}{parts[0]}/{parts[1]}"


def place_of(key: str) -> tuple[str, str] | None:
    """Return environment and process of a key; None: it is not one of these."""
    environment, _, process = key.removeprefix(PREFIX).partition("/")
    ours = key.startswith(PREFIX) and _PART.fullmatch(environment) and _PART.fullmatch(process)
    return (environment, process) if ours else None


def encode_serving(models: list[ServedModel]) -> bytes:
    """Return the object's bytes: equal lists give equal bytes."""
    packed: bytes = msgpack.packb({"v": VERSION, "models": [asdict(one) for one in models]})
    return packed


def decode_serving(data: bytes) -> list[ServedModel]:
    """Return what the object says.

    Raises:
        ValueError: the bytes are not such an object of this version.
    """
    if len(data) > _MAX_BYTES:
        raise ValueError(f"an object of {len(data)} bytes is over the limit of {_MAX_BYTES}")
    try:
        raw: Any = msgpack.unpackb(data, raw=False, strict_map_key=True, max_ext_len=0)
    except (ValueError, msgpack.exceptions.UnpackException) as e:
        raise ValueError("not msgpack") from e
    if not isinstance(raw, dict) or raw.get("v") != VERSION or not isinstance(raw.get("models"), list):
        raise ValueError(f"not an object of version {VERSION}")
    return [_served(one) for one in raw["models"]]


def _served(raw: Any) -> ServedModel:
    fields = {"model": (str,), "asked": (str,), "version": (int, type(None)), "seq": (int, type(None))}
    fields["refused"] = (str, type(None))
    if not isinstance(raw, dict) or set(raw) != set(fields):
        raise ValueError("a served model with other fields")
    if any(not isinstance(raw[name], kinds) or isinstance(raw[name], bool) for name, kinds in fields.items()):
        raise ValueError("a served model with a field of the wrong type")
    return ServedModel(**raw)
