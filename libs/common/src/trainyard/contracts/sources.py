"""Pull sources: what is fetched into a dataset again and again, how far that got, and who does it just now.

One worker pulls a source at a time: it holds a lease by the database's clock and a fence number; whatever it writes
later under an older fence is refused. Before a batch is loaded its fingerprint and the position behind it are written
down as the *plan*; the ledger of batches then says whether it was carried out, so a crash at any point costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.warehouse import Dataset

KINDS = ("sql", "url")
#: Longest error that is kept of a pull.
MAX_ERROR_CHARS = 2_000


@dataclass(frozen=True)
class Draft:
    """What somebody wants a source to be.

    Attributes:
        description: JSON; names secrets, holds none.
        schedule: ``{"every": seconds}``, ``{"cron": text}`` or None.
        sequence: identifies what is read in which order; another one than before begins at the start again.
        next_at: when it is due first; None: only when asked.
    """

    kind: str
    description: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    sequence: str
    next_at: datetime | None


@dataclass(frozen=True)
class LastPull:
    """How the latest pull ended; ``error`` in plain words, None when it went well."""

    at: datetime
    rows: int
    batch_id: str | None
    error: str | None


@dataclass(frozen=True)
class PullSource:
    """A source and its state.

    Attributes:
        run_id: names one reading from the start; part of every fingerprint.
        cursor: up to where everything is in the dataset; JSON of the source's kind, None before the first batch.
        plan: ``{"fingerprint", "cursor"}`` of the batch that was about to be loaded, or None.
        asked, answered: how many pulls were asked for by hand, and how many of these are done.
        pulling_rows: rows that the pull in progress has stored, None when there is none.
    """

    id: int
    dataset: str
    name: str
    kind: str
    description: Mapping[str, Any]
    schedule: Mapping[str, Any] | None
    run_id: str
    cursor: Mapping[str, Any] | None
    plan: Mapping[str, Any] | None
    asked: int
    answered: int
    pulling_rows: int | None
    last: LastPull | None
    next_at: datetime | None
    created_at: datetime

    @property
    def state(self) -> str:
        """``pulling``, ``asked`` (soon), ``failed`` (the last pull) or ``idle``."""
        if self.pulling_rows is not None:
            return "pulling"
        if self.asked > self.answered:
            return "asked"
        return "failed" if self.last is not None and self.last.error is not None else "idle"

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of docs/api.md. A URL's query may be a signature, so it is not shown."""
        described = dict(self.description)
        if "?" in str(described.get("url", "")):
            described["url"] = described["url"].partition("?")[0] + "?..."
        last = None
        if self.last is not None:
            last = {**self.last.__dict__, "at": self.last.at.isoformat()}
        return {
            "name": self.name,
            "dataset": self.dataset,
            "kind": self.kind,
            **described,
            "schedule": None if self.schedule is None else dict(self.schedule),
            "state": self.state,
            "cursor": self.cursor,
            "asked": self.asked,
            "answered": self.answered,
            "pulling_rows": self.pulling_rows,
            "last_pull": last,
            "next_pull": None if self.next_at is None else self.next_at.isoformat(),
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True)
class Claim:
    """A source that this worker alone pulls while its lease lasts. ``now`` is the database's time of the claim."""

    source: PullSource
    fence: int
    now: datetime


@dataclass(frozen=True)
class Outcome:
    """The end of a pull: rows it stored, its last batch, and what went wrong."""

    rows: int = 0
    batch_id: str | None = None
    error: str | None = None


class Sources(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer.

    ``put``, ``source``, ``delete`` and ``ask`` raise ``unknown_source``, or ``unknown_dataset`` when the dataset was
    deleted meanwhile. The methods of a claim return False when it is not this worker's any more: then stop.
    """

    def put(self, dataset: Dataset, name: str, draft: Draft, *, actor: str) -> tuple[PullSource, bool]:
        """Make a source, or change the one of that name; tell whether it is new. A new ``sequence`` resets it."""
        ...

    def source(self, dataset: Dataset, name: str) -> PullSource:
        """Return one source."""
        ...

    def sources(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[PullSource]:
        """Return the dataset's sources in the order of their names, those behind the name ``after``."""
        ...

    def delete(self, dataset: Dataset, name: str, *, actor: str) -> None:
        """Remove a source; its batches stay."""
        ...

    def ask(self, dataset: Dataset, name: str, *, actor: str, once: Repeatable | None) -> dict[str, Any]:
        """Ask for a pull now; return the source's JSON form, with ``once`` the same one again.

        Raises:
            ServiceError: ``key_reused``.
        """
        ...

    def claim(self, *, lease_seconds: float) -> Claim | None:
        """Take a source that is due or asked for and that nobody holds; None when there is none."""
        ...

    def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Hold it for ``lease_seconds`` from now."""
        ...

    def plan(self, claim: Claim, plan: Mapping[str, Any]) -> bool:
        """Write down the batch that will be loaded next."""
        ...

    def advance(self, claim: Claim, cursor: Mapping[str, Any], *, rows: int) -> bool:
        """Move the cursor behind a batch of ``rows`` rows that is in the ledger; the plan is done."""
        ...

    def finish(self, claim: Claim, outcome: Outcome, *, next_at: datetime | None) -> bool:
        """End the pull and give the source back."""
        ...
