"""Who may serve a request, and what goes before it: the same rule as the claim's."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.scheduler.test_explain import QUEUED

from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.launches import Launch, Usage
from trainyard.contracts.requests import OpenRequest
from trainyard.contracts.workers import WorkerRecord
from trainyard_scheduler.domain.crew import Crew, crew
from trainyard_scheduler.domain.fleet import Rules, Situation
from trainyard_scheduler.domain.machines import Patience

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC = LaunchSpec(("a", "b"), spot=True)
RULES = Rules(SPEC, fleet_max=7, patience=Patience(boot_seconds=300.0))
MINE = OpenRequest("r", "queued", False, None, 5.0, 1000.0, None, 1)
OTHER = replace(MINE, id="s")


def worker(instance: str | None, state: str = "idle", kind: str | None = "a", silent: float = 1.0) -> WorkerRecord:
    """Return a trainer on the instance of that name."""
    return WorkerRecord(f"{instance}:{kind}:{state}", instance, kind, state, None, NOON, NOON, up=60.0, silent=silent)


def launch(ident: str, instance: str | None = None, **fields: Any) -> Launch:
    """Return a launch; it is launched if it has an instance."""
    made = Launch(ident, "launched" if instance else "asked", instance, SPEC, 5.0, NOON)
    return replace(made, **fields)


def count(
    request: Any = QUEUED,
    *,
    requests: Sequence[OpenRequest] = (MINE,),
    workers: Sequence[WorkerRecord] = (),
    launches: Sequence[Launch] = (),
    ledger: Sequence[Launch] = (),
    rules: Rules = RULES,
) -> Crew:
    """Count for the request of id ``r``."""
    situation = Situation(requests, launches, (), workers, (), Usage(0.0, 0.0, 0.0))
    return crew(request, situation, ledger, rules)


# --- who counts ---


@pytest.mark.parametrize(
    ("types", "idle", "busy", "unsuited"), [([], 3, 3, 0), (["a"], 2, 2, 2), (["b", "x"], 2, 2, 2), (["c"], 1, 1, 4)]
)
def test_instance_types(types: list[str], idle: int, busy: int, unsuited: int) -> None:
    """Trainers count where the request may run, or where nobody knows what they run on."""
    workers = [worker(f"i-{state}-{kind}", state, kind) for state in ("idle", "busy") for kind in ("a", "b", None)]
    found = count(replace(QUEUED, instance_types=types), workers=workers)
    assert found == Crew(idle=idle, busy=busy, unsuited=unsuited)


@pytest.mark.parametrize(("spot", "suited"), [(None, 4), (True, 4), (False, 3)])
def test_markets(spot: bool | None, suited: int) -> None:
    """Who refuses spot capacity gets no spot trainer; all others take any, as the claim has it."""
    workers = [worker("i-spot"), worker("i-firm"), worker("i-stranger"), worker(None)]
    ledger = [
        launch("l-1", "i-spot", market="spot", state="ended"),
        launch("l-2", "i-firm", market="on-demand"),
        launch("l-3", None, market="spot"),
    ]
    found = count(replace(QUEUED, spot=spot), workers=workers, ledger=ledger)
    assert found == Crew(idle=suited, unsuited=4 - suited)


def test_who_is_silent_does_not_count() -> None:
    """Neither whoever has not spoken for 30 s, nor whoever stops or has ended; their instances are not starting."""
    workers = [
        worker("i-1", silent=30.0),
        worker("i-2", silent=30.1),
        worker("i-3", state="stopping"),
        worker("i-4", state="ended"),
    ]
    launches = [launch(f"l-{n}", f"i-{n}") for n in range(1, 5)]
    assert count(workers=workers, launches=launches) == Crew(idle=1, instances=4)


def test_who_is_starting() -> None:
    """A launch counts until its trainer speaks or should have; one that the cloud has not answered is asked for."""
    launches = [
        launch("l-1"),
        launch("l-2", age=900.0),
        launch("l-3", "i-3", age=300.0),
        launch("l-4", "i-4", age=300.1),
        launch("l-5", "i-5"),
    ]
    assert count(launches=launches, workers=[worker("i-5", "busy")]) == Crew(busy=1, starting=3, asked=2, instances=5)


@pytest.mark.parametrize(
    ("wants", "starting"),
    [
        ({}, 4),
        ({"instance_types": ["b"]}, 3),
        ({"instance_types": ["c"]}, 0),
        ({"spot": False}, 2),
        ({"spot": False, "instance_types": ["b"]}, 1),
    ],
)
def test_only_what_suits_is_starting(wants: dict[str, Any], starting: int) -> None:
    """What a launch became counts; before that what it may become, and spot where spot is tried first."""
    launches = [
        launch("l-1"),
        launch("l-2", "i-2", instance_type="a", market="on-demand"),
        launch("l-3", "i-3", instance_type="b", market="spot"),
        launch("l-4", spec=replace(SPEC, spot=False)),
    ]
    found = count(replace(QUEUED, **wants), launches=launches)
    assert (found.starting, found.instances) == (starting, 4)


# --- who goes first ---


def test_order_of_the_claim() -> None:
    """Higher priority first, then what is listed first, which is older; not what is held, and not what only ends."""
    requests = [
        replace(MINE, id="older"),
        replace(MINE, id="older and held", state="running", lease_live=True),
        replace(MINE, id="older and lost", state="running", attempt=2),
        replace(MINE, id="older, less urgent", priority=-1),
        replace(MINE, id="will be ended as cancelled", state="running", cancel_requested=True),
        replace(MINE, id="will be ended as failed", state="running", attempt=3),
        MINE,
        replace(MINE, id="younger"),
        replace(MINE, id="younger, more urgent", priority=1),
    ]
    assert count(requests=requests).ahead == 3
    assert count(requests=requests, workers=[worker("i-1")]) == Crew(idle=1, ahead=3, ahead_of_idle=3)
    assert count(requests=requests[:6]).ahead == 0  # it is not among them: it has ended, or is held


@pytest.mark.parametrize(
    ("mine", "other", "ahead"),
    [
        ({}, {}, 1),
        ({"instance_types": ["a"]}, {"instance_types": ["a", "c"]}, 1),
        ({"instance_types": ["a"]}, {"instance_types": ["b"]}, 0),
        ({}, {"instance_types": ["b"]}, 1),
        ({}, {"instance_types": ["c"]}, 0),
        ({"instance_types": ["c"]}, {}, 1),
        ({}, {"spot": False}, 1),
        ({"spot": False}, {"spot": True}, 1),
        ({"spot": True}, {"spot": False, "instance_types": ["b"]}, 1),
    ],
)
def test_rivals_for_an_instance_to_come(mine: dict[str, Any], other: dict[str, Any], ahead: int) -> None:
    """While nobody suits, those go first whom an instance suits that may be launched for it."""
    requests = [replace(OTHER, **other), replace(MINE, **mine)]
    assert count(replace(QUEUED, **mine), requests=requests).ahead == ahead


def test_rivals_while_only_spot_is_asked_for() -> None:
    """Whoever refuses spot capacity would not take an instance that can only be spot."""
    rules = replace(RULES, spec=replace(SPEC, on_demand=False))
    requests = [replace(OTHER, spot=False), MINE]
    assert count(requests=requests, rules=rules).ahead == 0


def test_rivals_for_those_who_are_there() -> None:
    """Trainers that may serve it decide, idle, busy or starting: who suits none of them does not go before it."""
    ledger = [launch("l-1", "i-1", market="spot", instance_type="a")]
    requests = [replace(OTHER, spot=False), replace(OTHER, instance_types=["b"]), replace(OTHER, instance_types=["a"])]
    spot = [worker("i-1")]
    assert count(requests=[*requests, MINE], workers=spot, ledger=ledger) == Crew(idle=1, ahead=1, ahead_of_idle=1)
    both = [*spot, worker("i-2", "busy", "b")]
    assert count(requests=[*requests, MINE], workers=both, ledger=ledger) == Crew(
        idle=1, busy=1, ahead=3, ahead_of_idle=1
    )
    coming = [launch("l-2", "i-2", instance_type="b", market="on-demand")]
    assert count(requests=[*requests, MINE], launches=coming) == Crew(starting=1, instances=1, ahead=2)
    firm = replace(QUEUED, spot=False)
    assert count(firm, requests=[*requests, MINE], workers=both, ledger=ledger) == Crew(busy=1, unsuited=1, ahead=2)
