"""The predictor as a Lambda function: one event in, what Lambda takes for an answer out.

Nothing runs between two events: the environment is frozen. What a process does on timers is therefore done here beside
the events, and before one when the last time is too long ago.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard import logs, strict_json
from trainyard.errors import TrainyardError
from trainyard_predictor import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard_predictor.edges.freshness import Freshness
    from trainyard_predictor.handler import Handler
    from trainyard_predictor.snapshot import Snapshot

_log = logs.get(__name__)


class Function:
    """Answers events. HTTP events and direct ones go through ``handler``; S3 events are a hint to look for news.

    ``snapshot`` makes what Lambda's runtime hooks call.
    """

    def __init__(self, handler: Handler, freshness: Freshness, snapshot: Callable[[], Snapshot]) -> None:
        self.snapshot = snapshot
        self._handler = handler
        self._freshness = freshness
        self._answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "http": lambda event: self._ask(events.http_request(event)),
            "direct": lambda event: self._ask(events.direct_request(event, events.INVOKER)),
            "sqs": self._messages,
            "s3": self._hint,
            "nothing": lambda _: None,
        }

    def handle(self, event: Any) -> Any:
        """Return the answer to an event.

        Raises:
            ForeignEventError: the event is none that this function knows; Lambda reports it to the caller.
        """
        if not isinstance(event, dict):
            raise events.ForeignEventError(f"an event is an object, not {type(event).__name__}")
        answer = self._answers[events.source(event)]
        self._freshness.before_event()
        return answer(event)

    def _ask(self, request: Any) -> dict[str, Any]:
        return events.http_answer(self._handler.handle(request))

    def _messages(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return the messages that failed: the queue gives them again, and everything else is settled.

        A first-in-first-out queue keeps its order only if nothing behind a failure is settled.
        """
        failed: list[str] = []
        for record in event["Records"]:
            in_order = str(record.get("eventSourceARN", "")).endswith(".fifo")
            if (failed and in_order) or not self._message(record):
                failed.append(str(record.get("messageId", "")))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _message(self, record: Mapping[str, Any]) -> bool:
        """Do what one message asks; return whether it is settled.

        A message comes more than once. Its id stands for the Idempotency-Key that it has not, so the prediction log
        keeps the first answer alone.
        """
        message_id = str(record.get("messageId", ""))
        try:
            event = strict_json.loads(str(record.get("body", "")).encode("utf-8", "surrogatepass"))
            kind = events.source(event) if isinstance(event, dict) else "no object"
            if kind in {"s3", "nothing"}:
                self._answers[kind](event)
                return True
            if kind != "direct":
                raise events.ForeignEventError(f"a message asks for one thing directly, or tells of S3; this is {kind}")
            request = events.direct_request(event, events.SENDER, idempotency_key=message_id or None)
        except TrainyardError as e:  # nobody will ever answer it: the queue buries it after its last attempt
            _log.error("message.refused", error=e, message=message_id)
            return False
        response = self._handler.handle(request)
        if response.status >= 300:
            _log.warning("message.failed", message=message_id, status=response.status)
        return response.status < 300

    def _hint(self, event: Mapping[str, Any]) -> None:
        """Look for moved aliases now. An event reaches one environment of many; the timers tell the others."""
        keys = events.object_keys(event)
        if any(key.startswith(("aliases/", "auth/")) for key in keys):
            self._freshness.look()
        else:
            _log.info("objects.ignored", keys=" ".join(keys))
