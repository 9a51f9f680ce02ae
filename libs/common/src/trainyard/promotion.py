"""Moving an alias, in one way for everybody: by hand, by rollback, by a trainer whose version passed the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trainyard.contracts.registry import CHAMPION, PREVIOUS
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

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
) -> AliasRecord:
    """Make ``alias`` point at ``version`` inside the caller's transaction, with everything that belongs to a move.

    When the champion moves, ``previous`` follows to where it stood. An alias that stands there already is left alone.

    Args:
        expected_seq: compare-and-set: the ``seq`` that the caller saw, 0 when it saw no such alias; None: any.

    Raises:
        ServiceError: ``conflict``: the alias has another ``seq``.
    """
    current = versions.alias(model_id, alias, lock=True)
    seq = 0 if current is None else current.seq
    if expected_seq is not None and expected_seq != seq:
        raise ServiceError(
            "conflict",
            f"alias {alias!r} of model {model!r} was moved meanwhile: its seq is {seq}, not {expected_seq};"
            " read it again and decide anew",
        )
    if current is not None and current.version == version:
        return current
    before = None if current is None else current.version
    if alias == CHAMPION and before is not None:
        _point(versions, model_id, PREVIOUS, before, actor=actor, reason=f"was {CHAMPION}: {reason}")
    moved = _point(versions, model_id, alias, version, actor=actor, reason=reason)
    subject = f"model/{model}/alias/{alias}"
    details = {"version": version, "previous_version": before, "seq": moved.seq, "reason": reason}
    journal.announce("alias.moved", subject, details)
    journal.audit(actor=actor, action="alias.move", subject=subject, details=details)
    return moved


def _point(versions: Versions, model_id: int, alias: str, version: int, *, actor: str, reason: str) -> AliasRecord:
    current = versions.alias(model_id, alias, lock=True)
    moved = versions.point(model_id, alias, version)
    before = None if current is None else current.version
    versions.deployed(model_id, moved, previous_version=before, removed=False, actor=actor, reason=reason)
    return moved
