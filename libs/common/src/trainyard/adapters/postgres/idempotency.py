"""Answers of POSTs that carried an Idempotency-Key, kept in the transaction of their effect."""

from __future__ import annotations

import sqlalchemy as sa

from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import ServiceError

__all__ = ["Repeatable", "store_answer", "stored_answer"]


def stored_answer(connection: sa.Connection, post: Repeatable) -> tuple[int, str] | None:
    """Return status and body of the first answer, or None; concurrent twins wait here for each other's COMMIT.

    Raises:
        ServiceError: ``key_reused``: the key came before with another body.
    """
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:text, 0))"),
        {"text": f"{post.route}\n{post.key_id}\n{post.key}"},
    )
    row = connection.execute(
        sa.text(
            "SELECT body_sha256, status, response FROM core.idempotency"
            " WHERE route = :route AND key_id = :key_id AND key = :key"
        ),
        {"route": post.route, "key_id": post.key_id, "key": post.key},
    ).one_or_none()
    if row is None:
        return None
    if row.body_sha256 != post.body_sha256:
        raise ServiceError("key_reused", "this Idempotency-Key was used before with another body")
    return row.status, row.response


def store_answer(connection: sa.Connection, post: Repeatable, status: int, response: str) -> None:
    """Keep the answer; call it in the transaction of the effect."""
    connection.execute(
        sa.text(
            "INSERT INTO core.idempotency (route, key_id, key, body_sha256, status, response)"
            " VALUES (:route, :key_id, :key, :body_sha256, :status, :response)"
        ),
        {
            "route": post.route,
            "key_id": post.key_id,
            "key": post.key,
            "body_sha256": post.body_sha256,
            "status": status,
            "response": response,
        },
    )
