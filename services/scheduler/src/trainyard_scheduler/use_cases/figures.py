"""How much of everything there is, as numbers for /metrics: the database's, so no restart starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.contracts.requests import OPEN_STATES
from trainyard_scheduler.use_cases.queues import depths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.scheduling import Store
    from trainyard.telemetry.numbers import Sample
    from trainyard_scheduler.use_cases.queues import Pair

_OUTBOX_QUEUES = ("training", "arrived", "predictions")
_LAUNCH_STATES = ("asked", "launched")
_RUNNING, _LOST = "running", "lost"


def of_records(store: Store) -> list[Sample]:
    """Return requests, runs, instances and unsent messages.

    Raises:
        TransientError: the database does not answer.
    """
    with store.begin() as records:
        tally, unsent_seconds = records.tallies.tally(), records.outbox.oldest_seconds()
    return [
        ("trainyard_outbox_oldest_seconds", {}, unsent_seconds),
        ("trainyard_request_oldest_seconds", {}, tally.request_oldest_seconds),
        ("trainyard_runs_running", {}, tally.runs.get(_RUNNING, 0)),
        ("trainyard_lease_losses_total", {}, tally.runs.get(_LOST, 0)),
        *_each("trainyard_outbox_messages", "queue", {q: tally.outbox.get(q, 0) for q in _OUTBOX_QUEUES}),
        *_each("trainyard_requests_open", "state", {s: tally.requests.get(s, 0) for s in OPEN_STATES}),
        *_each("trainyard_requests_ended_total", "state", _without(tally.requests, *OPEN_STATES)),
        *_each("trainyard_runs_ended_total", "state", _without(tally.runs, _RUNNING)),
        *_each("trainyard_fleet_instances", "state", {s: tally.launches.get(s, 0) for s in _LAUNCH_STATES}),
    ]


def of_queues(pairs: Mapping[str, Pair]) -> list[Sample]:
    """Return what each queue holds, as the service counts it.

    Raises:
        TransientError: a queue does not answer.
    """
    samples: list[Sample] = []
    for name, (live, dead) in depths(pairs).items():
        counts = {"visible": live.visible, "in_flight": live.in_flight, "delayed": live.delayed, "dead": dead.total}
        samples += [("trainyard_queue_messages", {"queue": name, "state": s}, n) for s, n in counts.items()]
    return samples


def _each(name: str, label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [(name, {label: value}, count) for value, count in counts.items()]


def _without(counts: Mapping[str, int], *states: str) -> dict[str, int]:
    return {state: count for state, count in counts.items() if state not in states}
