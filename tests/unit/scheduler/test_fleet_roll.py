"""What each instance is good for: ledger, EC2's list and the trainers' words brought together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.launches import Launch
from trainyard.contracts.requests import OpenRequest
from trainyard.contracts.workers import WorkerRecord
from trainyard_scheduler.domain.machines import Patience, Roll, Seat, call_the_roll

AT = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = LaunchSpec(("c7i.large", "m6i.large"), spot=True)
BOTH, ONE = frozenset(SPEC.instance_types), frozenset({"c7i.large"})
ASKED = Launch("a", "asked", None, SPEC, 1.0, AT)
LAUNCHED = Launch("b", "launched", "i-1", SPEC, 60.0, AT)
ALIVE = Instance("i-1", "b", "c7i.large", "running")
WORD = WorkerRecord("host:1", "i-1", "c7i.large", "idle", None, AT, AT, 60.0, 30.0)
BUSY, STOPPING, SILENT = replace(WORD, state="busy"), replace(WORD, state="stopping"), replace(WORD, silent=91.0)
HELD = OpenRequest("r", "running", True, "i-1", 5.0, 1000.0, None, 1, waited=5.0)
SEAT = Seat("b", "i-1", ONE, "free", WORD)
NEVER_SEEN = "its trainer was not seen within 300 s"
FELL_SILENT = "its trainer has been silent for more than 90 s"
NOT_OURS = "it carries our tag but is not in the ledger"


def called(launches: list[Launch], instances: list[Instance], words: list[WorkerRecord], **more: Any) -> Roll:
    """Call the roll with 300 s to boot and 90 s to be silent."""
    known = {"requests": (), "strangers": {}, **more}
    patience = Patience(boot_seconds=300.0, silent_seconds=90.0)
    return call_the_roll(launches, instances, words, patience=patience, **known)


@pytest.mark.parametrize(
    ("launch", "words", "leases", "seat"),
    [
        (LAUNCHED, [], [], replace(SEAT, duty="booting", worker=None)),
        (replace(LAUNCHED, age=300.0), [], [], replace(SEAT, duty="booting", worker=None)),
        (replace(LAUNCHED, age=301.0), [], [], replace(SEAT, duty="quiet", worker=None, excess=NEVER_SEEN)),
        (LAUNCHED, [WORD], [], SEAT),
        (LAUNCHED, [replace(WORD, silent=30.1)], [], replace(SEAT, duty="quiet", worker=replace(WORD, silent=30.1))),
        (LAUNCHED, [BUSY], [], replace(SEAT, duty="busy", worker=BUSY)),
        (LAUNCHED, [STOPPING], [], replace(SEAT, duty="quiet", worker=STOPPING)),
        (LAUNCHED, [SILENT], [], replace(SEAT, duty="quiet", worker=SILENT, excess=FELL_SILENT)),
        (LAUNCHED, [SILENT], [HELD], replace(SEAT, duty="busy", worker=SILENT)),
        (LAUNCHED, [WORD], [replace(HELD, lease_live=False)], SEAT),
        (LAUNCHED, [WORD, SILENT], [], SEAT),
        (LAUNCHED, [replace(WORD, instance_id="i-2")], [], replace(SEAT, duty="booting", worker=None)),
    ],
)
def test_who_is_there(launch: Launch, words: list[WorkerRecord], leases: list[OpenRequest], seat: Seat) -> None:
    """An instance of the ledger is what its lease says, else its trainer's last word, else its age."""
    assert called([launch], [ALIVE], words, requests=leases) == Roll((seat,), ())


@pytest.mark.parametrize(
    ("launch", "listed", "seat"),
    [
        (ASKED, [], Seat("a", None, BOTH, "coming", spot=True)),
        (ASKED, [ALIVE], Seat("a", None, BOTH, "coming", spot=True)),
        (replace(ASKED, age=900.0), [], Seat("a", None, BOTH, "coming", spot=True)),
        (replace(ASKED, spec=replace(SPEC, spot=False)), [], Seat("a", None, BOTH, "coming")),
        (ASKED, [replace(ALIVE, launch_id="a")], Seat("a", "i-1", ONE, "booting")),
        (ASKED, [replace(ALIVE, launch_id="a", market="spot")], Seat("a", "i-1", ONE, "booting", spot=True)),
        (replace(LAUNCHED, age=10.0, market="spot"), [], Seat("b", None, BOTH, "coming", spot=True)),
        (replace(LAUNCHED, age=10.0, market="on-demand"), [], Seat("b", None, BOTH, "coming")),
        (LAUNCHED, [replace(ALIVE, state="pending")], Seat("b", "i-1", ONE, "booting")),
        (LAUNCHED, [replace(ALIVE, market="on-demand")], Seat("b", "i-1", ONE, "booting")),
        (replace(LAUNCHED, market="spot"), [ALIVE], Seat("b", "i-1", ONE, "booting", spot=True)),
    ],
)
def test_what_a_launch_becomes(launch: Launch, listed: list[Instance], seat: Seat) -> None:
    """It may become any of its types until its instance shows; its market is known from the ledger or from EC2."""
    roll = called([launch], listed, [])
    assert (roll.seats[0], roll.ended) == (seat, ())


@pytest.mark.parametrize(
    ("age", "listed", "reason"),
    [
        (60.0, [replace(ALIVE, state="terminated")], "EC2 calls it terminated"),
        (1.0, [replace(ALIVE, state="shutting-down")], "EC2 calls it shutting-down"),
        (10.1, [], "EC2 does not know it any more"),
    ],
)
def test_who_is_gone(age: float, listed: list[Instance], reason: str) -> None:
    """A launch whose instance has ended, or is missing for longer than EC2's list lags, is over."""
    assert called([replace(LAUNCHED, age=age)], listed, []) == Roll((), (("b", reason),))


@pytest.mark.parametrize(
    ("known", "words", "excess"),
    [({}, [], ""), ({"i-1": 300.0}, [WORD], ""), ({"i-1": 300.1}, [WORD], NOT_OURS), ({"i-2": 900.0}, [], "")],
)
def test_who_is_not_ours(known: dict[str, float], words: list[WorkerRecord], excess: str) -> None:
    """An instance outside of the ledger keeps its place for as long as a trainer may take to boot."""
    seat = Seat("b", "i-1", ONE, "stranger", words[0] if words else None, excess)
    assert called([], [ALIVE], words, strangers=known) == Roll((seat,), ())


def test_each_in_its_place() -> None:
    """Launches and instances are told apart: those of the ledger first, in its order, then strangers."""
    launches = [ASKED, LAUNCHED, replace(LAUNCHED, id="c", instance_id="i-3")]
    mine, other = replace(ALIVE, instance_id="i-2", launch_id="a"), replace(ALIVE, instance_id="i-4", launch_id="x")
    words = [replace(BUSY, instance_id="i-2"), WORD, replace(WORD, id="host:9", instance_id=None)]
    assert called(launches, [other, ALIVE, mine], words) == Roll(
        (
            Seat("a", "i-2", ONE, "busy", words[0]),
            SEAT,
            Seat("x", "i-4", ONE, "stranger"),
        ),
        (("c", "EC2 does not know it any more"),),
    )


@pytest.mark.parametrize(
    ("types", "firm", "spot", "suits"),
    [
        ((), False, True, True),
        ((), True, False, True),
        ((), True, True, False),
        (("c7i.large", "g5.xlarge"), False, True, True),
        (("g5.xlarge",), False, False, False),
        (("c7i.large",), True, True, False),
    ],
)
def test_whom_a_seat_suits(types: tuple[str, ...], firm: bool, spot: bool, suits: bool) -> None:
    """A request's types and its refusal of spot capacity decide; who names no type takes any."""
    assert replace(SEAT, spot=spot).suits(types, firm=firm) is suits
