"""Who should be running: seats, pools, limits, pauses, and who must go."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.costs import TrainingTime
from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.launches import CAPACITY, REFUSED, Failure, Launch, Usage
from trainyard.contracts.requests import OpenRequest
from trainyard.contracts.workers import WorkerRecord
from trainyard_scheduler.domain.fleet import Cap, FleetPlan, Hold, Rules, Situation, hold_of, plan_fleet, pool_of
from trainyard_scheduler.domain.machines import Patience
from trainyard_scheduler.domain.refusals import next_step

if TYPE_CHECKING:
    from collections.abc import Sequence

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = LaunchSpec(("c7i.large", "m6i.large"), spot=True)
GPU = LaunchSpec(("g5.xlarge",), spot=True)
RULES = Rules(SPEC, fleet_max=3, patience=Patience(boot_seconds=300.0, silent_seconds=180.0))
NOTHING_USED = Usage(0.0, 0.0, 0.0)
QUEUED = OpenRequest("r", "queued", False, None, 5.0, 1000.0, None, 1, waited=5.0)
HELD = replace(QUEUED, state="running", lease_live=True, instance_id="i-1")
WANTS_GPU = replace(QUEUED, instance_types=["g5.xlarge"])
ASKED = Launch("a", "asked", None, SPEC, 1.0, AT)
LAUNCHED = Launch("b", "launched", "i-1", SPEC, 60.0, AT, "c7i.large")
ALIVE = Instance("i-1", "b", "c7i.large", "running")
DEAD = replace(ALIVE, state="terminated")
IDLE = WorkerRecord("host:1", "i-1", "c7i.large", "idle", None, AT, AT, 60.0, 1.0)


def planned(
    requests: Sequence[OpenRequest] = (),
    launches: Sequence[Launch] = (),
    instances: Sequence[Instance] = (),
    workers: Sequence[WorkerRecord] = (),
    *,
    failures: Sequence[Failure] = (),
    usage: Usage = NOTHING_USED,
    times: Sequence[TrainingTime] = (),
    rules: Rules = RULES,
    **strangers: float,
) -> FleetPlan:
    """Plan for a situation; ``strangers`` by instance id with _ for -."""
    known = {name.replace("_", "-"): seconds for name, seconds in strangers.items()}
    return plan_fleet(Situation(requests, launches, instances, workers, failures, usage, times, strangers=known), rules)


def launch(number: int, **more: Any) -> Launch:
    """Return a launch with an instance of its number."""
    return replace(LAUNCHED, id=f"l{number}", instance_id=f"i-{number}", **more)


def instance(number: int, kind: str = "c7i.large") -> Instance:
    """Return that instance, alive."""
    return Instance(f"i-{number}", f"l{number}", kind, "running")


def worker(number: int, state: str = "idle", silent: float = 1.0) -> WorkerRecord:
    """Return the trainer on it."""
    return replace(IDLE, id=f"host:{number}", instance_id=f"i-{number}", state=state, silent=silent)


@pytest.mark.parametrize(
    ("requests", "launches", "instances", "workers", "new", "states"),
    [
        ([], [], [], [], 0, []),
        ([QUEUED], [], [], [], 1, ["launching"]),
        ([QUEUED] * 5, [], [], [], 3, ["launching"]),
        ([replace(QUEUED, state="running")], [], [], [], 1, ["launching"]),
        ([QUEUED], [ASKED], [], [], 0, ["enough"]),
        ([QUEUED], [ASKED], [replace(ALIVE, launch_id="a")], [], 0, ["enough"]),
        ([QUEUED] * 2, [ASKED], [replace(ALIVE, launch_id="a")], [], 1, ["launching"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [], 0, ["enough"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [IDLE], 0, ["enough"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, state="busy")], 1, ["launching"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, silent=59.9)], 0, ["enough"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, silent=60.1)], 1, ["launching"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, state="stopping")], 1, ["launching"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, silent=99.0, state="busy")], 1, ["launching"]),
        ([QUEUED], [LAUNCHED], [ALIVE], [replace(IDLE, silent=99.0), IDLE], 0, ["enough"]),
        ([QUEUED, HELD], [LAUNCHED], [ALIVE], [IDLE], 1, ["launching"]),
        ([HELD], [LAUNCHED], [ALIVE], [], 0, ["enough"]),
        ([HELD], [LAUNCHED], [ALIVE], [replace(IDLE, silent=900.0)], 0, ["enough"]),
        ([QUEUED], [replace(LAUNCHED, age=9.0)], [], [], 0, ["enough"]),
        ([QUEUED], [], [replace(ALIVE, launch_id="x")], [IDLE], 1, ["launching"]),
        ([WANTS_GPU], [LAUNCHED], [ALIVE], [IDLE], 1, ["launching"]),
        ([WANTS_GPU, QUEUED], [LAUNCHED], [replace(ALIVE, instance_type="g5.xlarge")], [IDLE], 1,
         ["enough", "launching"]),
    ],
)  # fmt: skip
def test_one_instance_for_each_request(
    requests: list[OpenRequest],
    launches: list[Launch],
    instances: list[Instance],
    workers: list[WorkerRecord],
    new: int,
    states: list[str],
) -> None:
    """While no training time is known, each request that nobody holds gets an instance that can serve it."""
    plan = planned(requests, launches, instances, workers)
    assert (len(plan.new), [pool.state for pool in plan.pools]) == (new, states)
    assert plan.retried == tuple(x.id for x in launches if x.state == "asked")


@pytest.mark.parametrize(
    ("launches", "instances", "ended"),
    [
        ([LAUNCHED], [ALIVE], ()),
        ([LAUNCHED], [DEAD], (("b", "EC2 calls it terminated"),)),
        ([replace(LAUNCHED, age=1.0)], [DEAD], (("b", "EC2 calls it terminated"),)),
        ([LAUNCHED], [], (("b", "EC2 does not know it any more"),)),
        ([replace(LAUNCHED, age=10.0)], [], ()),
        ([replace(LAUNCHED, age=10.1)], [], (("b", "EC2 does not know it any more"),)),
        ([ASKED], [], ()),
    ],
)
def test_instances_that_are_gone(
    launches: list[Launch], instances: list[Instance], ended: tuple[tuple[str, str], ...]
) -> None:
    """A launch ends with its instance; one that EC2's list does not show yet gets ten seconds."""
    assert planned([], launches, instances).ended == ended


@pytest.mark.parametrize(
    ("age", "workers", "requests", "excess"),
    [
        (300.0, [], [], ""),
        (300.1, [], [], "its trainer was not seen within 300 s"),
        (300.1, [], [HELD], ""),
        (900.0, [replace(IDLE, silent=180.0)], [], ""),
        (900.0, [replace(IDLE, silent=180.1)], [], "its trainer has been silent for more than 180 s"),
        (900.0, [replace(IDLE, silent=180.1, state="busy")], [], "its trainer has been silent for more than 180 s"),
        (900.0, [replace(IDLE, silent=180.1)], [HELD], ""),
        (900.0, [replace(IDLE, silent=180.1), replace(IDLE, state="ended")], [], ""),
    ],
)
def test_silent_instances_are_ended(
    age: float, workers: list[WorkerRecord], requests: list[OpenRequest], excess: str
) -> None:
    """An instance whose trainer never came, or fell silent, is ended with the reason; one that keeps a lease is not."""
    plan = planned(requests, [replace(LAUNCHED, age=age)], [ALIVE], workers)
    assert [seat.excess for seat in plan.excess] == ([excess] if excess else [])
    assert all(seat.instance_id == "i-1" for seat in plan.excess)


def test_strangers() -> None:
    """An instance with our tag that the ledger does not know counts against the limit, and is ended after a while."""
    assert len(planned([QUEUED] * 3, [], [ALIVE], i_1=300.0).new) == 2
    assert planned([], [], [ALIVE], i_1=300.0).excess == ()
    (seat,) = planned([], [], [ALIVE], [IDLE], i_1=300.1).excess
    assert (seat.duty, seat.instance_id, seat.worker) == ("stranger", "i-1", IDLE)
    assert seat.excess == "it carries our tag but is not in the ledger"
    second = planned([], [LAUNCHED], [ALIVE, replace(ALIVE, instance_id="i-2")], i_2=301.0)
    assert [seat.instance_id for seat in second.excess] == ["i-2"]


def test_launches_are_for_whom_they_are_wanted() -> None:
    """Each pool gets its own types and market, the most urgent pool first, all within the one limit."""
    urgent = replace(WANTS_GPU, priority=5, spot=False)
    plan = planned([QUEUED, QUEUED, QUEUED, urgent])
    assert plan.new == (replace(GPU, spot=False), SPEC, SPEC)
    assert [pool.state for pool in plan.pools] == ["launching", "launching"]
    assert [pool.cap for pool in plan.pools] == [None, Cap("instances", 1.0, 3.0)]
    older = replace(WANTS_GPU, waited=6.0)
    assert [pool.spec for pool in planned([QUEUED, older]).pools] == [GPU, SPEC]
    held = replace(HELD, priority=100)
    assert [pool.open for pool in planned([held, WANTS_GPU]).pools] == [1, 1]
    assert planned([held, WANTS_GPU]).pools[0].spec == GPU


@pytest.mark.parametrize(
    ("spot", "market", "new"),
    [(False, "spot", 1), (False, "on-demand", 0), (False, None, 0), (None, "spot", 0), (True, "spot", 0)],
)
def test_what_refuses_spot_gets_other_capacity(spot: bool | None, market: str | None, new: int) -> None:
    """A free spot instance is of no use to a request that refuses it; both the ledger and EC2 know the market."""
    wanted = [replace(QUEUED, spot=spot)]
    for told, listed in ((market, None), (None, market)):
        launches, instances = [replace(LAUNCHED, market=told)], [replace(ALIVE, market=listed)]
        assert len(planned(wanted, launches, instances, [IDLE]).new) == new


@pytest.mark.parametrize(("spec", "new"), [(SPEC, 1), (replace(SPEC, spot=False), 0)])
def test_what_was_asked_for_as_spot_may_become_it(spec: LaunchSpec, new: int) -> None:
    """Nobody knows yet what a launch becomes: a request that refuses spot counts on those alone that cannot be."""
    assert len(planned([replace(QUEUED, spot=False)], [replace(ASKED, spec=spec)]).new) == new


@pytest.mark.parametrize(
    ("requests", "kinds", "workers", "pools"),
    [
        ([QUEUED], ["g5.xlarge"], [], [(1, "enough")]),
        ([replace(QUEUED, priority=5), WANTS_GPU], ["g5.xlarge"], [], [(0, "launching"), (1, "enough")]),
        ([replace(QUEUED, priority=5), replace(QUEUED, spot=False)], ["c7i.large"], [],
         [(0, "launching"), (1, "enough")]),
        ([replace(HELD, instance_id="i-0", instance_types=["c7i.large"]), QUEUED], ["c7i.large"] * 2, [1],
         [(1, "enough"), (0, "enough")]),
        ([replace(HELD, instance_id="i-0", instance_types=["c7i.large"]),
          replace(QUEUED, instance_types=["c7i.large"]), QUEUED], ["c7i.large"] * 3, [1, 2],
         [(1, "enough"), (1, "enough")]),
    ],
)  # fmt: skip
def test_who_gets_an_idle_instance(
    requests: list[OpenRequest], kinds: list[str], workers: list[int], pools: list[tuple[int, str]]
) -> None:
    """Who insists on nothing takes any, after those who insist on a type or market; nobody gets more than it lacks."""
    launches = [launch(n, market="on-demand") for n in range(len(kinds))]
    instances = [instance(n, kind) for n, kind in enumerate(kinds)]
    plan = planned(requests, launches, instances, [worker(n) for n in workers or range(len(kinds))])
    assert [(pool.available, pool.state) for pool in plan.pools] == pools


def test_pool_of_a_request() -> None:
    """What a request does not say, the environment's settings say."""
    assert pool_of(QUEUED, SPEC) == SPEC
    assert pool_of(replace(WANTS_GPU, spot=False), SPEC) == LaunchSpec(("g5.xlarge",), spot=False)


@pytest.mark.parametrize(("waited", "spot", "on_demand"), [(59.9, True, False), (60.0, True, True), (0.0, False, True)])
def test_patience_for_spot(waited: float, spot: bool, on_demand: bool) -> None:
    """On-demand capacity will do once the oldest request has waited long enough, or where spot is not wanted."""
    rules = replace(RULES, spot_patience_seconds=60.0)
    plan = planned([replace(QUEUED, waited=waited, spot=spot), replace(QUEUED, waited=0.0, spot=spot)], rules=rules)
    assert plan.new == (replace(SPEC, spot=spot, on_demand=on_demand),) * 2


@pytest.mark.parametrize(
    ("requests", "mean", "desired"),
    [
        ([QUEUED], 1.0, 1),
        ([QUEUED] * 4, 2.5, 1),
        ([QUEUED] * 4, 2.6, 2),
        ([QUEUED] * 3, 10.0, 3),
        ([QUEUED] * 3, 1000.0, 3),
        ([QUEUED] * 3, None, 3),
        ([HELD, QUEUED], 1.0, 1),
        ([HELD, replace(QUEUED, waited=10.1)], 1.0, 2),
        ([HELD, replace(QUEUED, waited=10.0)], 1.0, 1),
        ([replace(QUEUED, waited=11.0)] * 2 + [QUEUED], 1.0, 2),
    ],
)
def test_desired_size(requests: list[OpenRequest], mean: float | None, desired: int) -> None:
    """Backlog times mean time over target wait; at least one, at most one each, and one for each overdue request."""
    times = [] if mean is None else [TrainingTime([], None, mean, 3)]
    (pool,) = planned(requests, times=times).pools
    assert (pool.desired, pool.mean_seconds) == (desired, mean)


def test_mean_of_a_pool() -> None:
    """Times of runs count for the pool in which their requests were, weighted by their number."""
    times = [
        TrainingTime([], None, 10.0, 1),
        TrainingTime(["c7i.large", "m6i.large"], True, 40.0, 2),
        TrainingTime([], False, 999.0, 1),
        TrainingTime(["g5.xlarge"], None, 999.0, 1),
    ]
    (pool,) = planned([QUEUED], times=times).pools
    assert pool.mean_seconds == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("usage", "cap"),
    [
        (Usage(9.9, 1.9, 0.0), None),
        (Usage(10.0, 0.0, 10.0), Cap("hours_per_day", 10.0, 10.0)),
        (Usage(1.0, 2.0, 0.0), Cap("usd_per_day", 2.0, 2.0)),
    ],
)
def test_daily_limits(usage: Usage, cap: Cap | None) -> None:
    """At a limit of the day nothing is launched, and the numbers say why; who has enough is not told of limits."""
    rules = replace(RULES, max_hours_per_day=10.0, max_usd_per_day=2.0)
    plan = planned([QUEUED], usage=usage, rules=rules)
    (pool,) = plan.pools
    assert (pool.cap, pool.new, pool.state) == (cap, int(cap is None), "cap_reached" if cap else "launching")
    assert plan.caps == ((cap,) if cap else ())
    assert planned([QUEUED], [LAUNCHED], [ALIVE], [IDLE], usage=usage, rules=rules).caps == ()
    assert len(planned([QUEUED], usage=usage).new) == 1


def test_most_instances() -> None:
    """However many wait, there are never more than the most, those on their way and strangers included."""
    assert planned([QUEUED], rules=replace(RULES, fleet_max=0)).pools[0].state == "cap_reached"
    plan = planned([QUEUED] * 9, [ASKED, LAUNCHED], [ALIVE, instance(7)])
    (pool,) = plan.pools
    assert (pool.new, pool.state, pool.cap) == (0, "cap_reached", Cap("instances", 3.0, 3.0))
    over = planned([QUEUED] * 9, [launch(n) for n in range(4)], [instance(n) for n in range(4)])
    assert over.pools[0].cap == Cap("instances", 4.0, 3.0)


@pytest.mark.parametrize(("waiting", "new", "cap"), [(2, 2, None), (3, 3, None), (4, 3, Cap("instances", 0.0, 3.0))])
def test_room_for_some(waiting: int, new: int, cap: Cap | None) -> None:
    """What there is room for is launched; the limit is told when more is wanted than that, not when all of it is."""
    (pool,) = planned([QUEUED] * waiting).pools
    assert (pool.new, pool.state, pool.cap) == (new, "launching", cap)
    (last,) = planned([QUEUED] * 2, rules=replace(RULES, fleet_max=1)).pools
    assert (last.new, last.state, last.cap) == (1, "launching", Cap("instances", 0.0, 1.0))


def test_pools_share_one_limit() -> None:
    """Two pools that lack instances name the same limit, once."""
    plan = planned([QUEUED, WANTS_GPU], rules=replace(RULES, fleet_max=0))
    assert plan.caps == (Cap("instances", 0.0, 0.0),)


@pytest.mark.parametrize(
    ("kind", "count", "ago", "left"),
    [
        (CAPACITY, 1, 1.9, 0.1),
        (CAPACITY, 1, 2.0, 0.0),
        (CAPACITY, 2, 1.0, 3.0),
        (CAPACITY, 99, 0.0, 60.0),
        (CAPACITY, 3, -3600.0, 8.0),
        (REFUSED, 1, 0.0, 60.0),
        (REFUSED, 2, 30.0, 90.0),
        (REFUSED, 99, 0.0, 900.0),
    ],
)
def test_pause_after_failures(kind: str, count: int, ago: float, left: float) -> None:
    """Lack of capacity pauses 2, 4 ... 60 s, a refusal 60, 120 ... 900 s, and a clock that jumps back no longer."""
    hold = hold_of([Failure(GPU, 9, 0.0, CAPACITY, ""), Failure(SPEC, count, ago, kind, "words")], SPEC)
    assert hold == Hold(kind, "words", count, ago, pytest.approx(left))
    assert hold_of([], SPEC) is None


@pytest.mark.parametrize(
    ("kind", "ago", "state", "new"),
    [
        (CAPACITY, 0.0, "waiting_capacity", 0),
        (REFUSED, 0.0, "refused", 0),
        (CAPACITY, 60.0, "launching", 1),
        (REFUSED, 900.0, "launching", 1),
    ],
)
def test_failures_hold_launches_back(kind: str, ago: float, state: str, new: int) -> None:
    """During the pause nothing is launched, after it one instance as a question; other pools are not concerned."""
    plan = planned([QUEUED, QUEUED, WANTS_GPU], failures=[Failure(SPEC, 1, ago, kind, "words")])
    pools = {pool.spec: pool for pool in plan.pools}
    assert (pools[SPEC].state, pools[SPEC].new) == (state, new)
    assert pools[SPEC].hold is not None
    assert (pools[GPU].state, pools[GPU].new, pools[GPU].hold) == ("launching", 1, None)


def test_room_is_made_for_other_types() -> None:
    """In a full fleet, idle instances that serve nobody go, as many as others lack; free ones that serve stay."""
    launches = [launch(n) for n in range(3)]
    instances = [instance(n) for n in range(3)]
    workers = [worker(n) for n in range(3)]
    plan = planned([WANTS_GPU, QUEUED], launches, instances, workers)
    (gone,) = plan.excess
    assert "serves no request" in gone.excess
    kept = planned([WANTS_GPU, QUEUED], launches[:2], instances[:2], workers[:2])
    assert (kept.excess, kept.new) == ((), (GPU,))
    crowd = planned([WANTS_GPU] * 5, launches, instances, [worker(0), worker(1), worker(2, "busy")])
    assert {seat.instance_id for seat in crowd.excess} == {"i-0", "i-1"}
    booting = planned([WANTS_GPU], launches, instances)
    assert booting.excess == ()


@pytest.mark.parametrize(
    ("requests", "kinds", "new"),
    [
        ([WANTS_GPU] * 2, ["c7i.large"] * 2, 1),
        ([WANTS_GPU] * 2, ["c7i.large", "c7i.large", "g5.xlarge"], 0),
        ([WANTS_GPU, replace(HELD, instance_id="i-2", instance_types=["g5.xlarge"])],
         ["c7i.large", "c7i.large", "g5.xlarge"], 0),
    ],
)  # fmt: skip
def test_no_more_room_is_made_than_lacks(requests: list[OpenRequest], kinds: list[str], new: int) -> None:
    """One instance is missing: one of the two that serve nobody goes, whatever is launched, free or busy besides."""
    count = range(len(kinds))
    instances = [instance(n, kind) for n, kind in enumerate(kinds)]
    plan = planned(requests, [launch(n) for n in count], instances, [worker(n) for n in count])
    assert (len(plan.new), [seat.instance_id for seat in plan.excess]) == (new, ["i-0"])


@pytest.mark.parametrize(
    ("kind", "error", "step"),
    [
        (CAPACITY, "spot: InsufficientInstanceCapacity: none", "tried again by itself"),
        (REFUSED, "spot: UnauthorizedOperation: no", "iam:PassRole"),
        (REFUSED, "on-demand: VcpuLimitExceeded: too many", "higher quota"),
        (REFUSED, "x: InvalidAMIID.NotFound: y", "TRAINYARD_TRAINER_AMI"),
        (REFUSED, "x: SomethingElse: y", "docs/fleet.md"),
    ],
)
def test_next_step(kind: str, error: str, step: str) -> None:
    """Whoever reads a failure is told what helps."""
    assert step in next_step(kind, error)


def test_a_shared_search_gets_the_workers_that_it_invites() -> None:
    """An idle instance first, a new one for the rest; none any more when the search is nearly over."""
    shared = replace(HELD, invites=2, search_left=300.0)
    led, idle = (launch(1), launch(2)), (instance(1), instance(2))
    plan = planned([shared], led, idle, [replace(IDLE, instance_id="i-2")])
    (pool,) = plan.pools
    assert (pool.open, pool.busy, pool.desired, pool.available, pool.new) == (1, 1, 3, 1, 1)
    (pool,) = planned([replace(shared, search_left=59.0)], led, idle, [replace(IDLE, instance_id="i-2")]).pools
    assert (pool.busy, pool.desired, pool.new, pool.state) == (1, 1, 0, "enough")


def test_a_helper_is_busy() -> None:
    """It is kept while it has its seat, whatever else is heard of it, and is nobody's idle instance."""
    shared = replace(HELD, invites=1, search_left=5.0, helpers=("i-2",))
    silent = replace(IDLE, id="h:2", instance_id="i-2", silent=1_000.0)
    plan = planned([shared], [launch(1), launch(2)], [instance(1), instance(2)], [silent])
    (pool,) = plan.pools
    assert (pool.busy, pool.desired, pool.available, pool.new) == (2, 2, 0, 0)
    assert {seat.instance_id: seat.duty for seat in plan.seats} == {"i-1": "busy", "i-2": "busy"}
    assert plan.excess == ()
