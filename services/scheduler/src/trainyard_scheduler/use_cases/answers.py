"""Changes that are made once, however often they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard import strict_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.scheduling import Records, Store


@dataclass(frozen=True)
class By:
    """Who makes a change, for the audit log and the trace."""

    key_id: str
    trace_id: str


@dataclass(frozen=True)
class Outcome:
    """A status and the JSON value to answer with; ``repeat``: what a repeat gets instead, where that must differ."""

    status: int
    value: Any
    repeat: Any = None


def once(store: Store, post: Repeatable | None, change: Callable[[Records], Outcome]) -> tuple[int, bytes]:
    """Make a change in one transaction and return status and body of its answer.

    With ``post`` the answer is kept in the same transaction, and a repeat gets it without making the change again.
    """
    with store.begin() as records:
        given = None if post is None else records.answers.first(post)
        if given is not None:
            return given[0], given[1].encode()
        outcome = change(records)
        if post is not None:
            kept = outcome.value if outcome.repeat is None else outcome.repeat
            records.answers.keep(post, outcome.status, strict_json.dumps(kept).decode())
        return outcome.status, strict_json.dumps(outcome.value)
