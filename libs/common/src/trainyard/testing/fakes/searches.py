"""Seats in shared searches in memory, beside the requests of a :class:`~trainyard.testing.fakes.runs.MemoryRuns`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainyard.contracts.searches import WAITED_SECONDS, Invitation, Searches, Seat

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Lease
    from trainyard.testing.fakes.runs import MemoryRequest, MemoryRun, MemoryRuns


@dataclass
class MemorySeat:
    """A seat that was taken."""

    run_id: str
    worker: str
    until: float


class MemorySearches(Searches):
    """``seats`` by id, invitations by run with the time at which the search ends."""

    def __init__(self, runs: MemoryRuns, clock: Clock) -> None:
        self._runs = runs
        self._clock = clock
        self.invitations: dict[str, tuple[Invitation, float]] = {}
        self.seats: dict[str, MemorySeat] = {}

    def invite(self, lease: Lease, invitation: Invitation) -> None:
        """Keep it."""
        with self._runs.lock:
            self._runs.held(lease)
            self.invitations[lease.run_id] = (invitation, self._clock.monotonic() + invitation.seconds)

    def over(self, lease: Lease) -> None:
        """Forget it."""
        with self._runs.lock:
            self._runs.answer()
            self.invitations.pop(lease.run_id, None)

    def seated(self, lease: Lease) -> Collection[str]:
        """Return who is there."""
        with self._runs.lock:
            self._runs.answer()
            return self._seated(lease.run_id)

    def join(
        self,
        *,
        worker: str,
        instance_id: str | None,
        instance_type: str | None,
        release: str,
        seconds: float,
        but: Collection[str] = (),
    ) -> Seat | None:
        """Sit down in the first that has a seat."""
        with self._runs.lock:
            self._runs.answer()
            if self._wanted(instance_type, instance_id):
                return None
            for request in sorted(self._runs.requests.values(), key=lambda r: -r.priority):
                invitation = self._open(request)
                suits = self._runs.suits(request, instance_type, instance_id)
                if invitation is None or not suits or invitation.release != release:
                    continue
                run = request.runs[-1]
                if run.id in but or run.worker == worker or len(self._seated(run.id)) >= invitation.workers:
                    continue
                seat_id = str(uuid.uuid4())
                self.seats[seat_id] = MemorySeat(run.id, worker, self._clock.monotonic() + seconds)
                return _seat(seat_id, request, run, invitation)
            return None

    def stay(self, seat_id: str, *, seconds: float, instance_id: str | None, instance_type: str | None) -> str:
        """Move the seat's end."""
        with self._runs.lock:
            self._runs.answer()
            now, seat = self._clock.monotonic(), self.seats.get(seat_id)
            led = (r for r in self._runs.requests.values() if seat is not None and self._open(r) is not None)
            if seat is None or seat.until <= now or seat.run_id not in {request.runs[-1].id for request in led}:
                return "the search is over, or went on without us"
            seat.until = now + seconds
            return "a request waits" if self._wanted(instance_type, instance_id) else ""

    def _wanted(self, instance_type: str | None, instance_id: str | None) -> bool:
        """Tell whether a request that suits has waited for a while."""
        long_ago = self._clock.monotonic() - WAITED_SECONDS
        waiting = (r for r in self._runs.requests.values() if r.state == "queued" and r.created < long_ago)
        return any(self._runs.suits(request, instance_type, instance_id) for request in waiting)

    def leave(self, seat_id: str) -> None:
        """Forget it."""
        with self._runs.lock:
            self._runs.answer()
            self.seats.pop(seat_id, None)

    def _seated(self, run_id: str) -> frozenset[str]:
        now = self._clock.monotonic()
        return frozenset(one for one, seat in self.seats.items() if seat.run_id == run_id and seat.until > now)

    def _open(self, request: MemoryRequest) -> Invitation | None:
        """Return the invitation to the request's search, while that goes on."""
        now = self._clock.monotonic()
        if request.state != "running" or request.lease_until < now or request.cancel_requested:
            return None
        invitation, until = self.invitations.get(request.runs[-1].id, (None, now))
        return replace(invitation, seconds=until - now) if invitation is not None and until > now else None


def _seat(seat_id: str, request: MemoryRequest, run: MemoryRun, invitation: Invitation) -> Seat:
    model = request.model
    return Seat(
        id=seat_id,
        request_id=request.id,
        run_id=run.id,
        model=model.name,
        dataset_id=1,
        dataset="rows",
        label=model.label,
        task=model.task,
        upto_seq=request.upto_seq,
        known_seq=model.known_seq,
        settings=request.settings,
        invitation=invitation,
    )
