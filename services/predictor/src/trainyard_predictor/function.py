"""The predictor as a Lambda function: one event in, what Lambda takes for an answer out.

Nothing runs between two events: the environment is frozen. What a process does on timers is therefore done here beside
the events, and before one when the last time is too long ago.
"""

from __future__ import annotations

from trainyard import logs, strict_json
from trainyard.errors import TrainyardError
from trainyard_predictor import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from trainyard_predictor.batch.rounds import Batch
    from trainyard_predictor.edges.freshness import Freshness
    from trainyard_predictor.handler import Handler
    from trainyard_predictor.snapshot import Snapshot

_log = logs.get(__name__)


class Function:
    """Answers events.

    HTTP events and direct ones go through ``handler``; S3 events are a hint to look for news, or tell of files.

    Args:
        snapshot: makes what Lambda's runtime hooks call.
        batch: what is done about batch jobs, made when it is needed first; None: nobody does anything.
        stopping: whether whoever hands over events would like to have the last one back.
    """

    def __init__(
        self,
        handler: Handler,
        freshness: Freshness,
        snapshot: Callable[[], Snapshot],
        batch: Callable[[], Batch] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.snapshot = snapshot
        self._handler = handler
        self._freshness = freshness
        self._make_batch = batch
        self._batch: Batch | None = None
        self._stopping = stopping
        self._answers: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "http": lambda event: self._ask(events.http_request(event)),
            "direct": lambda event: self._ask(events.direct_request(event, events.INVOKER)),
            "s3": self._hint,
            "nothing": lambda _: None,
        }

    def handle(self, event: Any, seconds_left: float | None = None) -> Any:
        """Return the answer to an event, for which there are ``seconds_left``; None: as many as it takes.

        Raises:
            ForeignEventError: the event is none that this function knows; Lambda reports it to the caller.
        """
        if not isinstance(event, dict):
            raise events.ForeignEventError(f"an event is an object, not {type(event).__name__}")
        kind = events.source(event)
        self._freshness.before_event()
        if kind == "sqs":
            return self._messages(event, seconds_left)
        if kind == "batch":
            return self._batch_work(event, seconds_left)
        return self._answers[kind](event)

    def _ask(self, request: Any) -> dict[str, Any]:
        return events.http_answer(self._handler.handle(request))

    def _messages(self, event: Mapping[str, Any], seconds_left: float | None) -> dict[str, Any]:
        """Return the messages that failed: the queue gives them again, and everything else is settled.

        A first-in-first-out queue keeps its order only if nothing behind a failure is settled.
        """
        failed: list[str] = []
        each = None if seconds_left is None else seconds_left / len(event["Records"])
        for record in event["Records"]:
            in_order = str(record.get("eventSourceARN", "")).endswith(".fifo")
            if (failed and in_order) or not self._message(record, each):
                failed.append(str(record.get("messageId", "")))
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in failed]}

    def _message(self, record: Mapping[str, Any], seconds_left: float | None) -> bool:
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
            if kind == "batch":
                self._batch_work(event, seconds_left)
                return True
            if kind != "direct":
                raise events.ForeignEventError(f"a message asks for one thing directly, or tells of S3; this is {kind}")
            request = events.direct_request(event, events.SENDER, idempotency_key=message_id or None)
        except TrainyardError as e:  # nobody will ever answer it: the queue buries it after its last attempt
            _log.error("message.refused", error=e, message_id=message_id)
            return False
        response = self._handler.handle(request)
        if response.status >= 300:
            _log.warning("message.failed", message_id=message_id, status=response.status)
        return response.status < 300

    def _hint(self, event: Mapping[str, Any]) -> None:
        """Look for moved aliases now, of which the timers tell the other environments; make jobs of files."""
        keys = events.object_keys(event)
        if any(key.startswith(("aliases/", "auth/")) for key in keys):
            self._freshness.look()
        files = [key for key in keys if key.startswith("batch/in/")]
        if files and (batch := self._ready_batch()) is not None:
            for key in files:
                batch.dropped(key)
        ignored = [key for key in keys if not key.startswith(("aliases/", "auth/", "batch/in/"))]
        if ignored:
            _log.info("objects.ignored", keys=" ".join(ignored))

    def _batch_work(self, event: Mapping[str, Any], seconds_left: float | None) -> None:
        batch = self._ready_batch()
        if batch is None:
            raise events.ForeignEventError("this function scores no batches")
        if "batch_look" in event:
            batch.look(self._stopping, seconds_left=seconds_left)
        else:
            batch.work_on(str(event["batch_job"]), seconds_left=seconds_left, stopping=self._stopping)

    def _ready_batch(self) -> Batch | None:
        if self._batch is None and self._make_batch is not None:
            self._batch = self._make_batch()  # threads may make it twice, which does no harm
        return self._batch
