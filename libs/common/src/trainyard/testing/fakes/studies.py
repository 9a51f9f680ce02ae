"""Studies in memory: what was planned in its order, then values drawn at random."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trainyard.contracts.studies import Proposal, Range, Studies, Study, StudyGoneError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.runs import Trial
    from trainyard.contracts.studies import Choice, Planned, Space


@dataclass
class MemoryRecord:
    """What is kept of one study; None in ``told`` is a trial that was skipped."""

    planned: list[Planned] = field(default_factory=list)
    asked: dict[int, Proposal] = field(default_factory=dict)
    told: dict[int, Trial | None] = field(default_factory=dict)
    gone: bool = False


class MemoryStudies(Studies):
    """``records`` holds them by name; ``outage`` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.records: dict[str, MemoryRecord] = {}
        self.outage: Exception | None = None

    def finished(self, name: str) -> list[Trial]:
        """Look it up."""
        self.check()
        record = self.records.get(name, MemoryRecord())
        return [trial for _, trial in sorted(record.told.items()) if trial is not None]

    def join(self, name: str, *, seed: int, metric: str) -> Study:  # noqa: ARG002 - what it draws learns from nothing
        """Make it, or have it."""
        self.check()
        return MemoryStudy(self, self.records.setdefault(name, MemoryRecord()), seed)

    def end(self, request_id: str) -> None:
        """Remove the studies of a request, as the database does when it ends."""
        for name in [name for name in self.records if name.startswith(f"{request_id}/")]:
            self.records.pop(name).gone = True

    def check(self) -> None:
        """Fail, if it has to."""
        if self.outage is not None:
            raise self.outage


class MemoryStudy(Study):
    """One study of a :class:`MemoryStudies`."""

    def __init__(self, studies: MemoryStudies, record: MemoryRecord, seed: int) -> None:
        self._studies = studies
        self._record = record
        self._seed = seed
        self._space: Space = {}

    def plan(self, planned: Sequence[Planned], space: Space) -> None:
        """Keep the plan."""
        self._check()
        self._space = space
        self._record.planned += planned[len(self._record.planned) :]

    def ask(self) -> Proposal:
        """Return what waits for its end, or the next one."""
        self._check()
        asked, told = self._record.asked, self._record.told
        waiting = next((proposal for number, proposal in asked.items() if number not in told), None)
        if waiting is not None:
            return waiting
        number = len(asked) + 1
        if number <= len(self._record.planned):
            planned = self._record.planned[number - 1]
            proposal = Proposal(number, planned.kind, planned.params)
        else:
            rng = random.Random(f"{self._seed}/{number}")  # noqa: S311 - no secret
            method = self._space[rng.choice(sorted(self._space))]
            params = {name: _drawn(how, rng) for name, how in method.params.items()}
            proposal = Proposal(number, method.kind, params)
        asked[number] = proposal
        return proposal

    def tell(self, trial: Trial) -> None:
        """Keep the trial."""
        self._check()
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
