"""What every place where searches are shared must do. The class needs the fixture ``desk``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from trainyard.contracts.runs import LeaseLostError
from trainyard.contracts.searches import Invitation
from trainyard.testing.contracts.runs import claim, claimed

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.runs import Lease
    from trainyard.contracts.searches import Searches, Seat
    from trainyard.testing.contracts.runs import RunsDesk

INVITATION = Invitation(1, 60.0, "1.0", "ab" * 32, {"left_out": []})
_SECONDS = 30.0


class SearchesDesk(Protocol):
    """The searches under test, the requests that they belong to, and the hands of time."""

    runs: RunsDesk
    searches: Searches

    def empty(self, seat_id: str) -> None:
        """Let the seat run out."""
        ...

    def age(self, request_id: str) -> None:
        """Let the request have waited for a minute."""
        ...


def join(desk: SearchesDesk, worker: str = "h:2", **place: Any) -> Seat | None:
    """Ask for a seat."""
    where = {"instance_id": None, "instance_type": None, "release": "1.0", "seconds": _SECONDS, **place}
    return desk.searches.join(worker=worker, **where)


def stay(desk: SearchesDesk, seat: Seat) -> str:
    """Keep a seat; return why it must be left."""
    return desk.searches.stay(seat.id, seconds=_SECONDS, instance_id=None, instance_type=None)


def led(desk: SearchesDesk, invitation: Invitation = INVITATION, **request: Any) -> Lease:
    """Return the lease of a run that invites."""
    lease = claimed(desk.runs, desk.runs.request(**request)).lease
    desk.searches.invite(lease, invitation)
    return lease


def seated(desk: SearchesDesk, worker: str = "h:2") -> Seat:
    """Take a seat, and have it."""
    seat = join(desk, worker)
    assert seat is not None
    return seat


class SearchesContract:
    """Invitations, seats, and their ends."""

    def test_nobody_joins_uninvited(self, desk: SearchesDesk) -> None:
        """A run that invites nobody has no seat, nor has a request that waits."""
        desk.runs.request()
        claimed(desk.runs, desk.runs.request("other"))
        assert join(desk) is None

    def test_a_seat_has_all_that_its_holder_needs(self, desk: SearchesDesk) -> None:
        """Where the rows are and what is sought in them, as the leader knows it, and the seconds that are left."""
        request_id = desk.runs.request(upto_seq=70)
        job = claimed(desk.runs, request_id)
        desk.searches.invite(job.lease, INVITATION)
        seat = seated(desk)
        assert (seat.request_id, seat.run_id) == (request_id, job.lease.run_id)
        assert (seat.model, seat.dataset_id, seat.dataset) == (job.model, job.dataset_id, job.dataset)
        assert (seat.label, seat.task, seat.upto_seq) == (job.label, job.task, 70)
        assert (seat.known_seq, seat.settings) == (job.known_seq, job.settings)
        assert 0 < seat.invitation.seconds <= INVITATION.seconds
        assert replace(seat.invitation, seconds=60.0) == INVITATION
        assert desk.searches.seated(job.lease) == {seat.id}
        assert stay(desk, seat) == ""

    def test_there_are_as_many_seats_as_were_offered(self, desk: SearchesDesk) -> None:
        """However many come at once; one that is given up, or whose holder fell silent, is free again."""
        lease = led(desk, replace(INVITATION, workers=2))
        with ThreadPoolExecutor(6) as pool:
            first = list(pool.map(lambda n: join(desk, f"h:{n + 2}"), range(6)))
        seats = [seat for seat in first if seat is not None]
        while len(seats) < 2:  # who came at the same moment as another comes again
            seats.append(seated(desk, f"late:{len(seats)}"))
        assert len(seats) == 2
        assert desk.searches.seated(lease) == {seat.id for seat in seats}
        assert join(desk, "h:9") is None
        desk.searches.leave(seats[0].id)
        desk.searches.leave(seats[0].id)
        third = seated(desk, "h:9")
        desk.empty(seats[1].id)
        fourth = seated(desk, "h:10")
        assert desk.searches.seated(lease) == {third.id, fourth.id}
        assert stay(desk, seats[0]) != ""
        assert stay(desk, seats[1]) != ""

    def test_whom_a_search_does_not_suit(self, desk: SearchesDesk) -> None:
        """Its own leader, another release, other machines, and who wants no part of it."""
        lease = led(desk, instance_types=("c7i.large",))
        assert join(desk, "w:1") is None
        assert join(desk, release="1.1") is None
        assert join(desk, instance_type="g5.xlarge") is None
        assert join(desk, but=[lease.run_id]) is None
        assert join(desk, instance_type="c7i.large") is not None

    def test_the_most_urgent_search_comes_first(self, desk: SearchesDesk) -> None:
        """As with requests."""
        led(desk, model="a")
        urgent = led(desk, model="b", priority=5)
        assert seated(desk).run_id == urgent.run_id

    def test_a_seat_ends_with_the_search(self, desk: SearchesDesk) -> None:
        """When the leader says so; and nobody comes after that."""
        lease = led(desk)
        seat = seated(desk)
        desk.searches.over(lease)
        assert stay(desk, seat) != ""
        assert join(desk, "h:3") is None

    def test_a_seat_ends_with_the_budget(self, desk: SearchesDesk) -> None:
        """An invitation without any time left is none."""
        lease = led(desk)
        seat = seated(desk)
        desk.searches.invite(lease, replace(INVITATION, seconds=0.0))
        assert stay(desk, seat) != ""
        assert join(desk, "h:3") is None

    def test_a_seat_ends_with_the_run(self, desk: SearchesDesk) -> None:
        """However that ends."""
        ends: dict[str, Callable[[Lease], None]] = {
            "a": lambda lease: desk.runs.runs.fail(lease, error_class="data", error="no"),
            "b": lambda lease: desk.runs.runs.release(lease, reason="spot notice"),
            "c": lambda lease: desk.runs.ask_to_cancel(lease.request_id),
            "d": lambda lease: desk.runs.expire(lease.request_id),
        }
        for model, end in ends.items():
            lease = led(desk, model=model)
            seat = seated(desk)
            assert stay(desk, seat) == "", model
            end(lease)
            assert stay(desk, seat) != "", model
            assert join(desk, "h:3") is None, model

    def test_who_takes_over_invites_anew(self, desk: SearchesDesk) -> None:
        """The seats of the run that was lost are none of the new one's, and a leader that wakes up is refused."""
        zombie = led(desk)
        old = seated(desk)
        desk.runs.expire(zombie.request_id)
        lease = claimed(desk.runs, zombie.request_id).lease
        assert desk.searches.seated(lease) == set()
        assert join(desk, "h:3") is None
        with pytest.raises(LeaseLostError):
            desk.searches.invite(zombie, INVITATION)
        desk.searches.invite(lease, INVITATION)
        desk.searches.over(zombie)
        seat = seated(desk)
        assert desk.searches.seated(lease) == {seat.id}
        assert stay(desk, old) != ""

    def test_a_request_that_waits_calls_away(self, desk: SearchesDesk) -> None:
        """Not at once: who is idle has it in a moment. And nobody sits down while it waits."""
        led(desk)
        seat = seated(desk)
        waiting = desk.runs.request("other")
        assert stay(desk, seat) == ""
        desk.age(waiting)
        assert stay(desk, seat) == "a request waits"
        desk.searches.leave(seat.id)
        assert join(desk) is None
        assert claim(desk.runs, waiting).outcome == "claimed"
        assert stay(desk, seated(desk)) == ""
