"""Decisions, requests and runs in memory."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.requests import (
    COUNTED_STATES,
    OPEN_STATES,
    POLICY_ACTOR,
    Attempt,
    Decision,
    NewRequest,
    OpenRequest,
    Position,
    Refused,
    RequestRecord,
    Requests,
    RunRecord,
    Standing,
)
from trainyard.messages import TrainingRequest
from trainyard.testing.fakes.scheduling_rows import Request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.runs import Line
    from trainyard.testing.fakes.scheduling_state import State


class MemoryRequests(Requests):
    """The requests' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def standing(self, model_id: int, *, labels: bool) -> Standing:
        """Look at everything a policy may ask about."""
        model, mine = self._state.model(model_id), self._trainings(model_id)
        counted = [record for record in mine if record.state in {"done", "blocked_by_data"}]
        counted_at = counted[-1].created_at if counted else None
        by_policy = [r for r in self._state.requests.values() if r.requested_by == POLICY_ACTOR]
        used = self.newest(model_id, COUNTED_STATES)
        last = self.newest(model_id, ("failed", "cancelled"))
        refused = None
        if last is not None:
            gone = [
                r for r in mine if r.state in {"failed", "cancelled"} and (not counted_at or r.created_at > counted_at)
            ]
            assert last.finished_at is not None
            refused = Refused(last.state, last.upto_seq, last.finished_at, len(gone))
        versions = [v for owner, v in self._state.versions if owner == model_id and v.request_id is not None]
        dataset = self._state.datasets.get(model.dataset_id)
        return Standing(
            now=self._state.clock.now(),
            last_seq=0 if dataset is None else dataset.last_seq,
            used_seq=0 if used is None else used.upto_seq,
            trained_rows=max(versions, key=lambda v: v.upto_seq).snapshot_rows if versions else None,
            new_labels=self._new_labels(model_id) if labels else None,
            counted_at=counted_at or model.created_at,
            asked_at=max((r.record.created_at for r in by_policy if r.model_id == model_id), default=None),
            cron_upto=model.cron_upto,
            open_request=next((record.id for record in mine[::-1] if record.open), None),
            refused=refused,
        )

    def _new_labels(self, model_id: int) -> int:
        mine = [
            request
            for request in self._state.requests.values()
            if request.model_id == model_id and request.record.reproduces is None
        ]
        since = next((r.label_seq for r in mine[::-1] if r.record.state in COUNTED_STATES), 0)
        name = self._state.model(model_id).name
        return len({ident for seq, model, ident in self._state.labels if model == name and seq > since})

    def cron_answered(self, model_id: int) -> None:
        """Move the mark to now."""
        self._state.model(model_id).cron_upto = self._state.clock.now()

    def decide(
        self, model_id: int, *, fired: bool, reason: str, numbers: Mapping[str, Any], request_id: str | None
    ) -> None:
        """Append a decision."""
        now = self._state.clock.now()
        decision = Decision(next(self._state.numbers), fired, reason, dict(numbers), request_id, now, 1, now)
        self._state.decisions.append((model_id, decision))

    def decide_again(self, model_id: int, *, reason: str, numbers: Mapping[str, Any]) -> bool:
        """Count it on the newest decision, if that says the same."""
        for index in range(len(self._state.decisions) - 1, -1, -1):
            owner, last = self._state.decisions[index]
            if owner == model_id:
                if last.fired or last.reason != reason:
                    return False
                again = replace(last, times=last.times + 1, last_at=self._state.clock.now(), numbers=dict(numbers))
                self._state.decisions[index] = (owner, again)
                return True
        return False

    def decisions(self, model_id: int, limit: int, before: int | None) -> list[Decision]:
        """Return decisions, newest first."""
        found = [d for owner, d in self._state.decisions if owner == model_id and (before is None or d.id < before)]
        return found[::-1][:limit]

    def add(self, request: NewRequest) -> RequestRecord | None:
        """Insert a request unless an open one has the same snapshot."""
        if any(r.open and r.upto_seq == request.upto_seq for r in self._of(request.model_id)):
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
            outcome=None,
            version=None,
            created_at=self._state.clock.now(),
            started_at=None,
            finished_at=None,
            reproduces=request.reproduces,
        )
        label_seq = max((seq for seq, _, _ in self._state.labels), default=0)
        self._state.requests[record.id] = Request(
            record, request.model_id, requested_by=request.requested_by, label_seq=label_seq
        )
        return record

    def get(self, request_id: str, *, lock: bool = False) -> RequestRecord | None:  # noqa: ARG002 - transactions take turns
        """Return the request."""
        found = self._state.requests.get(request_id)
        return None if found is None else found.record

    def open_for(self, model_id: int, upto_seq: int | None = None) -> RequestRecord | None:
        """Return the newest open training, or that of a snapshot."""
        found = [r for r in self._trainings(model_id) if r.open and (upto_seq is None or r.upto_seq == upto_seq)]
        return found[-1] if found else None

    def reproducing(self, model_id: int) -> RequestRecord | None:
        """Return the open reproduction."""
        return next((r for r in self._of(model_id) if r.open and r.reproduces is not None), None)

    def newest(self, model_id: int, states: Sequence[str]) -> RequestRecord | None:
        """Return the request with the highest snapshot."""
        found = [record for record in self._trainings(model_id) if record.state in states]
        return max(found, key=lambda record: record.upto_seq, default=None)

    def page(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[RequestRecord]:
        """Return requests, newest first."""
        found = [r for r in self._state.requests.values() if model_id in {None, r.model_id}]
        behind = _behind([request.record for request in found][::-1], before)
        return [record for record in behind if state in {None, record.state}][:limit]

    def page_texts(
        self, limit: int, before: str | None, *, model_id: int | None = None, state: str | None = None
    ) -> list[tuple[str, str]]:
        """Return the page as JSON objects."""
        found = self.page(limit, before, model_id=model_id, state=state)
        return [
            (record.id, json.dumps(asdict(record), default=lambda at: at.isoformat(timespec="microseconds")))
            for record in found
        ]

    def position(self, request_id: str) -> Position:
        """Look at the request among all."""
        found, now = self._state.requests[request_id], self._state.clock.now()
        opened = self.open_requests()
        waiting = [r for r in opened if not r.lease_live]
        me, lease = found.record, found.lease_until
        body = TrainingRequest(request_id).outgoing().body
        return Position(
            waited=(now - me.created_at).total_seconds(),
            waiting=len(waiting),
            running=len(opened) - len(waiting),
            holder=None if lease is None else "test",
            lease_left=None if lease is None else (lease - now).total_seconds(),
            send_count=found.send_count,
            sent_ago=None if found.sent_at is None else (now - found.sent_at).total_seconds(),
            unsent=any(m.sent_at is None and m.outgoing.body == body for m in self._state.outbox),
            mean_seconds=self._mean_seconds(me.model),
            attempts=tuple(self._attempt(run) for run in self._state.runs if run.request_id == request_id),
        )

    def _mean_seconds(self, model: str) -> float | None:
        done = [run for run in self._state.runs if run.state == "done" and run.reproduction is None]
        took = [self._attempt(run).seconds for run in [r for r in done if r.model == model][-20:] or done[-20:]]
        return sum(took) / len(took) if took else None

    def _attempt(self, run: RunRecord) -> Attempt:
        seconds = ((run.ended_at or self._state.clock.now()) - run.started_at).total_seconds()
        return Attempt(run.id, run.attempt, run.state, run.worker, run.error_class, run.error, seconds)

    def cancel(self, request_id: str, *, at_once: bool, why: str) -> None:
        """Cancel, or ask the holder to."""
        request = self._state.requests[request_id]
        if not request.record.open:
            return
        request.record = replace(request.record, cancel_requested=True)
        if at_once:
            self._state.end(request_id, "cancelled", why)
            request.lease_until = None

    def cancel_queued(self, model_id: int) -> list[str]:
        """Cancel what nobody holds, ask the holders of the rest."""
        held = {request.id for request in self.open_requests() if request.lease_live}
        ids = [record.id for record in self._of(model_id) if record.open]
        for ident in ids:
            self.cancel(ident, at_once=ident not in held, why="cancelled: the model was deleted")
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
            attempt=request.record.attempt,
            cancel_requested=request.record.cancel_requested,
        )

    def neglected(self, *, silent_seconds: float, sent_before: float | None) -> list[OpenRequest]:
        """Return those whose message may be lost."""

        def silent(request: OpenRequest) -> bool:
            if request.sent_at is None or request.sent_ago is None:
                return True
            lost = request.state == "running" and (request.lease_ended_ago or 0.0) < request.sent_ago
            before = sent_before is not None and request.sent_at < sent_before
            return lost or before or request.sent_ago >= silent_seconds

        return [request for request in self.open_requests() if not request.lease_live and silent(request)]

    def any_open(self) -> bool:
        """Tell whether there is an open request."""
        return bool(self.open_requests())

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

    def run_lines(self, run_id: str, limit: int, before: int | None) -> list[Line]:
        """Return what the run has said."""
        lines = self._state.run_lines.get(run_id, [])
        return [line for line in lines[::-1] if before is None or line.number < before][:limit]

    def _trainings(self, model_id: int) -> list[RequestRecord]:
        return [record for record in self._of(model_id) if record.reproduces is None]

    def _of(self, model_id: int) -> list[RequestRecord]:
        return [request.record for request in self._state.requests.values() if request.model_id == model_id]


def _behind(found: list[Any], before: str | None) -> list[Any]:
    ids = [record.id for record in found]
    return found if before is None else found[ids.index(before) + 1 :] if before in ids else []
