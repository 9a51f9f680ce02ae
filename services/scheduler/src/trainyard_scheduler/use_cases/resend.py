"""The reconciler: no open request is ever left without a message in the queue or a trainer that holds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.messages import TrainingRequest
from trainyard_scheduler.domain.resending import resend_reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.scheduling import Store

_log = logs.get(__name__)


class Reconciler:
    """Posts open requests to the outbox again when their message is lost, or may be.

    Args:
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
            idle = not records.requests.open_requests()
        if idle:
            return 0
        made_at = self._queue_made_at()
        news = None if made_at == self._seen_queue else made_at
        posted = 0
        with self._store.begin() as records:
            waiting = {outgoing.body for outgoing in records.outbox.waiting("training")}
            for request in records.requests.open_requests():
                reason = resend_reason(request, resend_seconds=self._resend_seconds, queue_made_at=news)
                message = TrainingRequest(request.id)
                if reason is not None and message.outgoing().body not in waiting:
                    records.outbox.post("training", message)
                    posted += 1
                    _log.info("request.sent_again", request=request.id, reason=reason, sends=request.send_count)
        self._seen_queue = made_at
        return posted
