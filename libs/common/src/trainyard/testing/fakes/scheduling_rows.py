"""The rows of the scheduler's records in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trainyard.contracts.fleet import LaunchSpec
    from trainyard.contracts.monitoring import WindowRecord
    from trainyard.contracts.queue import Outgoing
    from trainyard.contracts.requests import RequestRecord
    from trainyard.policy import Policy


@dataclass
class Request:
    """A training request with what only the trainer's side sees."""

    record: RequestRecord
    model_id: int
    fence: int = 0
    lease_until: datetime | None = None
    instance_id: str | None = None
    sent_at: datetime | None = None
    send_count: int = 0
    requested_by: str = "test"
    label_seq: int = 0


@dataclass
class Model:
    """A model's row."""

    id: int
    name: str
    dataset_id: int
    label: str
    task: str
    policy: Policy
    created_at: datetime
    cron_upto: datetime
    deleted: bool = False


@dataclass
class Message:
    """An outbox row."""

    id: int
    queue: str
    outgoing: Outgoing
    created_at: datetime
    sent_at: datetime | None = None
    taken_until: datetime | None = None


@dataclass
class LaunchRow:
    """A launch's row."""

    id: str
    state: str
    spec: LaunchSpec
    created_at: datetime
    reason: str
    launched_at: datetime | None = None
    ended_at: datetime | None = None
    claimed_until: datetime | None = None
    instance_id: str | None = None
    instance_type: str | None = None
    zone: str | None = None
    market: str | None = None
    usd_per_hour: float | None = None
    error_kind: str | None = None
    error: str | None = None


@dataclass
class WorkerRow:
    """A worker's row."""

    id: str
    instance_id: str | None
    instance_type: str | None
    state: str
    request_id: str | None
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True)
class Logged:
    """A logged prediction; its place in the log is its index, plus the forgotten ones, plus 1."""

    id: str
    model: str
    version: int
    inputs: Mapping[str, Any]
    output: Mapping[str, Any]
    predicted_at: datetime
    logged_at: datetime


@dataclass(frozen=True)
class Window:
    """A watched window's row."""

    record: WindowRecord
    due_at: datetime | None
