"""What can be done to a connection, under the names that Toxiproxy gives it, and one that only Postgres needs.

``direction`` is "downstream" (server to client) or "upstream". Times carry Toxiproxy's units in their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["downstream", "upstream"]


@dataclass(frozen=True)
class Toxic:
    """Base of all toxics."""

    direction: Direction = "downstream"


@dataclass(frozen=True)
class Latency(Toxic):
    """Every piece of data arrives ``latency_ms`` later, give or take ``jitter_ms``."""

    latency_ms: float = 100
    jitter_ms: float = 0


@dataclass(frozen=True)
class Bandwidth(Toxic):
    """No more than ``rate_kb`` kilobytes a second get through."""

    rate_kb: float = 64


@dataclass(frozen=True)
class SlowClose(Toxic):
    """The end of the stream arrives ``delay_ms`` late."""

    delay_ms: float = 1000


@dataclass(frozen=True)
class Timeout(Toxic):
    """No data gets through; the connection is closed after ``timeout_ms`` (0: never)."""

    timeout_ms: float = 0


@dataclass(frozen=True)
class ResetPeer(Toxic):
    """Connections are reset ``timeout_ms`` after they were made or the toxic was added."""

    timeout_ms: float = 0


@dataclass(frozen=True)
class Slicer(Toxic):
    """Data arrives in pieces of about ``average_size`` bytes, ``delay_us`` apart."""

    average_size: int = 64
    size_variation: int = 0
    delay_us: float = 0


@dataclass(frozen=True)
class Down(Toxic):
    """Every connection is closed and new ones are refused."""


@dataclass(frozen=True)
class DropCommitReply(Toxic):
    """The ``nth`` COMMIT from now on takes effect, but its answer is swallowed and the connection is reset."""

    nth: int = 1
