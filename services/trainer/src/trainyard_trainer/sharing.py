"""The leader's side of a search that others may join: when they are invited, what they have told, when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from trainyard.contracts.runs import Lease, Trial
    from trainyard.contracts.searches import Invitation, Searches
    from trainyard.contracts.studies import Study
    from trainyard_trainer.lease import LeaseKeeper


class Sharing:
    """One search under one lease; its methods raise what :class:`~trainyard.contracts.searches.Searches` does.

    ``earlier``: numbers of the trials that the run began with. ``invitation`` is asked for when it is sent.
    """

    def __init__(
        self,
        searches: Searches,
        lease: Lease,
        keeper: LeaseKeeper,
        *,
        earlier: Collection[int],
        invitation: Callable[[], Invitation],
    ) -> None:
        self._searches = searches
        self._lease = lease
        self._keeper = keeper
        self._known = set(earlier)
        self._invitation = invitation
        self._invited = False
        self._begun = bool(earlier)

    def told(self, number: int) -> None:
        """Note that the leader has told a trial."""
        self._known.add(number)
        self._begun = True

    def invite(self) -> None:
        """Invite others, once, and not before the first trial is told: it is the prior, which the leader must have."""
        if self._begun and not self._invited:
            self._searches.invite(self._lease, self._invitation())
            self._invited = True

    def seated(self) -> Collection[str]:
        """Return who helps."""
        return self._searches.seated(self._lease) if self._invited else ()

    def news(self, study: Study) -> list[Trial]:
        """Return what others have told since this was asked last; it is put on record as well."""
        if not self._invited:
            return []
        found = [trial for trial in study.news() if trial.number not in self._known]
        for trial in found:
            self._known.add(trial.number)
            self._keeper.keep(trial)
        return found

    def over(self) -> None:
        """Send the others home."""
        if self._invited:
            self._searches.over(self._lease)
