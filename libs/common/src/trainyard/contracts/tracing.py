"""What led to what: how the records are asked for the steps from a request over HTTP to a logged prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

#: Most records of one kind that an answer shows.
MOST_SHOWN = 20
#: So many of a model's newest predictions are looked at for those of one version.
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Step:
    """One record on the way. ``id`` is what people call it by, ``facts`` what they want to know of it."""

    kind: str
    id: str
    at: datetime | None
    trace_id: str | None
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Heads:
    """The records that an id stands for."""

    batches: Sequence[Step] = ()
    requests: Sequence[Step] = ()
    predictions: Sequence[Step] = ()
    versions: Sequence[Step] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.batches or self.requests or self.predictions or self.versions)


class Tracing(Protocol):
    """The records, for whoever follows a trace; at most MOST_SHOWN of each kind, newest first unless said otherwise."""

    def heads(self, ident: str) -> Heads:
        """Return what has this id: a trace id, or that of a batch, request, run, prediction or ``model@version``."""
        ...

    def batches_of(self, request_id: str) -> list[Step]:
        """Return the batches whose rows are new in a request's snapshot; none where only rows of before are in it."""
        ...

    def requests_of(self, batch_id: str) -> list[Step]:
        """Return the first training request of each model whose snapshot has the batch."""
        ...

    def messages_of(self, step: Step) -> list[Step]:
        """Return the messages that told the queues about a batch or a request, while the outbox keeps them."""
        ...

    def runs_of(self, request_id: str) -> list[Step]:
        """Return the attempts to serve a request, oldest first."""
        ...

    def request_of_version(self, model: str, version: int) -> Step | None:
        """Return the request that a version came of; None for an imported version or an unknown one."""
        ...

    def version_of(self, run_id: str) -> Step | None:
        """Return the version that a run published."""
        ...

    def answered_by(self, model: str, version: int) -> Step | None:
        """Return how many of the model's newest predictions the version answered, None when none."""
        ...

    def feedback_of(self, prediction_id: str) -> list[Step]:
        """Return the labels that were given for a prediction."""
        ...
