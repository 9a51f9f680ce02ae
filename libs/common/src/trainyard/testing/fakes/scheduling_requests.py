"""Decisions, requests and runs in memory."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.requests import (
    OPEN_STATES,
    Decision,
    NewRequest,
    OpenRequest,
    RequestRecord,
    Requests,
    RunRecord,
)
from trainyard.testing.fakes.scheduling_state import Request, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MemoryRequests(Requests):
    """The requests' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def latest_decision(self, model_id: int) -> Decision | None:
        """Return the newest decision."""
        return next(iter(self.decisions(model_id, 1, None)), None)

    def decide(
        self, model_id: int, *, fired: bool, reason: str, numbers: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Append a decision."""
        now = self._state.clock.now()
        decision = Decision(next(self._state.numbers), fired, reason, dict(numbers), request_id, now)
        self._state.decisions.append((model_id, decision))

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first."""
        found = [d for owner, d in self._state.decisions if owner == model_id and (before is None or d.id < before)]
        return found[::-1][:limit]

    def add(self, request: NewRequest) -> RequestRecord | None:
        """Insert a request unless an open one has the same snapshot."""
        if self.open_for(request.model_id, request.upto_seq) is not None:
            return None
        record = RequestRecord(
            id=str(uuid.uuid4()),
            model=self._state.model(request.model_id).name,
            reason=request.reason,
            state="queued",
            upto_seq=request.upto_seq,
            new_rows=request.new_rows,
            settings=dict(request.settings),
            priority=request.priority,
            instance_types=list(request.instance_types),
            spot=request.spot,
            attempt=0,
            cancel_requested=False,
            error_class=None,
            error=None,
            created_at=self._state.clock.now(),
            started_at=None,
            finished_at=None,
        )
        self._state.requests[record.id] = Request(record, request.model_id)
        return record

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:  # noqa: ARG002 - transactions take turns
        """Return the request."""
        found = self._state.requests.get(request_id)
        return None if found is None else found.record

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open request, or that of a snapshot."""
        found = [r for r in self._of(model_id) if r.open and (upto_seq is None or r.upto_seq == upto_seq)]
        return found[-1] if found else None

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the request with the highest snapshot."""
        found = [record for record in self._of(model_id) if record.state in states]
        return max(found, key=lambda record: record.upto_seq, default=None)

    def page(self, model_id: int, limit: int, before: str | None) -> list[RequestRecord]:
        """Return requests, newest first."""
        return _behind(self._of(model_id)[::-1], before)[:limit]

    def cancel(self, request_id: str, *, at_once: bool) -> None:
        """Cancel, or ask the holder to."""
        request = self._state.requests[request_id]
        if not request.record.open:
            return
        request.record = replace(request.record, cancel_requested=True)
        if at_once:
            self._state.end(request_id, "cancelled")

    def cancel_queued(self, model_id: int) -> list[str]:
        """Cancel what nobody holds, ask the holders of the rest."""
        held = {request.id for request in self.open_requests() if request.lease_live}
        ids = [record.id for record in self._of(model_id) if record.open]
        for ident in ids:
            self.cancel(ident, at_once=ident not in held)
        return ids

    def open_requests(self) -> list[OpenRequest]:
        """Return all open requests, oldest first."""
        return [self._open(request) for request in self._state.requests.values() if request.record.state in OPEN_STATES]

    def _open(self, request: Request) -> OpenRequest:
        now = self._state.clock.now()
        lease = request.lease_until
        return OpenRequest(
            id=request.record.id,
            state=request.record.state,
            lease_live=request.record.state == "running" and lease is not None and lease >= now,
            instance_id=request.instance_id,
            sent_ago=None if request.sent_at is None else (now - request.sent_at).total_seconds(),
            sent_at=None if request.sent_at is None else request.sent_at.timestamp(),
            lease_ended_ago=None if lease is None else (now - lease).total_seconds(),
            send_count=request.send_count,
            waited=(now - request.record.created_at).total_seconds(),
            priority=request.record.priority,
            instance_types=request.record.instance_types,
            spot=request.record.spot,
        )

    def sent(self, request_ids: Sequence[str]) -> None:
        """Note a send of each."""
        for request in (self._state.requests[ident] for ident in request_ids if ident in self._state.requests):
            request.sent_at = self._state.clock.now()
            request.send_count += 1

    def runs(self, model: str | None, limit: int, before: str | None) -> list[RunRecord]:
        """Return runs, newest first."""
        live = {row.name for row in self._state.models if not row.deleted}
        found = [run for run in self._state.runs if run.model in live and model in {None, run.model}]
        return _behind(found[::-1], before)[:limit]

    def run(self, run_id: str) -> RunRecord | None:
        """Return one run."""
        return next((run for run in self._state.runs if run.id == run_id), None)

    def _of(self, model_id: int) -> list[RequestRecord]:
        return [request.record for request in self._state.requests.values() if request.model_id == model_id]


def _behind(found: list[Any], before: str | None) -> list[Any]:
    ids = [record.id for record in found]
    return found if before is None else found[ids.index(before) + 1 :] if before in ids else []
