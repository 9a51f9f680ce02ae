"""What identifies a request that may be sent again and must then have its effect only once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Repeatable:
    """A repeatable POST: its route, who sent it, the key, and the SHA-256 of the body it came with."""

    route: str
    key_id: str
    key: str
    body_sha256: str
