"""Versions and aliases by hand: promotion, removal, rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.alias_object import is_name
from trainyard.contracts.registry import CHAMPION, PENDING_APPROVAL, PREVIOUS
from trainyard.errors import ServiceError
from trainyard.promotion import move_alias
from trainyard_scheduler.use_cases.models import model_called

if TYPE_CHECKING:
    from trainyard.contracts.registry import AliasRecord, ModelRecord, VersionRecord
    from trainyard.contracts.scheduling import Records
    from trainyard_scheduler.use_cases.answers import By


def version_of(records: Records, model: ModelRecord, number: int) -> VersionRecord:
    """Return the version.

    Raises:
        ServiceError: ``unknown_version``.
    """
    found = records.versions.version(model.id, number) if 0 < number < 2**31 else None
    if found is None:
        raise ServiceError("unknown_version", f"model {model.name!r} has no version {number}")
    return found


def _servable(version: VersionRecord) -> None:
    if version.lost_at is not None:
        raise ServiceError(
            "conflict",
            f"the artifact of version {version.version} was lost by the object store on {version.lost_at:%Y-%m-%d}, and"
            " there was no copy of it; put the object back, or train again",
        )


def alias_of(records: Records, model: ModelRecord, name: str, *, lock: bool = False) -> AliasRecord:
    """Return the alias.

    Raises:
        ServiceError: ``unknown_alias``.
    """
    found = records.versions.alias(model.id, name, lock=lock) if is_name(name) else None
    if found is None:
        raise ServiceError("unknown_alias", f"model {model.name!r} has no alias {name[:80]!r}")
    return found


def set_alias(
    records: Records,
    model_name: str,
    alias: str,
    version: int,
    *,
    expected_seq: int | None,
    reason: str,
    by: By,
    weight: float | None = None,
) -> AliasRecord:
    """Point the alias at a version, as compare-and-set when ``expected_seq`` is given; ``weight`` as in ``move_alias``.

    Raises:
        ServiceError: ``unknown_model``, ``unknown_version``, ``bad_request`` for a bad name or weight, or ``conflict``.
    """
    if not is_name(alias):
        raise ServiceError("bad_request", "an alias is a lower-case letter, then letters, digits or _, at most 48")
    model = model_called(records, model_name, lock=True)
    _servable(version_of(records, model, version))
    return move_alias(
        records.versions,
        records.journal,
        model_id=model.id,
        model=model.name,
        alias=alias,
        version=version,
        actor=by.key_id,
        reason=reason if weight is None else f"{100 * weight:g} % of the requests: {reason}",
        expected_seq=expected_seq,
        weight=weight,
    )


def remove_alias(records: Records, model_name: str, alias: str, by: By) -> None:
    """Remove the alias; without ``champion`` the model answers no predictions.

    Raises:
        ServiceError: ``unknown_model`` or ``unknown_alias``.
    """
    model = model_called(records, model_name, lock=True)
    current = alias_of(records, model, alias, lock=True)
    records.versions.remove_alias(model.id, alias)
    records.versions.deployed(
        model.id, current, previous_version=current.version, removed=True, actor=by.key_id, reason="removed"
    )
    subject = f"model/{model.name}/alias/{alias}"
    details = {"version": current.version, "seq": current.seq}
    records.journal.announce("alias.removed", subject, details)
    records.journal.audit(actor=by.key_id, action="alias.remove", subject=subject, details=details)


def roll_back(
    records: Records, model_name: str, reason: str, by: By, *, expected_seq: int | None = None
) -> AliasRecord:
    """Move the champion back to ``previous``, which then points at the one that was left.

    A second rollback undoes the first, so whoever decides on what they saw gives its ``expected_seq``.

    Raises:
        ServiceError: ``unknown_model``, ``no_model`` without a champion, ``conflict`` without a previous version, or
            when the champion's ``seq`` is not ``expected_seq``.
    """
    model = model_called(records, model_name, lock=True)
    champion = records.versions.alias(model.id, CHAMPION, lock=True)
    if champion is None:
        raise ServiceError("no_model", f"model {model.name!r} has no champion to roll back from")
    previous = records.versions.alias(model.id, PREVIOUS, lock=True)
    if previous is None or previous.version == champion.version:
        raise ServiceError("conflict", f"model {model.name!r} has no previous version to roll back to")
    return move_alias(
        records.versions,
        records.journal,
        model_id=model.id,
        model=model.name,
        alias=CHAMPION,
        version=previous.version,
        actor=by.key_id,
        reason=f"rollback: {reason}" if reason else "rollback",
        expected_seq=expected_seq,
    )


def decide(records: Records, model_name: str, number: int, *, approve: bool, reason: str, by: By) -> VersionRecord:
    """Approve or reject a version that waits for a person; approved, it becomes champion.

    Raises:
        ServiceError: ``unknown_model``, ``unknown_version``; ``conflict``: it does not wait, or it is approved
            and the champion is no longer the one that it was judged against.
    """
    model = model_called(records, model_name, lock=True)
    version = version_of(records, model, number)
    words = reason or ("approved" if approve else "rejected")
    if version.approval is None or version.approval.state != PENDING_APPROVAL:
        state = "never waited" if version.approval is None else f"is {version.approval.state} already"
        raise ServiceError("conflict", f"version {number} of {model.name!r} {state}: there is nothing to decide")
    seq, champion = version.approval.champion_seq, records.versions.alias(model.id, CHAMPION, lock=True)
    if approve and seq != (0 if champion is None else champion.seq):
        raise ServiceError(
            "conflict",
            f"version {number} of {model.name!r} was judged against another champion than the one of now: train again"
            f" (trainyard train {model.name}), make it champion all the same (trainyard promote {model.name} {number}),"
            " or reject it",
        )
    if not records.versions.decide(model.id, number, approve=approve, actor=by.key_id, reason=words):
        raise RuntimeError(f"version {number} was decided under the lock of its model")
    subject = f"model/{model.name}/version/{number}"
    details = {"version": number, "approved": approve, "reason": words, "champion_seq": seq}
    records.journal.announce("version.decided", subject, details)
    records.journal.audit(
        actor=by.key_id, action="version.approve" if approve else "version.reject", subject=subject, details=details
    )
    if approve:
        move_alias(
            records.versions,
            records.journal,
            model_id=model.id,
            model=model.name,
            alias=CHAMPION,
            version=number,
            actor=by.key_id,
            reason=f"approved: {words}"[:500] if reason else words,
            expected_seq=seq,
        )
    return version_of(records, model, number)
