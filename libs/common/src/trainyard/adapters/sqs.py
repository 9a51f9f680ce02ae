"""What SQS says and is told, whoever carries the words: boto3, or requests of our own."""

from __future__ import annotations

from abc import abstractmethod

from trainyard import logs
from trainyard.contracts.queue import Depth, Queue, Received, batches
from trainyard.errors import TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from trainyard.contracts.queue import Outgoing

#: What SQS answers about a receipt whose message was deleted, given to somebody else, or became visible again.
NOT_OURS = frozenset(
    {
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",
        "MessageNotInflight",
        "AWS.SimpleQueueService.MessageNotInflight",
    }
)
#: Attributes of a queue that make a :class:`Depth`, in its order.
COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed")
MADE_AT = "CreatedTimestamp"
#: What a call for messages asks to be told about each.
ASKED = {"MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"], "MessageAttributeNames": ["type"]}
log = logs.get(__name__)


class BatchedQueue(Queue):
    """Sends in batches. Whoever carries them says how one is sent (``_deliver``), and what the queue is called."""

    _name: str

    def send(self, messages: Sequence[Outgoing]) -> list[int]:
        """Send all messages; return the indexes that were not accepted.

        When SQS stops answering after some batches were accepted, the rest counts as not accepted.
        """
        refused: list[int] = []
        accepted = 0
        for batch in batches(messages):
            try:
                answer = self._deliver([_entry(index, messages[index]) for index in batch])
            except TransientError as e:
                if not accepted:
                    raise
                log.warning("queue.send_failed", queue=self._name, messages=len(batch), reason=str(e))
                refused += batch
                continue
            failed = self._unconfirmed(batch, answer)
            refused += failed
            accepted += len(batch) - len(failed)
        return refused

    @abstractmethod
    def _deliver(self, entries: list[dict[str, Any]]) -> Mapping[str, Any]:
        """Call SendMessageBatch; return its answer."""

    def _unconfirmed(self, batch: list[int], answer: Mapping[str, Any]) -> list[int]:
        """Return the indexes that SQS did not confirm: an answer of 200 may still refuse some."""
        for failure in answer.get("Failed") or []:
            log.warning(
                "queue.message_refused", queue=self._name, code=failure.get("Code"), reason=failure.get("Message")
            )
        confirmed = {int(entry["Id"]) for entry in answer.get("Successful") or []}
        return [index for index in batch if index not in confirmed]


def depth_of(attributes: Mapping[str, Any]) -> Depth:
    """Return the number of messages by state, as SQS estimates it."""
    visible, in_flight, delayed = (int(attributes.get(name, 0)) for name in COUNTS)
    return Depth(visible, in_flight, delayed)


def made_at(attributes: Mapping[str, Any]) -> int:
    """Return when the queue was made, in seconds since 1970."""
    return int(float(attributes.get(MADE_AT, 0)))  # moto gives fractions


def received(message: Mapping[str, Any]) -> Received:
    """Return a message that was received."""
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


def _entry(index: int, message: Outgoing) -> dict[str, Any]:
    entry: dict[str, Any] = {"Id": str(index), "MessageBody": message.body}
    if message.type:
        entry["MessageAttributes"] = {"type": {"DataType": "String", "StringValue": message.type}}
    if message.delay_seconds:  # else the queue's own delay counts
        entry["DelaySeconds"] = message.delay_seconds
    return entry
