"""A queue on SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from trainyard import logs
from trainyard.adapters.aws.errors import MISSING, code_of, repaired, translated
from trainyard.contracts.queue import Depth, Queue, Received, batches, check_receive, check_visibility
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.queue import Outgoing

log = logs.get(__name__)
_Answer = TypeVar("_Answer")

#: What SQS answers about a receipt whose message was deleted, given to somebody else, or became visible again.
_NOT_OURS = frozenset(
    {
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)


class SqsQueue(Queue):
    """The SQS queue ``name``; ``on_missing`` makes it when SQS says that there is none, once per call."""

    def __init__(self, client: Any, name: str, *, on_missing: Callable[[], None] | None = None) -> None:
        self._client = client
        self._name = name
        self._on_missing = on_missing
        self._url: str | None = None

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
                log.warning("queue.send_failed", queue=self._name, messages=len(batch), reason=str(e))
                failed = batch
            refused += failed
            accepted += len(batch) - len(failed)
        return refused

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait up to ``wait_seconds`` for messages; return at most ``limit`` of them."""
        check_receive(limit, wait_seconds, visibility_seconds)
        answer = self._call(
            "receive from",
            lambda url: self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=limit,
                WaitTimeSeconds=wait_seconds,
                VisibilityTimeout=visibility_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
                MessageAttributeNames=["type"],
            ),
        )
        return [_received(message) for message in answer.get("Messages", [])]

    def delete(self, receipt: str) -> None:
        """Settle a message; a stale receipt is not an error."""

        def call(url: str) -> None:
            try:
                self._client.delete_message(QueueUrl=url, ReceiptHandle=receipt)
            except ClientError as e:
                if code_of(e) not in _NOT_OURS:
                    raise

        self._call("delete from", call)

    def extend(self, receipt: str, visibility_seconds: int) -> bool:
        """Hide a message for ``visibility_seconds`` from now; False when it is no longer ours."""
        check_visibility(visibility_seconds)

        def call(url: str) -> bool:
            try:
                self._client.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=visibility_seconds
                )
            except ClientError as e:
                if code_of(e) in _NOT_OURS:
                    return False
                raise
            return True

        return self._call("extend on", call)

    def depth(self) -> Depth:
        """Return the number of messages by state, as SQS estimates it."""
        names = (
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        )
        answer = self._call(
            "measure", lambda url: self._client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        )
        visible, in_flight, delayed = (int(answer.get("Attributes", {}).get(name, 0)) for name in names)
        return Depth(visible, in_flight, delayed)

    def made_at(self) -> int:
        """Return when the queue was made, in seconds since 1970."""
        answer = self._call(
            "look at",
            lambda url: self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["CreatedTimestamp"]),
        )
        return int(float(answer.get("Attributes", {}).get("CreatedTimestamp", 0)))  # moto gives fractions

    def _send_batch(self, messages: Sequence[Outgoing], batch: list[int]) -> list[int]:
        """Send one batch; return its indexes that SQS did not confirm (an answer of 200 may still refuse some)."""
        entries = [_entry(index, messages[index]) for index in batch]
        answer = self._call("send to", lambda url: self._client.send_message_batch(QueueUrl=url, Entries=entries))
        for failure in answer.get("Failed", []):
            log.warning(
                "queue.message_refused",
                queue=self._name,
                code=failure.get("Code"),
                reason=failure.get("Message"),
            )
        confirmed = {int(entry["Id"]) for entry in answer.get("Successful", [])}
        return [index for index in batch if index not in confirmed]

    def _call(self, action: str, call: Callable[[str], _Answer]) -> _Answer:
        """Call with the queue's URL, which is looked up again after SQS said that the queue is missing."""

        def attempt() -> _Answer:
            url = self._url or str(self._client.get_queue_url(QueueName=self._name)["QueueUrl"])
            self._url = url
            try:
                return call(url)
            except ClientError as e:
                if code_of(e) in MISSING:
                    self._url = None
                raise

        with translated(f"{action} queue {self._name}"):
            return repaired(attempt, self._on_missing)


def _entry(index: int, message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Id": str(index),
        "MessageBody": message.body,
        "MessageAttributes": {"type": {"DataType": "String", "StringValue": message.type}},
    }
    if message.delay_seconds:  # else the queue's own delay counts
        entry["DelaySeconds"] = message.delay_seconds
    return entry


def _received(message: dict[str, Any]) -> Received:
    attribute = message.get("MessageAttributes", {}).get("type", {})
    return Received(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        type=attribute.get("StringValue", ""),
        body=message["Body"],
        receive_count=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
    )
