"""Keeping as many instances as there is work: every launch is in our ledger before EC2 hears of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from trainyard import crashpoints, logs
from trainyard.contracts.fleet import LaunchRefusedError, NoCapacityError
from trainyard.contracts.launches import CAPACITY, REFUSED
from trainyard.errors import TransientError
from trainyard_scheduler.domain.fleet import Situation, plan_fleet
from trainyard_scheduler.use_cases.rounds import do_all

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.fleet import Fleet, Instance, Prices
    from trainyard.contracts.launches import Launch
    from trainyard.contracts.scheduling import Records, Store
    from trainyard_scheduler.domain.fleet import FleetPlan, Rules
    from trainyard_scheduler.domain.machines import Seat

#: While one scheduler asks EC2 for a launch no other does. One that dies meanwhile costs this pause; one that is slower
#: than this may get an instance that another has got too: EC2 gives the same one, and an emulator's second is ended.
_CLAIM_SECONDS = 15.0
#: Workers that have been silent for longer tell nothing about an instance of today.
_WORKERS_SEEN_WITHIN_SECONDS = 86_400.0
#: So many looks in a row must find no work before idle instances are ended.
_IDLE_LOOKS = 3
_IDLE = "there is no work, and it did not end by itself"
_log = logs.get(__name__)


def look(
    records: Records,
    instances: Sequence[Instance],
    rules: Rules,
    *,
    known: set[str] | None = None,
    strangers: Mapping[str, float] | None = None,
) -> tuple[Situation, FleetPlan]:
    """Return what is and what follows from it.

    ``known``: the launches that had an instance before ``instances`` was asked for. The others may be too young for
    that list, however old they look; None: all are old enough.
    """
    situation = Situation(
        requests=records.requests.open_requests(),
        launches=[
            launch if known is None or launch.id in known else replace(launch, age=0.0)
            for launch in records.launches.open()
        ],
        instances=instances,
        workers=records.workers.all(_WORKERS_SEEN_WITHIN_SECONDS),
        failures=records.launches.failures(),
        usage=records.launches.usage(),
        times=records.costs.training_times(),
        strangers=strangers or {},
    )
    return situation, plan_fleet(situation, rules)


@dataclass(frozen=True)
class Looks:
    """How often the keeper looks where nothing calls for it, and what else it looks at.

    Attributes:
        queue_depth: how many messages the training queue holds, in whatever state.
        every_seconds: pause between looks for idle instances and strangers.
    """

    queue_depth: Callable[[], int]
    every_seconds: float = 30.0


class FleetKeeper:
    """Launches trainers for waiting requests, and ends instances that are only cost."""

    def __init__(self, store: Store, fleet: Fleet, prices: Prices, *, rules: Rules, looks: Looks, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._prices = prices
        self._rules = rules
        self._looks = looks
        self._clock = clock
        self._strangers: dict[str, float] = {}
        self._doomed: set[str] = set()
        self._looked_at: float | None = None
        self._idle_looks = 0

    def step(self) -> int:
        """Compare requests, ledger, instances and trainers once; launch and end what that asks for.

        Returns:
            How many instances were launched.

        Raises:
            TransientError: the database, the queue or EC2 does not answer; what was asked for stays in the ledger and
                is repeated, under the same id, by the next step.
        """
        round_due = self._round_due()
        with self._store.begin() as records:
            launches = records.launches.open()
            if not launches and not round_due and not records.requests.open_requests():
                return 0
        known = {launch.id for launch in launches if launch.state == "launched"}
        instances = self._fleet.instances()
        self._remember_strangers(instances, launches)
        with self._store.begin() as records:
            records.launches.lock()
            now = self._clock.monotonic()
            ages = {instance_id: now - since for instance_id, since in self._strangers.items()}
            situation, plan = look(records, instances, self._rules, known=known, strangers=ages)
            self._write_down(records, plan)
            asked = [records.launches.ask(spec, "a request waits") for spec in plan.new]
        idle = self._idle_seats(situation, plan) if round_due else []
        self._doomed |= {seat.instance_id for seat in (*plan.excess, *idle) if seat.instance_id is not None}
        work = [partial(self._end, instances, idle)]
        work += [partial(self._launch, launch_id) for launch_id in (*plan.retried, *asked)]
        return sum(do_all(work))

    def _round_due(self) -> bool:
        now = self._clock.monotonic()
        due = self._looked_at is None or now - self._looked_at >= self._looks.every_seconds
        if due:
            self._looked_at = now
        return due

    def _remember_strangers(self, instances: Sequence[Instance], launches: Sequence[Launch]) -> None:
        """Keep since when instances are seen that the ledger does not know, by a clock that never jumps."""
        ours = {launch.instance_id for launch in launches} | {launch.id for launch in launches}
        now = self._clock.monotonic()
        self._strangers = {
            i.instance_id: self._strangers.get(i.instance_id, now)
            for i in instances
            if i.alive and i.instance_id not in ours and i.launch_id not in ours
        }

    def _write_down(self, records: Records, plan: FleetPlan) -> None:
        """Note in the ledger who is gone or will be, and tell once a day which limit is reached."""
        gone = [*plan.ended, *((seat.launch_id, seat.excess) for seat in plan.excess if seat.duty != "stranger")]
        for launch_id, reason in gone:
            records.launches.ended([launch_id], reason)
            records.journal.announce("fleet.ended", f"launch/{launch_id}", {"reason": reason})
        for seat in plan.excess:
            _log.warning("fleet.ending", instance_id=seat.instance_id, launch=seat.launch_id, reason=seat.excess)
        for cap in plan.caps:
            if records.launches.first_today(f"cap:{cap.name}"):
                records.journal.announce("fleet.cap_reached", "fleet", asdict(cap))
                _log.warning("fleet.cap_reached", cap=cap.name, used=cap.used, limit=cap.limit)

    def _idle_seats(self, situation: Situation, plan: FleetPlan) -> list[Seat]:
        """Return instances that wait for work, when database and queue have said several times that there is none."""
        free = [seat for seat in plan.seats if seat.duty == "free"]
        if situation.requests or not free or self._looks.queue_depth() > 0:
            self._idle_looks = 0
            return []
        self._idle_looks += 1
        return free if self._idle_looks >= _IDLE_LOOKS else []

    def _end(self, instances: Sequence[Instance], idle: Sequence[Seat]) -> bool:
        """Terminate what must go, again at every step until EC2 says that it is gone; launches nothing: False."""
        self._doomed &= {instance.instance_id for instance in instances if instance.alive}
        if not self._doomed:
            return False
        if idle:
            with self._store.begin() as records:
                records.launches.ended([seat.launch_id for seat in idle], _IDLE)
                records.journal.announce("fleet.ended", "fleet", {"reason": _IDLE, "instances": len(idle)})
        self._fleet.terminate(sorted(self._doomed))
        _log.info("fleet.terminated", instances=" ".join(sorted(self._doomed)))
        return False

    def _launch(self, launch_id: str) -> bool:
        """Ask EC2 for one launch: the ledger's row is claimed for some seconds, no transaction is open meanwhile."""
        with self._store.begin() as records:
            launch = records.launches.claim(launch_id, _CLAIM_SECONDS)
        if launch is None:
            return False
        try:
            with crashpoints.step("K16"):
                instance = self._fleet.launch(launch_id, launch.spec)
        except NoCapacityError as e:
            return self._failed(launch_id, CAPACITY, str(e))
        except LaunchRefusedError as e:
            return self._failed(launch_id, REFUSED, str(e))
        except TransientError:
            with self._store.begin() as records:
                records.launches.unclaim(launch_id)
            raise
        price = self._prices.usd_per_hour(instance.instance_type, instance.market, instance.zone)
        payload = {
            "instance_id": instance.instance_id,
            "instance_type": instance.instance_type,
            "market": instance.market,
            "usd_per_hour": price,
        }
        with self._store.begin() as records:
            records.launches.launched(launch_id, instance, price)
            if not instance.alive:
                records.launches.ended([launch_id], f"EC2 calls it {instance.state}")
            records.journal.announce("fleet.launched", f"launch/{launch_id}", payload)
        _log.info(
            "fleet.launched", launch=launch_id, instance_id=instance.instance_id, instance_type=instance.instance_type
        )
        return True

    def _failed(self, launch_id: str, kind: str, error: str) -> bool:
        event = "fleet.no_capacity" if kind == CAPACITY else "fleet.refused"
        with self._store.begin() as records:
            records.launches.failed(launch_id, kind, error)
            records.journal.announce(event, f"launch/{launch_id}", {"reason": error})
        _log.warning(event, launch=launch_id, reason=error)
        return False
