"""Reads ``corpus.toml``: one :class:`Poison` for each of its tables."""

from __future__ import annotations

import base64
import json
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack

#: A type that each queue carries; S3's notifications have none.
OWN_TYPE = {"training": "TrainingRequest", "arrived": "DataArrived", "objects": "", "predictions": "PredictionLogged"}


@dataclass(frozen=True)
class Poison:
    """A message for one queue; ``dead``: whether it must end as a dead letter."""

    name: str
    type: str
    body: str
    dead: bool


def corpus(queue: str) -> list[Poison]:
    """Return every message of the corpus, made for ``queue`` (by its short name)."""
    tables = tomllib.loads((Path(__file__).parent / "corpus.toml").read_text())
    return [
        Poison(name, table.get("type", OWN_TYPE[queue]), _body(table), queue not in table.get("settled", ()))
        for name, table in tables.items()
    ]


def _body(table: dict[str, Any]) -> str:
    times = table.get("times", 1)
    if "hex" in table:
        return base64.b64encode(bytes.fromhex(table["hex"]) * times).decode()
    if "packed" in table:
        content = json.loads(table["packed"].replace("{id}", str(uuid.uuid4())))
        return base64.b64encode(msgpack.packb(content)).decode()
    return str(table["body"]) * times
