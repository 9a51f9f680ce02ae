"""When a request's message must be sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainyard.contracts.requests import OpenRequest

#: Longest pause between two sends of a request that nobody takes.
MAX_RESEND_SECONDS = 3600.0
#: A queue tells when it was made in whole seconds: what was sent within one of them may have gone to the old one.
QUEUE_AGE_SLACK_SECONDS = 1.0


def resend_reason(request: OpenRequest, *, resend_seconds: float, queue_made_at: float | None) -> str | None:
    """Return why an open request's message must be sent again, None when it need not.

    Args:
        resend_seconds: first pause; it doubles with each send, up to :data:`MAX_RESEND_SECONDS`.
        queue_made_at: Unix time at which the queue turned out to have been made anew; None when it was not.
    """
    if request.lease_live:
        return None
    if request.sent_at is None or request.sent_ago is None:
        return "it was never sent"
    if queue_made_at is not None and request.sent_at < queue_made_at + QUEUE_AGE_SLACK_SECONDS:
        return "the queue was made anew since"
    if (
        request.lease_ended_ago is not None
        and request.state == "running"
        and request.lease_ended_ago < request.sent_ago
    ):
        return "its trainer's lease ran out"
    return "nobody took it" if request.sent_ago >= pause_seconds(request.send_count, resend_seconds) else None


def pause_seconds(send_count: int, resend_seconds: float) -> float:
    """Return how long after its last send a request that nobody takes is sent again."""
    return min(resend_seconds * 2.0 ** min(max(send_count - 1, 0), 30), MAX_RESEND_SECONDS)
