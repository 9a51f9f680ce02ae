"""Who should be running: how many instances of which kind, within which limits."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trainyard.contracts.launches import REFUSED
from trainyard_scheduler.domain.machines import AVAILABLE, Patience, Roll, Seat, call_the_roll

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.costs import TrainingTime
    from trainyard.contracts.fleet import Instance, LaunchSpec
    from trainyard.contracts.launches import Failure, Launch, Usage
    from trainyard.contracts.requests import OpenRequest, RequestRecord
    from trainyard.contracts.workers import WorkerRecord

#: After launches that failed in a row: 2, 4, 8 ... seconds, at most so many.
_CAPACITY_PAUSE_SECONDS, _MAX_CAPACITY_PAUSE_SECONDS = 1.0, 60.0
#: A refusal stands until somebody changes something: 60, 120, 240 ... seconds.
_REFUSED_PAUSE_SECONDS, _MAX_REFUSED_PAUSE_SECONDS = 30.0, 900.0
#: A search with less time left is not worth another instance, which boots meanwhile; idle ones help it all the same.
_WORTH_LAUNCHING_SECONDS = 60.0
_CROWDED = "its type serves no request that waits, and the fleet is full"


@dataclass(frozen=True)
class Rules:
    """The settings that the fleet is run by; 0 as a daily limit means none.

    Attributes:
        spec: for requests that name no types and no market.
        fleet_max: most instances at once.
        spot_patience_seconds: how long a request waits for spot capacity before on-demand capacity will do.
        target_wait_seconds: how long a request should wait for an instance at most.
    """

    spec: LaunchSpec
    fleet_max: int
    spot_patience_seconds: float = 0.0
    target_wait_seconds: float = 10.0
    patience: Patience = field(default_factory=Patience)
    max_hours_per_day: float = 0.0
    max_usd_per_day: float = 0.0


@dataclass(frozen=True)
class Situation:
    """What is, as the ledger, EC2, the trainers and the requests tell it.

    Attributes:
        strangers: seconds since instances that are not in the ledger were first seen.
    """

    requests: Sequence[OpenRequest]
    launches: Sequence[Launch]
    instances: Sequence[Instance]
    workers: Sequence[WorkerRecord]
    failures: Sequence[Failure]
    usage: Usage
    times: Sequence[TrainingTime] = ()
    strangers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Hold:
    """Why EC2 is not asked just now: its last answer, how old that is, and when it is asked again, in seconds."""

    kind: str
    error: str
    failures: int
    seconds_ago: float
    next_try_seconds: float


@dataclass(frozen=True)
class Cap:
    """A limit that is reached: 'instances', 'hours_per_day' or 'usd_per_day', with what is used of it."""

    name: str
    used: float
    limit: float


@dataclass(frozen=True)
class Pool:
    """The open requests that want the same instances, and what is done for them.

    Attributes:
        spec: what is launched for them.
        busy: the workers that are at them: one for each that is held, and those who help its search.
        desired: how many instances they should have, the busy ones included.
        available: instances that have no work or are on their way, and suit them.
        new: launches to be asked for now.
        state: 'enough', 'launching', 'waiting_capacity', 'refused' or 'cap_reached'.
        hold: the last failure, while it counts.
        cap: the limit that keeps instances from them.
    """

    spec: LaunchSpec
    open: int
    busy: int
    desired: int
    available: int
    new: int
    state: str
    mean_seconds: float | None
    hold: Hold | None = None
    cap: Cap | None = None


@dataclass(frozen=True)
class FleetPlan:
    """What to do about the fleet.

    Attributes:
        pools: the most urgent first.
        ended: launches whose instance is gone, with the reason.
        retried: launches to ask EC2 for again: its answer is not known.
        excess: seats to be ended, each with its reason.
    """

    pools: tuple[Pool, ...]
    seats: tuple[Seat, ...]
    ended: tuple[tuple[str, str], ...]
    retried: tuple[str, ...]
    excess: tuple[Seat, ...]

    @property
    def new(self) -> tuple[LaunchSpec, ...]:
        """The specs to launch, one for each new instance."""
        return tuple(pool.spec for pool in self.pools for _ in range(pool.new))

    @property
    def caps(self) -> tuple[Cap, ...]:
        """The limits that are reached, each once."""
        return tuple({pool.cap.name: pool.cap for pool in self.pools if pool.cap is not None}.values())


def plan_fleet(situation: Situation, rules: Rules) -> FleetPlan:
    """Decide who should be running.

    Each pool of requests should have ``ceil(open x mean training time / target wait)`` instances, at least one, at
    most one for each open request; and one for each request that is held or has waited for longer than the target.
    Beside these a search that is shared should have the helpers that it has, or invites if they still can do something.
    While no training time is known, one for each. Instances that have no work are shared out first; what is still
    missing is launched, within the limits, and not while EC2 has nothing to give.
    """
    roll = call_the_roll(
        situation.launches,
        situation.instances,
        situation.workers,
        situation.requests,
        patience=rules.patience,
        strangers=situation.strangers,
    )
    wanted = _wanted(situation, rules)
    available = _share_out(wanted, [seat for seat in roll.seats if seat.duty in AVAILABLE])
    room = rules.fleet_max - len(roll.seats)
    pools = []
    for want in wanted:
        pool = _launch(want, len(available[want.spec]), situation, rules, room)
        room -= pool.new
        pools.append(pool)
    retried = tuple(launch.id for launch in situation.launches if launch.state == "asked")
    excess = (*(seat for seat in roll.seats if seat.excess), *_make_room(pools, roll, available))
    return FleetPlan(tuple(pools), roll.seats, roll.ended, retried, excess)


def pool_of(request: OpenRequest | RequestRecord, spec: LaunchSpec) -> LaunchSpec:
    """Return what a request wants, where ``spec`` stands for what it does not say."""
    types = tuple(request.instance_types) or spec.instance_types
    return replace(spec, instance_types=types, spot=spec.spot if request.spot is None else request.spot)


def spec_for(pool: LaunchSpec, waited_seconds: float, rules: Rules) -> LaunchSpec:
    """Return what is launched for a pool whose oldest request has waited so long: spot alone while it is patient."""
    return replace(pool, on_demand=not pool.spot or waited_seconds >= rules.spot_patience_seconds)


def hold_of(failures: Sequence[Failure], spec: LaunchSpec) -> Hold | None:
    """Return why EC2 is not to be asked for this spec just now, or lately would not give it; None: nothing known.

    ``next_try_seconds`` is 0 when it is time.
    """
    failure = next((failure for failure in failures if failure.spec == spec), None)
    if failure is None:
        return None
    first, most = _CAPACITY_PAUSE_SECONDS, _MAX_CAPACITY_PAUSE_SECONDS
    if failure.kind == REFUSED:
        first, most = _REFUSED_PAUSE_SECONDS, _MAX_REFUSED_PAUSE_SECONDS
    pause = min(first * 2.0 ** min(failure.count, 30), most)
    left = min(max(pause - failure.seconds_ago, 0.0), pause)
    return Hold(failure.kind, failure.error, failure.count, failure.seconds_ago, left)


def daily_cap(usage: Usage, rules: Rules) -> Cap | None:
    """Return the limit of the day that is reached, if one is."""
    if rules.max_hours_per_day and usage.hours >= rules.max_hours_per_day:
        return Cap("hours_per_day", usage.hours, rules.max_hours_per_day)
    if rules.max_usd_per_day and usage.usd >= rules.max_usd_per_day:
        return Cap("usd_per_day", usage.usd, rules.max_usd_per_day)
    return None


@dataclass(frozen=True)
class _Want:
    """A pool before anything is given to it. ``types``: what it insists on, empty: nothing; ``firm``: not on spot."""

    spec: LaunchSpec
    types: tuple[str, ...]
    firm: bool
    open: int
    busy: int
    desired: int
    mean_seconds: float | None
    urgency: tuple[float, float]


def _wanted(situation: Situation, rules: Rules) -> list[_Want]:
    """Return the pools, the most urgent first."""
    pools: dict[LaunchSpec, list[OpenRequest]] = defaultdict(list)
    for request in situation.requests:
        pools[pool_of(request, rules.spec)].append(request)
    return sorted(
        (_want(pool, members, situation.times, rules) for pool, members in pools.items()), key=lambda w: w.urgency
    )


def _want(pool: LaunchSpec, members: Sequence[OpenRequest], times: Sequence[TrainingTime], rules: Rules) -> _Want:
    waiting = [request for request in members if not request.lease_live]
    longest = max((request.waited for request in waiting), default=0.0)
    mean = _mean(pool, times, rules.spec)
    busy = len(members) - len(waiting)
    desired = len(members)
    if mean is not None:
        overdue = sum(request.waited > rules.target_wait_seconds for request in waiting)
        wished = math.ceil(len(members) * mean / rules.target_wait_seconds)
        desired = min(len(members), max(1, wished, busy + overdue))
    helpers = sum(len(request.helpers) for request in members)
    return _Want(
        spec=spec_for(pool, longest, rules),
        types=pool.instance_types if any(request.instance_types for request in members) else (),
        firm=any(request.spot is False for request in members),
        open=len(members),
        busy=busy + helpers,
        desired=desired + sum(_seats(request) for request in members),
        mean_seconds=mean,
        urgency=(-max((request.priority for request in waiting), default=-math.inf), -longest),
    )


def _seats(request: OpenRequest) -> int:
    """Return how many workers should help the request's search."""
    invited = request.invites if request.search_left >= _WORTH_LAUNCHING_SECONDS else 0
    return max(invited, len(request.helpers))


def _mean(pool: LaunchSpec, times: Sequence[TrainingTime], spec: LaunchSpec) -> float | None:
    """Return the mean training time of the pool's runs, None when none has finished."""
    mine = [
        time
        for time in times
        if (tuple(time.instance_types) or spec.instance_types) == pool.instance_types
        and (spec.spot if time.spot is None else time.spot) == pool.spot
    ]
    runs = sum(time.runs for time in mine)
    return sum(time.mean_seconds * time.runs for time in mine) / runs if runs else None


def _share_out(wanted: Sequence[_Want], seats: Sequence[Seat]) -> dict[LaunchSpec, list[Seat]]:
    """Give each available seat to one pool at most; those that insist on a type or a market come first."""
    left = list(seats)
    given: dict[LaunchSpec, list[Seat]] = {}
    for want in sorted(wanted, key=lambda w: not (w.types or w.firm)):
        mine = [seat for seat in left if seat.suits(want.types, firm=want.firm)][: max(want.desired - want.busy, 0)]
        given[want.spec] = mine
        left = [seat for seat in left if seat not in mine]
    return given


def _launch(want: _Want, available: int, situation: Situation, rules: Rules, room: int) -> Pool:
    """Return the pool with what is launched for it now."""
    hold = hold_of(situation.failures, want.spec)
    pool = Pool(want.spec, want.open, want.busy, want.desired, available, 0, "enough", want.mean_seconds, hold)
    short = want.desired - want.busy - available
    if short <= 0:
        return pool
    cap = daily_cap(situation.usage, rules)
    if cap is None and room < short:
        cap = Cap("instances", float(rules.fleet_max - room), float(rules.fleet_max))
    if cap is not None and (cap.name != "instances" or room <= 0):
        return replace(pool, state="cap_reached", cap=cap)
    if hold is not None:
        if hold.next_try_seconds > 0:
            return replace(pool, state="refused" if hold.kind == REFUSED else "waiting_capacity")
        short = 1  # a question, not yet an order
    return replace(pool, state="launching", new=min(short, room), cap=cap)


def _make_room(pools: Sequence[Pool], roll: Roll, available: Mapping[LaunchSpec, Sequence[Seat]]) -> list[Seat]:
    """Return idle seats that nobody can use, as many as are missing elsewhere because the fleet is full."""
    full = [pool for pool in pools if pool.cap is not None and pool.cap.name == "instances"]
    missing = sum(pool.desired - pool.busy - pool.available - pool.new for pool in full)
    used = {seat.launch_id for seats in available.values() for seat in seats}
    idle = [seat for seat in roll.seats if seat.duty == "free" and seat.launch_id not in used]
    return [replace(seat, excess=_CROWDED) for seat in idle[: max(missing, 0)]]
