"""The scheduler's decisions: when to train, what to send again, who is woken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trainyard.contracts.requests import OpenRequest
from trainyard_scheduler.domain.resending import resend_reason
from trainyard_scheduler.domain.triggers import Refused, Situation, evaluate
from trainyard_scheduler.domain.wakes import woken_by

QUIET = Situation(last_seq=0, used_seq=0, open_request=None, refused=None)
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
    ("situation", "fired", "reason"),
    [
        (QUIET, False, "not fired: 0 of 1,000 new rows"),
        (replace(QUIET, last_seq=812), False, "not fired: 812 of 1,000 new rows"),
        (replace(QUIET, last_seq=1000), True, "fired: 1,000 of 1,000 new rows"),
        (replace(QUIET, last_seq=5000, used_seq=4001), False, "not fired: 999 of 1,000 new rows"),
        (replace(QUIET, last_seq=5000, used_seq=4000), True, "fired: 1,000 of 1,000 new rows"),
        (
            replace(QUIET, last_seq=5000, open_request="r"),
            False,
            "not fired: a request is open already; 5,000 new rows wait",
        ),
        (
            replace(QUIET, last_seq=5000, refused=Refused("failed", 5000)),
            False,
            "not fired: the request for these rows was failed; waiting for newer rows",
        ),
        (replace(QUIET, last_seq=5001, refused=Refused("failed", 5000)), True, "fired: 5,001 of 1,000 new rows"),
    ],
)
def test_policy(situation: Situation, fired: bool, reason: str) -> None:
    """It fires at the threshold, counted from the last used row, never beside an open request, never twice in vain."""
    verdict = evaluate(1000, situation)
    assert (verdict.fired, verdict.reason) == (fired, reason)
    assert verdict.new_rows == situation.last_seq - situation.used_seq


def test_policy_by_hand() -> None:
    """Without a threshold nothing fires by itself."""
    assert not evaluate(None, replace(QUIET, last_seq=10**9)).fired


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
        (QUEUED, 998.0, None),
        (LOST, None, "its trainer's lease ran out"),
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
        ("alias.moved", ("publisher", "fleet")),
        ("key.revoked", ("publisher", "fleet")),
        ("version.published", ("publisher", "fleet")),
    ],
)
def test_wake_ups(kind: str, loops: tuple[str, ...]) -> None:
    """An event wakes whom it concerns; one that nobody knows wakes rather too many."""
    assert woken_by(kind) == loops
