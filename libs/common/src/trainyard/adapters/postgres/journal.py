"""What every change leaves behind, written in the change's own transaction: outbox, event, audit."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from trainyard.messages import Message

#: LISTEN on this channel to be woken by an event or a waiting outbox row; the payload is the event's kind.
CHANNEL = "trainyard"
_AUDIT_LOCK = 7_214_880_332
_GENESIS = bytes(32)


def post(connection: sa.Connection, queue: str, message: Message, *, delay_seconds: int = 0) -> None:
    """Put ``message`` into the outbox for ``queue`` ('training', 'arrived' or 'predictions').

    No reader sees it before ``delay_seconds`` (0 to 900) have passed since the queue took it.
    """
    outgoing = message.outgoing()
    connection.execute(
        sa.text(
            "WITH posted AS (INSERT INTO core.outbox (queue, type, body, delay_seconds)"
            " VALUES (:queue, :type, :body, :delay_seconds)) SELECT pg_notify(:channel, 'outbox')"
        ),
        {
            "queue": queue,
            "type": outgoing.type,
            "body": outgoing.body,
            "delay_seconds": delay_seconds,
            "channel": CHANNEL,
        },
    )


def announce(connection: sa.Connection, kind: str, subject: str, payload: dict[str, Any]) -> None:
    """Record an event (such as 'batch.committed' of subject 'dataset/flights') and wake listeners."""
    connection.execute(
        sa.text(
            "WITH told AS (INSERT INTO core.event (kind, subject, payload)"
            " VALUES (:kind, :subject, CAST(:payload AS jsonb))) SELECT pg_notify(:channel, :kind)"
        ),
        {"kind": kind, "subject": subject, "payload": json.dumps(payload), "channel": CHANNEL},
    )


def audit_hash(previous: bytes, entry: dict[str, Any]) -> bytes:
    """Return the chained hash of one audit entry (its JSON with sorted keys)."""
    canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(previous + canonical.encode()).digest()


def audit(connection: sa.Connection, *, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    """Append to the hash-chained audit log; writers queue up behind one advisory lock held to COMMIT."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _AUDIT_LOCK})
    # jsonb writes some numbers anew (-0.0, 1e22): what is hashed is what will be read, not what was given.
    at, kept, last_id, last_hash = connection.execute(
        sa.text(
            "SELECT clock_timestamp(), CAST(:details AS jsonb), a.id, a.hash FROM (VALUES (1)) AS one"
            " LEFT JOIN (SELECT id, hash FROM core.audit ORDER BY id DESC LIMIT 1) a ON true"
        ),
        {"details": json.dumps(details)},
    ).one()
    previous = _GENESIS if last_hash is None else bytes(last_hash)
    number = (last_id or 0) + 1
    entry = {
        "id": number,
        "at": at.isoformat(),
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": kept,
    }
    connection.execute(
        sa.text(
            "INSERT INTO core.audit (id, at, actor, action, subject, details, previous_hash, hash)"
            " VALUES (:id, :at, :actor, :action, :subject, CAST(:details AS jsonb), :previous, :hash)"
        ),
        {
            "id": number,
            "at": at,
            "actor": actor,
            "action": action,
            "subject": subject,
            "details": json.dumps(kept),
            "previous": previous,
            "hash": audit_hash(previous, entry),
        },
    )
