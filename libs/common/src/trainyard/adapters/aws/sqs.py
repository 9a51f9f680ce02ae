"""A queue on SQS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from trainyard import logs
from trainyard.adapters.aws.errors import MISSING, code_of, repaired, translated
from trainyard.adapters.sqs import ASKED, COUNTS, MADE_AT, NOT_OURS, BatchedQueue, depth_of, made_at, received
from trainyard.contracts.queue import check_receive, check_visibility

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.queue import Depth, Received

log = logs.get(__name__)
_Answer = TypeVar("_Answer")


class SqsQueue(BatchedQueue):
    """The SQS queue ``name``; ``on_missing`` makes it when SQS says that there is none, once per call."""

    def __init__(self, client: Any, name: str, *, on_missing: Callable[[], None] | None = None) -> None:
        self._client = client
        self._name = name
        self._on_missing = on_missing
        self._url: str | None = None

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
                **ASKED,
            ),
        )
        return [received(message) for message in answer.get("Messages", [])]

    def delete(self, receipt: str) -> None:
        """Settle a message; a stale receipt is not an error."""

        def call(url: str) -> None:
            try:
                self._client.delete_message(QueueUrl=url, ReceiptHandle=receipt)
            except ClientError as e:
                if code_of(e) not in NOT_OURS:
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
                if code_of(e) in NOT_OURS:
                    return False
                raise
            return True

        return self._call("extend on", call)

    def depth(self) -> Depth:
        """Return the number of messages by state, as SQS estimates it."""
        return depth_of(self._attributes("measure", *COUNTS))

    def made_at(self) -> int:
        """Return when the queue was made, in seconds since 1970."""
        return made_at(self._attributes("look at", MADE_AT))

    def move_back(self) -> bool:
        """Start a message move task; False where the service has none, or refuses it for another reason."""

        def call(url: str) -> bool:
            arn = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
            try:
                self._client.start_message_move_task(SourceArn=arn)
            except ClientError as e:
                # Among the reasons: not offered (emulators), not allowed to this role, another task is under way.
                log.info("queue.move_refused", queue=self._name, code=code_of(e))
                return False
            return True

        return self._call("move back from", call)

    def _attributes(self, action: str, *names: str) -> dict[str, str]:
        answer = self._call(
            action, lambda url: self._client.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        )
        found: dict[str, str] = answer.get("Attributes", {})
        return found

    def _deliver(self, entries: list[dict[str, Any]]) -> Any:
        return self._call("send to", lambda url: self._client.send_message_batch(QueueUrl=url, Entries=entries))

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
