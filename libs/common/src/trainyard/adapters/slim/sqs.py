"""A queue on SQS, over signed requests of our own in the service's JSON protocol."""

from __future__ import annotations

import json

from trainyard import logs
from trainyard.adapters.slim.service import ServerFaultError
from trainyard.adapters.sqs import ASKED, COUNTS, MADE_AT, NOT_OURS, BatchedQueue, depth_of, made_at, received
from trainyard.contracts.queue import check_receive, check_visibility
from trainyard.errors import TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trainyard.adapters.slim.service import Service
    from trainyard.contracts.queue import Depth, Received

_MISSING = {"QueueDoesNotExist", "NonExistentQueue"}
_log = logs.get(__name__)


class SlimQueue(BatchedQueue):
    """The queue of that name or, which saves a request, of that URL; nobody here makes it when it is missing."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._url = name if "://" in name else None

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait up to ``wait_seconds`` for messages; return at most ``limit`` of them."""
        check_receive(limit, wait_seconds, visibility_seconds)
        answer = self._require(
            "ReceiveMessage",
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_seconds,
            **ASKED,
        )
        return [received(message) for message in answer.get("Messages") or []]

    def delete(self, receipt: str) -> None:
        """Settle a message; a stale receipt is not an error."""
        self._about_receipt("DeleteMessage", ReceiptHandle=receipt)

    def extend(self, receipt: str, visibility_seconds: int) -> bool:
        """Hide a message for ``visibility_seconds`` from now; False when it is no longer ours."""
        check_visibility(visibility_seconds)
        return self._about_receipt(
            "ChangeMessageVisibility", ReceiptHandle=receipt, VisibilityTimeout=visibility_seconds
        )

    def depth(self) -> Depth:
        """Return the number of messages by state, as SQS estimates it."""
        return depth_of(self._attributes(*COUNTS))

    def made_at(self) -> int:
        """Return when the queue was made, in seconds since 1970."""
        return made_at(self._attributes(MADE_AT))

    def move_back(self) -> bool:
        """Start a message move task; False where the service has none, or refuses it for another reason."""
        arn = self._attributes("QueueArn")["QueueArn"]
        try:
            code, _ = self._call("StartMessageMoveTask", {"SourceArn": arn})
        except ServerFaultError:  # as a service answers that has no such action
            code = "ServerFault"
        if code:
            _log.info("queue.move_refused", queue=self._name, code=code)
        return not code

    def _deliver(self, entries: list[dict[str, Any]]) -> Any:
        return self._require("SendMessageBatch", Entries=entries)

    def _attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self._require("GetQueueAttributes", AttributeNames=list(names)).get("Attributes") or {}
        return found

    def _about_receipt(self, action: str, **parameters: Any) -> bool:
        """Return whether the receipt was taken; False when its message is no longer ours."""
        code, _ = self._on_queue(action, parameters)
        if code and code not in NOT_OURS:
            raise TransientError(f"{action} on queue {self._name}: {code}")
        return not code

    def _require(self, action: str, **parameters: Any) -> Any:
        code, answer = self._on_queue(action, parameters)
        if code:
            raise TransientError(f"{action} on queue {self._name}: {code}: {answer.get('message', '')}")
        return answer

    def _on_queue(self, action: str, parameters: dict[str, Any]) -> tuple[str, Any]:
        """Call with the queue's URL, which is looked up again after SQS said that the queue is missing."""
        if self._url is None:
            code, answer = self._call("GetQueueUrl", {"QueueName": self._name})
            if code:
                return code, answer
            self._url = str(answer["QueueUrl"])
        code, answer = self._call(action, {"QueueUrl": self._url, **parameters})
        if code in _MISSING and "://" not in self._name:
            self._url = None
        return code, answer

    def _call(self, action: str, parameters: dict[str, Any]) -> tuple[str, Any]:
        """Return AWS's error code, empty when there is none, and the answer."""
        wait_seconds = parameters.get("WaitTimeSeconds", 0)
        answer = self._service.call(
            "POST",
            "/",
            headers={"content-type": "application/x-amz-json-1.0", "x-amz-target": f"AmazonSQS.{action}"},
            body=json.dumps(parameters).encode(),
            seconds=10.0 + wait_seconds,
            silence_seconds=3.0 + wait_seconds,
        )
        try:
            found = json.loads(answer.body or b"{}")
        except ValueError as e:
            raise TransientError(f"{action} on queue {self._name}: the answer is not JSON") from e
        if answer.status == 200:
            return "", found
        kind = str(found.get("__type", "")).rpartition("#")[2] or f"status {answer.status}"
        # the code is in a header; in the body some services give it a longer name
        code = answer.headers.get("x-amzn-query-error", "").partition(";")[0] or kind.removesuffix("Exception")
        return code.rpartition(".")[2], {"message": found.get("message") or found.get("Message") or ""}
