"""A batch job as a value: what is to be scored, how far that got, and what people are told of it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Any

import msgpack

from trainyard.frozen import dataclass

QUEUED, RUNNING, DONE, FAILED, CANCELLED = STATES = ("queued", "running", "done", "failed", "cancelled")
ENDED = frozenset({DONE, FAILED, CANCELLED})
CSV, NDJSON = FORMS = ("csv", "ndjson")
#: Whose job it is where no API key asked: the file was dropped into the bucket.
DROPPED = "s3"

_VERSION = 1
_ID = re.compile(r"bj_[0-9a-f]{21}")
#: Ids count down, so that listings of S3, which are in key order, begin with the newest.
_END_OF_TIME_MS = 2**44 - 1


@dataclass(frozen=True)
class Job:
    """One job. Times are Unix times; ``read`` counts bytes of the unpacked input, ``taken`` those of the object.

    Attributes:
        id: ``bj_`` and 21 hex digits.
        key_id: the API key that asked for it, or DROPPED.
        source: key of the input; ``etag`` and ``size`` (bytes) are those of the object that is scored.
        form: CSV or NDJSON; ``packed``: by gzip.
        name: the input's name without endings, for the output's.
        log_share: share of its rows that go to the prediction log.
        owner: who works on it, by a name that is used once; ``lease_until``: when others may.
        claims: how often it was taken up since it last got on.
        restarts: how often it began anew, because an upload was gone.
        rows: records seen so far, good and bad; ``line``: lines of the input so far.
        output_parts, rejects_parts: parts that are stored; ``..._bytes`` count what is in none yet, too.
        pending: ``rows`` of the checkpoint that holds what is in no part yet; None: there is nothing.
    """

    id: str
    model: str
    version: int
    key_id: str
    trace_id: str
    source: str
    etag: str
    size: int
    form: str
    packed: bool
    name: str
    log_share: float
    created_at: float
    state: str = QUEUED
    owner: str | None = None
    lease_until: float = 0.0
    claims: int = 0
    restarts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    busy_seconds: float = 0.0
    header: str | None = None
    read: int = 0
    taken: int = 0
    line: int = 0
    rows: int = 0
    good: int = 0
    bad: int = 0
    output_upload: str | None = None
    output_parts: int = 0
    output_bytes: int = 0
    rejects_upload: str | None = None
    rejects_parts: int = 0
    rejects_bytes: int = 0
    pending: int | None = None
    error_code: str | None = None
    error_message: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def output_key(self) -> str:
        """Where the scored rows are, once it is done."""
        return f"{self._place}/{self.name}.{self.form}"

    @property
    def rejects_key(self) -> str:
        """Where the bad lines are, if there are any, once it is done."""
        return f"{self._place}/rejects.ndjson"

    @property
    def summary_key(self) -> str:
        """Where the summary is, written last."""
        return f"{self._place}/summary.json"

    @property
    def _place(self) -> str:
        return f"batch/out/{self.model}/{self.id}"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/batch.md."""
        rate = self.rows / self.busy_seconds if self.rows and self.busy_seconds > 0 else None
        running = rate is not None and not self.ended and self.taken
        eta = self.busy_seconds / self.taken * (self.size - self.taken) if running else None
        return {
            "id": self.id,
            "model": self.model,
            "version": self.version,
            "state": self.state,
            "input": self.source,
            "format": self.form + ("+gzip" if self.packed else ""),
            "input_bytes": self.size,
            "bytes_done": self.taken,
            "rows": self.rows,
            "good": self.good,
            "bad": self.bad,
            "rows_per_second": None if rate is None else round(rate, 1),
            "eta_seconds": None if eta is None else round(eta, 1),
            "log_share": self.log_share,
            "created_at": _iso(self.created_at),
            "started_at": _iso(self.started_at),
            "finished_at": _iso(self.finished_at),
            "output": self.output_key if self.state == DONE else None,
            "output_bytes": self.output_bytes if self.state == DONE else 0,
            "rejects": self.rejects_key if self.state == DONE and self.bad else None,
            "rejects_bytes": self.rejects_bytes if self.state == DONE else 0,
            "error": None if self.error_code is None else {"code": self.error_code, "message": self.error_message},
        }


_FIELDS = tuple(Job.__annotations__)


def new_id(now: datetime) -> str:
    """Return an id that sorts before those of earlier jobs."""
    return f"bj_{_END_OF_TIME_MS - int(now.timestamp() * 1000):011x}{os.urandom(5).hex()}"


def is_id(text: str) -> bool:
    """Tell whether a job may have that id."""
    return _ID.fullmatch(text) is not None


def encode(job: Job) -> bytes:
    """Return the object that holds the job."""
    packed: bytes = msgpack.packb({"v": _VERSION, **{name: getattr(job, name) for name in _FIELDS}})
    return packed


def decode(data: bytes) -> Job:
    """Return the job that an object holds; ValueError when it holds none of this version."""
    raw = msgpack.unpackb(data)
    if not isinstance(raw, dict) or raw.pop("v", None) != _VERSION or set(raw) != set(_FIELDS):
        raise ValueError("not a batch job of this version")
    return Job(**raw)


def _iso(moment: float | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
