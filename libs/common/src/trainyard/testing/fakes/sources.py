"""Pull sources in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from trainyard.contracts.sources import MAX_ERROR_CHARS, Claim, LastPull, PullSource, Sources
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trainyard.clock import Clock
    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.sources import Draft, Outcome
    from trainyard.contracts.warehouse import Dataset


class _Kept:
    """A source with what only the store knows of it."""

    def __init__(self, source: PullSource, sequence: str) -> None:
        self.source = source
        self.sequence = sequence
        self.fence = 0
        self.answering = 0
        self.lease_until: datetime | None = None


class MemorySources(Sources):
    """Keeps sources; :attr:`audit` is who did what. ``outage`` is raised by every call while it is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[int, str], _Kept] = {}
        self._answers: dict[tuple[str, str, str], tuple[str, dict[str, Any]]] = {}
        self._numbers = iter(range(1, 1_000_000))
        self.audit: list[tuple[str, str]] = []
        self.outage: Exception | None = None

    def put(self, dataset: Dataset, name: str, draft: Draft, *, actor: str) -> tuple[PullSource, bool]:
        """Make or change it."""
        self._answer()
        kept = self._kept.get((dataset.id, name))
        given: dict[str, Any] = {
            "kind": draft.kind,
            "description": dict(draft.description),
            "schedule": None if draft.schedule is None else dict(draft.schedule),
            "next_at": draft.next_at,
        }
        self.audit.append((actor, f"{'create' if kept is None else 'change'} {name}"))
        if kept is None:
            source = PullSource(
                id=next(self._numbers),
                dataset=dataset.name,
                name=name,
                run_id=str(uuid.uuid4()),
                cursor=None,
                plan=None,
                asked=0,
                answered=0,
                pulling_rows=None,
                last=None,
                created_at=self._clock.now(),
                **given,
            )
            self._kept[dataset.id, name] = _Kept(source, draft.sequence)
            return source, True
        if kept.sequence != draft.sequence:
            given |= {"run_id": str(uuid.uuid4()), "cursor": None, "plan": None}
        kept.sequence, kept.fence, kept.lease_until = draft.sequence, kept.fence + 1, None
        kept.source = replace(kept.source, **given, pulling_rows=None)
        return kept.source, False

    def source(self, dataset: Dataset, name: str) -> PullSource:
        """Return one source."""
        self._answer()
        return self._shown(self._one(dataset, name))

    def sources(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[PullSource]:
        """Return sources by name."""
        self._answer()
        names = sorted(name for ident, name in self._kept if ident == dataset.id and name > (after or ""))
        return [self._shown(self._kept[dataset.id, name]) for name in names[:limit]]

    def delete(self, dataset: Dataset, name: str, *, actor: str) -> None:
        """Forget it."""
        self._answer()
        self._one(dataset, name)
        del self._kept[dataset.id, name]
        self.audit.append((actor, f"delete {name}"))

    def ask(self, dataset: Dataset, name: str, *, actor: str, once: Repeatable | None) -> dict[str, Any]:
        """Count the wish."""
        self._answer()
        if once is not None and (once.route, once.key_id, once.key) in self._answers:
            digest, answer = self._answers[once.route, once.key_id, once.key]
            if digest != once.body_sha256:
                raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
            return answer
        kept = self._one(dataset, name)
        kept.source = replace(kept.source, asked=kept.source.asked + 1)
        self.audit.append((actor, f"pull {name}"))
        answer = self._shown(kept).as_dict()
        if once is not None:
            self._answers[once.route, once.key_id, once.key] = once.body_sha256, answer
        return answer

    def claim(self, *, lease_seconds: float) -> Claim | None:
        """Take the most urgent source."""
        self._answer()
        now = self._clock.now()
        free = [kept for kept in self._kept.values() if kept.lease_until is None or kept.lease_until < now]
        asked = [kept for kept in free if kept.source.asked > kept.source.answered]
        due = [kept for kept in free if kept.source.next_at is not None and kept.source.next_at <= now]
        due.sort(key=lambda kept: (kept.source.next_at or now, kept.source.id))
        for kept in (*asked, *due):
            kept.fence += 1
            kept.answering = kept.source.asked
            kept.lease_until = now + timedelta(seconds=lease_seconds)
            kept.source = replace(kept.source, pulling_rows=0)
            return Claim(kept.source, kept.fence, now)
        return None

    def renew(self, claim: Claim, *, lease_seconds: float) -> bool:
        """Move the end of the lease."""
        kept = self._held(claim)
        if kept is not None:
            kept.lease_until = self._clock.now() + timedelta(seconds=lease_seconds)
        return kept is not None

    def plan(self, claim: Claim, plan: Mapping[str, Any]) -> bool:
        """Write the plan."""
        kept = self._held(claim)
        if kept is not None:
            kept.source = replace(kept.source, plan=dict(plan))
        return kept is not None

    def advance(self, claim: Claim, cursor: Mapping[str, Any], *, rows: int) -> bool:
        """Move the cursor."""
        kept = self._held(claim)
        if kept is not None:
            stored = (kept.source.pulling_rows or 0) + rows
            kept.source = replace(kept.source, cursor=dict(cursor), plan=None, pulling_rows=stored)
        return kept is not None

    def finish(self, claim: Claim, outcome: Outcome, *, next_at: datetime | None) -> bool:
        """Give it back."""
        kept = self._held(claim)
        if kept is None:
            return False
        error = None if outcome.error is None else outcome.error[:MAX_ERROR_CHARS].replace("\0", "?")
        last = LastPull(self._clock.now(), outcome.rows, outcome.batch_id, error)
        kept.lease_until = None
        kept.source = replace(kept.source, pulling_rows=None, answered=kept.answering, last=last, next_at=next_at)
        return True

    def _one(self, dataset: Dataset, name: str) -> _Kept:
        kept = self._kept.get((dataset.id, name))
        if kept is None:
            raise ServiceError("unknown_source", f"the dataset '{dataset.name}' has no source '{name}'")
        return kept

    def _held(self, claim: Claim) -> _Kept | None:
        self._answer()
        for kept in self._kept.values():
            if kept.source.id == claim.source.id and kept.fence == claim.fence:
                return kept
        return None

    def _shown(self, kept: _Kept) -> PullSource:
        """Return the source as others see it: nobody pulls under a lease that has run out."""
        if kept.lease_until is not None and kept.lease_until < self._clock.now():
            return replace(kept.source, pulling_rows=None)
        return kept.source

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage
