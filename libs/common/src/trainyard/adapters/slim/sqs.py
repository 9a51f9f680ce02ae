"""A queue on SQS, over signed requests of our own in the service's JSON protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.adapters.slim.service import ServerFaultError
from trainyard.contracts.queue import Depth, Queue, Received, batches, check_receive, check_visibility
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.adapters.slim.service import Service
    from trainyard.contracts.queue import Outgoing

_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
#: What SQS answers about a receipt whose message was deleted, given to somebody else, or became visible again.
_NOT_OURS = {"ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"}
_MISSING = {"QueueDoesNotExist", "NonExistentQueue"}
_log = logs.get(__name__)


class SlimQueue(Queue):
    """The queue of that name or, which saves a request, of that URL; nobody here makes it when it is missing."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._url = name if "://" in name else None

    def send(self, messages: Sequence[Outgoing]) -> list[int]:
        """Send all messages; return the indexes that were not accepted.

        When SQS stops answering after some batches were accepted, the rest counts as not accepted.
        """
        refused: list[int] = []
        accepted = 0
        for batch in batches(messages):
            try:
                failed = self._send_batch(messages, batch)
            except TransientError as e:
                if not accepted:
                    raise
                _log.warning("queue.send_failed", queue=self._name, messages=len(batch), reason=str(e))
                failed = batch
            refused += failed
            accepted += len(batch) - len(failed)
        return refused

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait up to ``wait_seconds`` for messages; return at most ``limit`` of them."""
        check_receive(limit, wait_seconds, visibility_seconds)
        answer = self._require(
            "ReceiveMessage",
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=visibility_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            MessageAttributeNames=["type"],
        )
        return [_received(message) for message in answer.get("Messages") or []]

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
        found = self._attributes(*_COUNTS)
        visible, in_flight, delayed = (int(found.get(name, 0)) for name in _COUNTS)
        return Depth(visible, in_flight, delayed)

    def made_at(self) -> int:
        """Return when the queue was made, in seconds since 1970."""
        return int(float(self._attributes("CreatedTimestamp").get("CreatedTimestamp", 0)))  # moto gives fractions

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

    def _send_batch(self, messages: Sequence[Outgoing], batch: list[int]) -> list[int]:
        """Send one batch; return its indexes that SQS did not confirm (an answer of 200 may still refuse some)."""
        answer = self._require("SendMessageBatch", Entries=[_entry(index, messages[index]) for index in batch])
        for failure in answer.get("Failed") or []:
            _log.warning(
                "queue.message_refused", queue=self._name, code=failure.get("Code"), reason=failure.get("Message")
            )
        confirmed = {int(entry["Id"]) for entry in answer.get("Successful") or []}
        return [index for index in batch if index not in confirmed]

    def _attributes(self, *names: str) -> dict[str, str]:
        found: dict[str, str] = self._require("GetQueueAttributes", AttributeNames=list(names)).get("Attributes") or {}
        return found

    def _about_receipt(self, action: str, **parameters: Any) -> bool:
        """Return whether the receipt was taken; False when its message is no longer ours."""
        code, _ = self._on_queue(action, parameters)
        if code and code not in _NOT_OURS:
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


def _entry(index: int, message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(index), "MessageBody": message.body}
    if message.type:
        entry["MessageAttributes"] = {"type": {"DataType": "String", "StringValue": message.type}}
    if message.delay_seconds:  # else the queue's own delay counts
        entry["DelaySeconds"] = message.delay_seconds
    return entry


def _received(message: dict[str, Any]) -> Received:
    attribute = message.get("MessageAttributes", {}).get("type", {})
    system = message.get("Attributes", {})
    sent_ms = system.get("SentTimestamp")
    return Received(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        type=attribute.get("StringValue", ""),
        body=message["Body"],
        receive_count=int(system.get("ApproximateReceiveCount", 1)),
        sent_at=None if sent_ms is None else int(sent_ms) / 1000,
    )
