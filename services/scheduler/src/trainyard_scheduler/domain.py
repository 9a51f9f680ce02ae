"""The scheduler's decisions as pure functions: when to train, what to send again, who should be running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainyard.contracts.fleet import Instance
    from trainyard.contracts.launches import Failures, Launch
    from trainyard.contracts.requests import OpenRequest

#: Longest pause between two sends of a request that nobody takes.
MAX_RESEND_SECONDS = 3600.0
#: EC2's list may lag this long behind a launch that it has answered.
LISTING_LAG_SECONDS = 10.0
_MAX_LAUNCH_PAUSE_SECONDS = 60.0


@dataclass(frozen=True)
class Refused:
    """The newest request that ended without using its rows up: failed or cancelled."""

    state: str
    upto_seq: int


@dataclass(frozen=True)
class Situation:
    """What a policy is evaluated on.

    Attributes:
        last_seq: the newest committed row of the dataset.
        used_seq: the newest row of any request that was neither failed nor cancelled; 0 at first.
        open_request: the id of the model's open request.
        refused: the newest failed or cancelled request.
    """

    last_seq: int
    used_seq: int
    open_request: str | None
    refused: Refused | None


@dataclass(frozen=True)
class Verdict:
    """Whether to train, why, and the numbers behind it."""

    fired: bool
    reason: str
    numbers: Mapping[str, Any]

    @property
    def new_rows(self) -> int:
        """Rows that no request has used."""
        rows: int = self.numbers["new_rows"]
        return rows


def evaluate(min_new_rows: int | None, now: Situation) -> Verdict:
    """Decide whether the policy asks for a training."""
    new_rows = max(now.last_seq - now.used_seq, 0)
    numbers = {"new_rows": new_rows, "min_new_rows": min_new_rows, "upto_seq": now.last_seq}
    rows = "row" if new_rows == 1 else "rows"
    if min_new_rows is None:
        return Verdict(False, "not fired: the policy trains by hand only (min_new_rows is null)", numbers)
    if now.open_request is not None:
        return Verdict(
            False,
            f"not fired: a request is open already; {new_rows:,} new {rows} wait",
            {**numbers, "open_request": now.open_request},
        )
    if new_rows < min_new_rows:
        return Verdict(False, f"not fired: {new_rows:,} of {min_new_rows:,} new rows", numbers)
    if now.refused is not None and now.refused.upto_seq >= now.last_seq:
        return Verdict(
            False, f"not fired: the request for these rows was {now.refused.state}; waiting for newer rows", numbers
        )
    return Verdict(True, f"fired: {new_rows:,} of {min_new_rows:,} new rows", numbers)


def resend_reason(request: OpenRequest, *, resend_seconds: float, queue_made_at: float | None) -> str | None:
    """Return why an open request's message must be sent again, None when it need not.

    Args:
        resend_seconds: first pause; it doubles with each send, up to :data:`MAX_RESEND_SECONDS`.
        queue_made_at: Unix time at which the queue turned out to have been made anew; None when it was not.
    """
    if request.lease_live:
        return None
    if request.sent_at is None or request.sent_ago is None:
        return "it was never sent"
    if queue_made_at is not None and request.sent_at < queue_made_at + 1.0:
        return "the queue was made anew since"
    if (
        request.lease_ended_ago is not None
        and request.state == "running"
        and request.lease_ended_ago < request.sent_ago
    ):
        return "its trainer's lease ran out"
    pause = min(resend_seconds * 2.0 ** min(max(request.send_count - 1, 0), 30), MAX_RESEND_SECONDS)
    return "nobody took it" if request.sent_ago >= pause else None


@dataclass(frozen=True)
class FleetPlan:
    """What to do about the fleet: launches whose instance is gone, launches to ask EC2 for again, and new ones."""

    ended: tuple[str, ...]
    retried: tuple[str, ...]
    new: int


def plan_fleet(
    requests: Sequence[OpenRequest],
    launches: Sequence[Launch],
    instances: Sequence[Instance],
    *,
    fleet_max: int,
    failures: Failures,
) -> FleetPlan:
    """Decide who should be running: one instance for each request that nobody works on, besides the busy ones.

    After launches that failed for lack of capacity no new one is asked for during 2, 4, 8 ... 60 seconds.
    """
    alive = {instance.instance_id for instance in instances if instance.alive}
    dead = {instance.instance_id for instance in instances} - alive
    ended, coming = [], 0
    for launch in launches:
        if launch.state == "asked":
            coming += not any(i.alive and i.launch_id == launch.id for i in instances)
        elif launch.instance_id not in alive:
            if launch.instance_id in dead or launch.age > LISTING_LAG_SECONDS:
                ended.append(launch.id)
            else:
                coming += 1
    capacity = len(alive) + coming
    busy = len({request.instance_id for request in requests if request.lease_live} & alive)
    waiting = sum(not request.lease_live for request in requests)
    new = max(0, min(waiting - (capacity - busy), fleet_max - capacity))
    if failures.count and failures.seconds_ago < min(2.0 ** min(failures.count, 30), _MAX_LAUNCH_PAUSE_SECONDS):
        new = 0
    return FleetPlan(tuple(ended), tuple(launch.id for launch in launches if launch.state == "asked"), new)


#: Which loop an event wakes, by how its kind starts; what is not listed here is news for the publisher and the fleet.
_WAKES = {
    "outbox": ("relay",),
    "batch.": (),
    "prediction": (),
    "feedback": (),
    "run.": (),
    "request.": ("fleet",),
    "fleet.": (),
}


def woken_by(kind: str) -> tuple[str, ...]:
    """Return the names of the loops that an event of this kind wakes."""
    for start, loops in _WAKES.items():
        if kind.startswith(start):
            return loops
    return ("publisher", "fleet")
