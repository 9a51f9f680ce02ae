"""Who may serve a request, and which requests are served before it: the rule of the claim, without claiming.

A trainer takes the most urgent request that suits it: highest priority, then oldest, then lowest id. A request may name
instance types, and may refuse spot capacity; the market of a trainer's instance is in the ledger of launches. Whoever
runs on no instance, or on one that others launched, suits also those who refuse spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.contracts.runs import MAX_ATTEMPTS
from trainyard_scheduler.domain.fleet import pool_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.launches import Launch
    from trainyard.contracts.requests import OpenRequest, RequestRecord
    from trainyard.contracts.workers import WorkerRecord
    from trainyard_scheduler.domain.fleet import Rules, Situation

#: A trainer says every few seconds that it is alive; one that is silent for longer does not count.
ALIVE_WITHIN_SECONDS = 30.0


@dataclass(frozen=True)
class Crew:
    """Who could serve a request now, and what is served before it.

    Attributes:
        idle, busy: trainers that say so and may serve it.
        starting: instances that were asked for or launched, may serve it, and on which no trainer has spoken yet.
        asked: those of them that the cloud has not confirmed.
        unsuited: trainers, idle or busy, that may not serve it.
        instances: instances that are not over, of any kind, starting ones included.
        ahead: waiting requests that are more urgent and that somebody who may serve this one would take first; while
            nobody may, those that an instance launched for it would.
        ahead_of_idle: those that one of the ``idle`` trainers would take first.
    """

    idle: int = 0
    busy: int = 0
    starting: int = 0
    asked: int = 0
    unsuited: int = 0
    instances: int = 0
    ahead: int = 0
    ahead_of_idle: int = 0


@dataclass(frozen=True)
class _Hand:
    """A trainer, or one to come. ``types``: what its instance is or may become; None: nobody knows."""

    types: frozenset[str] | None
    spot: bool

    def suits(self, request: OpenRequest | RequestRecord) -> bool:
        if request.spot is False and self.spot:
            return False
        return not request.instance_types or self.types is None or not self.types.isdisjoint(request.instance_types)


def crew(request: RequestRecord, situation: Situation, ledger: Sequence[Launch], rules: Rules) -> Crew:
    """Count who could serve the request, and what goes before it.

    ``ledger``: the launches of the workers' instances, those that are over included.
    """
    alive = [
        worker
        for worker in situation.workers
        if worker.state in {"idle", "busy"} and worker.silent <= ALIVE_WITHIN_SECONDS
    ]
    spot = {launch.instance_id for launch in ledger if launch.market == "spot"}
    hands = {worker.id: _of_worker(worker, spot) for worker in alive}
    suited = [worker for worker in alive if hands[worker.id].suits(request)]
    idle = [hands[worker.id] for worker in suited if worker.state == "idle"]
    coming = [launch for launch in _starting(situation, rules) if _of_launch(launch).suits(request)]
    takers = [hands[worker.id] for worker in suited] + [_of_launch(launch) for launch in coming]
    before = _more_urgent(request, situation.requests)
    return Crew(
        idle=len(idle),
        busy=len(suited) - len(idle),
        starting=len(coming),
        asked=sum(launch.state == "asked" for launch in coming),
        unsuited=len(alive) - len(suited),
        instances=len(situation.launches),
        ahead=_taken_by(takers or _to_be_launched(request, rules), before),
        ahead_of_idle=_taken_by(idle, before),
    )


def _of_worker(worker: WorkerRecord, spot: set[str | None]) -> _Hand:
    types = None if worker.instance_type is None else frozenset({worker.instance_type})
    return _Hand(types, spot=worker.instance_id is not None and worker.instance_id in spot)


def _of_launch(launch: Launch) -> _Hand:
    types = launch.spec.instance_types if launch.instance_type is None else (launch.instance_type,)
    return _Hand(frozenset(types), spot=launch.spec.spot if launch.market is None else launch.market == "spot")


def _starting(situation: Situation, rules: Rules) -> list[Launch]:
    """Return the launches whose trainer nobody has heard yet, and may still expect."""
    heard = {worker.instance_id for worker in situation.workers}
    return [
        launch
        for launch in situation.launches
        if launch.state == "asked" or (launch.instance_id not in heard and launch.age <= rules.patience.boot_seconds)
    ]


def _to_be_launched(request: RequestRecord, rules: Rules) -> list[_Hand]:
    """Return what an instance may become that is launched for the request."""
    spec = pool_of(request, rules.spec)
    return [_Hand(frozenset({kind}), spot=market == "spot") for kind in spec.instance_types for market in spec.markets]


def _more_urgent(request: RequestRecord, requests: Sequence[OpenRequest]) -> list[OpenRequest]:
    """Return the requests that wait for a trainer and go before this one; those that will only be ended are none.

    ``requests`` are the open ones, oldest first.
    """
    waiting = sorted((r for r in requests if not r.lease_live), key=lambda r: -r.priority)
    place = next((place for place, other in enumerate(waiting) if other.id == request.id), 0)
    return [r for r in waiting[:place] if not r.cancel_requested and r.attempt < MAX_ATTEMPTS]


def _taken_by(hands: Sequence[_Hand], requests: Sequence[OpenRequest]) -> int:
    kinds = set(hands)
    return sum(any(hand.suits(request) for hand in kinds) for request in requests)
