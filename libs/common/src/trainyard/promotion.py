"""Moving an alias, in one way for everybody: by hand, by rollback, by a trainer whose version passed the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from trainyard.contracts.registry import CHALLENGER, CHAMPION, PREVIOUS, SHADOW
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.registry import AliasRecord, Versions


class ChangeLog(Protocol):
    """The part of the journal that a move needs."""

    def announce(self, kind: str, subject: str, payload: Mapping[str, Any]) -> None:
        """Record an event."""
        ...

    def audit(self, *, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Append to the audit log."""
        ...


def move_alias(
    versions: Versions,
    journal: ChangeLog,
    *,
    model_id: int,
    model: str,
    alias: str,
    version: int,
    actor: str,
    reason: str,
    expected_seq: int | None = None,
    weight: float | None = None,
) -> AliasRecord:
    """Make ``alias`` point at ``version`` inside the caller's transaction, with everything that belongs to a move.

    When the champion moves, ``previous`` follows to where it stood. An alias that stands there already is left alone.

    Args:
        weight: 0 to 1, of a challenger or a shadow only; None: as it is when the alias stands there already, else
            nothing for a challenger, which gets requests only when it is told so, and 1 for every other alias.
        expected_seq: compare-and-set: the ``seq`` that the caller saw, 0 when it saw no such alias; None: any.

    Raises:
        ServiceError: ``conflict``: the alias has another ``seq``; ``bad_request``: the alias takes no such weight.
    """
    if weight is not None and not (alias in (CHALLENGER, SHADOW) and 0 <= weight <= 1):
        raise ServiceError("bad_request", "a weight is a number from 0 to 1, of the aliases challenger and shadow only")
    current = versions.alias(model_id, alias, lock=True)
    seq = 0 if current is None else current.seq
    if expected_seq is not None and expected_seq != seq:
        raise ServiceError(
            "conflict",
            f"alias {alias!r} of model {model!r} was moved meanwhile: its seq is {seq}, not {expected_seq};"
            " read it again and decide anew",
        )
    if current is not None and current.version == version and weight in (None, current.weight):
        return current
    share = (0.0 if alias == CHALLENGER else 1.0) if weight is None else weight
    before = None if current is None else current.version
    if alias == CHAMPION and before is not None:
        _point(versions, model_id, PREVIOUS, before, weight=1.0, actor=actor, reason=f"was {CHAMPION}: {reason}")
    moved = _point(versions, model_id, alias, version, weight=share, actor=actor, reason=reason)
    subject = f"model/{model}/alias/{alias}"
    details: dict[str, Any] = {"version": version, "previous_version": before, "seq": moved.seq, "reason": reason}
    if alias in (CHALLENGER, SHADOW):
        details["weight"] = moved.weight
    journal.announce("alias.moved", subject, details)
    journal.audit(actor=actor, action="alias.move", subject=subject, details=details)
    return moved


def _point(
    versions: Versions, model_id: int, alias: str, version: int, *, weight: float, actor: str, reason: str
) -> AliasRecord:
    current = versions.alias(model_id, alias, lock=True)
    moved = versions.point(model_id, alias, version, weight=weight)
    before = None if current is None else current.version
    versions.deployed(model_id, moved, previous_version=before, removed=False, actor=actor, reason=reason)
    return moved
