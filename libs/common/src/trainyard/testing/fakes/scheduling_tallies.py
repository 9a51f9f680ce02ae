"""The counts in memory."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trainyard.contracts.tallies import Tallies, Tally

if TYPE_CHECKING:
    from trainyard.testing.fakes.scheduling_state import State


class MemoryTallies(Tallies):
    """Counts the lists."""

    def __init__(self, state: State) -> None:
        self._state = state

    def tally(self) -> Tally:
        """Count."""
        now = self._state.clock.now()
        requests = [request.record for request in self._state.requests.values()]
        launches = Counter(launch.state for launch in self._state.launches.values())
        waits = [(now - request.created_at).total_seconds() for request in requests if request.state == "queued"]
        return Tally(
            requests=Counter(request.state for request in requests),
            request_oldest_seconds=max(waits, default=0.0),
            runs=Counter(run.state for run in self._state.runs),
            launches={state: launches[state] for state in ("asked", "launched") if launches[state]},
            outbox=Counter(message.queue for message in self._state.outbox if message.sent_at is None),
        )
