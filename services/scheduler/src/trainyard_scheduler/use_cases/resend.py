"""The reconciler: no open request is ever left without a message in the queue or a trainer that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.messages import TrainingRequest
from trainyard_scheduler.domain.resending import QUEUE_AGE_SLACK_SECONDS, resend_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.requests import OpenRequest
    from trainyard.contracts.scheduling import Records, Store

_log = logs.get(__name__)


class Reconciler:
    """Posts open requests to the outbox again when their message is lost, or may be.

    Args:
        resend_seconds: first pause after a send that nobody took; it doubles with each send, up to an hour.
        queue_made_at: Unix time at which the training queue was made. It changes when an emulator that forgets was
            restarted; then everything that was sent before is sent again, whoever made the queue anew.
    """

    def __init__(self, store: Store, *, resend_seconds: float, queue_made_at: Callable[[], float]) -> None:
        self._store = store
        self._resend_seconds = resend_seconds
        self._queue_made_at = queue_made_at
        self._seen_queue: float | None = None

    def step(self) -> int:
        """Look at every open request once; return how many were posted again.

        Raises:
            TransientError: the database or the queue service does not answer.
        """
        with self._store.begin() as records:
            if not records.requests.any_open():
                return 0
        made_at = self._queue_made_at()
        news = None if made_at == self._seen_queue else made_at
        with self._store.begin() as records:
            posted = self._post_again(records, news)
        self._seen_queue = made_at
        return posted

    def _post_again(self, records: Records, queue_made_at: float | None) -> int:
        """Post what was neglected, unless its message waits in the outbox already."""

        def neglected() -> list[OpenRequest]:
            return records.requests.neglected(
                silent_seconds=self._resend_seconds,
                sent_before=None if queue_made_at is None else queue_made_at + QUEUE_AGE_SLACK_SECONDS,
            )

        if not neglected():
            return 0
        waiting = {outgoing.body for outgoing in records.outbox.waiting("training")}
        posted = 0
        # Looked up again: what the relay sent since the first look waits no longer, and is not neglected either.
        for request in neglected():
            reason = resend_reason(request, resend_seconds=self._resend_seconds, queue_made_at=queue_made_at)
            message = TrainingRequest(request.id)
            if reason is not None and message.outgoing().body not in waiting:
                records.outbox.post("training", message)
                posted += 1
                _log.info("request.sent_again", request_id=request.id, reason=reason, sends=request.send_count)
        return posted
