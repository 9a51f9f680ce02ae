"""The scheduler's decisions: what to send again, who is woken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainyard.contracts.requests import OpenRequest
from trainyard_scheduler.domain.resending import resend_reason
from trainyard_scheduler.domain.wakes import woken_by

QUEUED = OpenRequest(
    id="r",
    state="queued",
    lease_live=False,
    instance_id=None,
    sent_ago=5.0,
    sent_at=1000.0,
    lease_ended_ago=None,
    send_count=1,
)
LOST = replace(QUEUED, state="running", lease_ended_ago=1.0, sent_ago=50.0)
HELD = replace(QUEUED, state="running", lease_live=True, instance_id="i-1", lease_ended_ago=-30.0)


@pytest.mark.parametrize(
    ("request_", "queue_made_at", "reason"),
    [
        (QUEUED, None, None),
        (HELD, 2000.0, None),
        (replace(QUEUED, sent_ago=60.0), None, "nobody took it"),
        (replace(QUEUED, sent_ago=60.0, send_count=2), None, None),
        (replace(QUEUED, sent_ago=120.0, send_count=2), None, "nobody took it"),
        (replace(QUEUED, sent_ago=3599.0, send_count=99), None, None),
        (replace(QUEUED, sent_ago=3600.0, send_count=99), None, "nobody took it"),
        (replace(QUEUED, sent_ago=None, sent_at=None), None, "it was never sent"),
        (QUEUED, 1000.0, "the queue was made anew since"),
        (QUEUED, 999.1, "the queue was made anew since"),
        (QUEUED, 999.0, None),
        (LOST, None, "its trainer's lease ran out"),
        (replace(LOST, sent_ago=1.0), None, None),
        (replace(LOST, sent_ago=0.5), None, None),
    ],
)
def test_resend(request_: OpenRequest, queue_made_at: float | None, reason: str | None) -> None:
    """What nobody holds is sent again: at once after a lost lease or queue, else after 60, 120 ... 3600 s."""
    assert resend_reason(request_, resend_seconds=60.0, queue_made_at=queue_made_at) == reason


@pytest.mark.parametrize(
    ("kind", "loops"),
    [
        ("outbox", ("relay",)),
        ("batch.committed", ()),
        ("request.created", ("fleet",)),
        ("alias.moved", ("publisher", "copies", "fleet")),
        ("key.revoked", ("publisher", "fleet")),
        ("version.published", ("publisher", "copies", "fleet")),
    ],
)
def test_wake_ups(kind: str, loops: tuple[str, ...]) -> None:
    """An event wakes whom it concerns; one that nobody knows wakes rather too many."""
    assert woken_by(kind) == loops
