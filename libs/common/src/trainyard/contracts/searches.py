"""Searches that several workers share: the lease's holder invites, idle workers take a seat and keep it.

The holder of the request's lease leads: it alone chooses, fits the finalists, tests and publishes. Others ask its study
for candidates and tell what came of them (:mod:`trainyard.contracts.studies`). An invitation stands in the run's row
and goes with the run, the lease, the wish to cancel, the budget of the search, or when the leader says that it is over.
A seat is a lease of its own, renewed by the clock of the database: whoever falls silent loses it, and the leader tries
the candidate again that was left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trainyard.contracts.runs import Lease

#: A request that this long has found nobody calls a worker away from the search in which it has a seat.
WAITED_SECONDS = 5.0


@dataclass(frozen=True)
class Invitation:
    """What the leader offers.

    Attributes:
        workers: how many others there is room for.
        seconds: what is left of the budget of its search.
        release: the leader's; candidates of another one may mean something else.
        snapshot: the hash of the rows that it read.
        screening: what it found about the columns (JSON): all have to learn from the same ones.
    """

    workers: int
    seconds: float
    release: str
    snapshot: str
    screening: Mapping[str, Any]


@dataclass(frozen=True)
class Seat:
    """A place in a search, with all that its holder needs to know; names as in :class:`trainyard.contracts.runs.Job`.

    ``id`` is of this sitting: who comes back gets another one. It gives no right to write anything about the request.
    ``invitation``: as it stands now, with the seconds that are left now.
    """

    id: str
    request_id: str
    run_id: str
    model: str
    dataset_id: int
    dataset: str
    label: str
    task: str
    upto_seq: int
    known_seq: int
    settings: Mapping[str, Any]
    invitation: Invitation


class Searches(Protocol):
    """Every method raises :class:`~trainyard.errors.TransientError` when the database does not answer."""

    # --- the leader ---

    def invite(self, lease: Lease, invitation: Invitation) -> None:
        """Offer seats in the run's search; a later invitation takes the place of an earlier one.

        Raises:
            LeaseLostError: the request is not held under this lease any more.
        """
        ...

    def over(self, lease: Lease) -> None:
        """Offer none any more, and end those that are taken; nothing happens where the lease is lost."""
        ...

    def seated(self, lease: Lease) -> Collection[str]:
        """Return the ids of the seats whose holders are there."""
        ...

    # --- the others ---

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
        """Take a seat, for so many seconds, in the most urgent search that has one for this worker; None: none has.

        It suits as a request does (:meth:`trainyard.contracts.runs.Runs.claim`), and is led by another worker of the
        same release. There is none while a request waits that calls those who help away (:meth:`stay`). ``but``: runs
        that this worker wants no part of. No search gets more workers than it has room for,
        however many come at once.
        """
        ...

    def stay(self, seat_id: str, *, seconds: float, instance_id: str | None, instance_type: str | None) -> str:
        """Keep the seat for so many seconds from now; return '', or why it must be left.

        It ends with the search, or because a request waits that suits this worker, for :data:`WAITED_SECONDS` already.
        """
        ...

    def leave(self, seat_id: str) -> None:
        """Give the seat up; nothing happens when it is gone."""
        ...
