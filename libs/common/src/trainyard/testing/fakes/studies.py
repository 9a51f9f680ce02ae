"""Studies in memory: what was planned in its order, then values drawn at random."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.contracts.studies import Proposal, Range, Studies, Study, StudyGoneError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from trainyard.contracts.runs import Trial
    from trainyard.contracts.studies import Choice, Planned, Space


@dataclass
class MemoryRecord:
    """What is kept of one study; None in ``told`` is a trial that was skipped. ``seats``: who helps, by trial."""

    planned: list[Planned] = field(default_factory=list)
    asked: dict[int, Proposal] = field(default_factory=dict)
    told: dict[int, Trial | None] = field(default_factory=dict)
    seats: dict[int, str] = field(default_factory=dict)
    space: Space = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    gone: bool = False


class MemoryStudies(Studies):
    """``records`` holds them by name; ``outage`` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.records: dict[str, MemoryRecord] = {}
        self.ended: set[str] = set()
        self.outage: Exception | None = None

    def finished(self, name: str) -> list[Trial]:
        """Look it up."""
        self.check()
        record = self.records.get(name, MemoryRecord())
        return [trial for _, trial in sorted(record.told.items()) if trial is not None]

    def join(
        self,
        name: str,
        *,
        seed: int,
        metric: str,  # noqa: ARG002 - what it draws learns from nothing
        seated: Callable[[], Collection[str]] | None = None,
    ) -> Study:
        """Make it, or have it."""
        self.check()
        if name.partition("/")[0] in self.ended:
            raise StudyGoneError("the study's request has ended")
        return MemoryStudy(self, self.records.setdefault(name, MemoryRecord()), seed, seated=seated)

    def help(self, name: str, *, seed: int, metric: str, seat: str) -> Study:  # noqa: ARG002 - as above
        """Have it."""
        self.check()
        if name not in self.records:
            raise StudyGoneError("there is no such study")
        return MemoryStudy(self, self.records[name], seed, seat=seat)

    def end(self, request_id: str) -> None:
        """Remove the studies of a request, as the database does when it ends."""
        self.ended.add(request_id)
        for name in [name for name in self.records if name.startswith(f"{request_id}/")]:
            self.records.pop(name).gone = True

    def check(self) -> None:
        """Fail, if it has to."""
        if self.outage is not None:
            raise self.outage


class MemoryStudy(Study):
    """One study of a :class:`MemoryStudies`."""

    def __init__(
        self,
        studies: MemoryStudies,
        record: MemoryRecord,
        seed: int,
        *,
        seated: Callable[[], Collection[str]] | None = None,
        seat: str | None = None,
    ) -> None:
        self._studies = studies
        self._record = record
        self._seed = seed
        self._seated = seated
        self._seat = seat
        self._known: set[int] = set()

    def plan(self, planned: Sequence[Planned], space: Space) -> None:
        """Keep the plan."""
        self._check()
        self._record.space = space
        if self._seat is None:
            self._record.planned += planned[len(self._record.planned) :]

    def ask(self) -> Proposal:
        """Return what waits for its end, or the next one."""
        self._check()
        with self._record.lock:
            return self._left() or self._next()

    def _left(self) -> Proposal | None:
        """Return what was begun and never told: by us, or for who leads by anybody who is not there any more."""
        seated = self._seated() if self._seated is not None else ()
        for number, proposal in self._record.asked.items():
            seat = self._record.seats.get(number)
            if number not in self._record.told and (seat == self._seat or (self._seat is None and seat not in seated)):
                return proposal
        return None

    def _next(self) -> Proposal:
        record = self._record
        number = len(record.asked) + 1
        if number <= len(record.planned):
            planned = record.planned[number - 1]
            proposal = Proposal(number, planned.kind, planned.params)
        else:
            rng = random.Random(f"{self._seed}/{number}")  # noqa: S311 - no secret
            method = record.space[rng.choice(sorted(record.space))]
            params = {name: _drawn(how, rng) for name, how in method.params.items()}
            proposal = Proposal(number, method.kind, params)
        record.asked[number] = proposal
        if self._seat is not None:
            record.seats[number] = self._seat
        return proposal

    def news(self) -> list[Trial]:
        """Return what is new here."""
        self._check()
        told = sorted(self._record.told.items())
        found = [trial for number, trial in told if trial is not None and number not in self._known]
        self._known |= {trial.number for trial in found}
        return found

    def tell(self, trial: Trial) -> None:
        """Keep the trial."""
        self._check()
        self._known.add(trial.number)
        self._record.told.setdefault(trial.number, trial)

    def skip(self, number: int) -> None:
        """Note that there is nothing to keep."""
        self._check()
        self._record.told.setdefault(number, None)

    def _check(self) -> None:
        self._studies.check()
        if self._record.gone:
            raise StudyGoneError("the study was removed: its request has ended")


def _drawn(how: Range | Choice, rng: random.Random) -> Any:
    if not isinstance(how, Range):
        return rng.choice(list(how.options))
    low, high = (math.log(how.low), math.log(how.high)) if how.log else (how.low, how.high)
    value = rng.uniform(low, high)
    value = min(max(math.exp(value) if how.log else value, how.low), how.high)
    return round(value) if how.whole else value
