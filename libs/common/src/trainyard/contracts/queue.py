"""A queue with at-least-once delivery: SQS in the cloud and on the emulators, a fake in unit tests."""

from __future__ import annotations

from trainyard.frozen import dataclass
from trainyard.protocol import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Most messages in one call, and most bytes: of one message, and of all messages of one call.
MAX_BATCH = 10
MAX_BYTES = 262_144
MAX_WAIT_SECONDS = 20
MAX_VISIBILITY_SECONDS = 43_200
MAX_DELAY_SECONDS = 900


@dataclass(frozen=True)
class Outgoing:
    """A message to send; ``type`` travels as a message attribute, ``body`` is text.

    An empty ``type`` sends none, as S3 does with its notifications.
    No reader sees it before ``delay_seconds`` (0 to 900) have passed since it was accepted.
    """

    type: str
    body: str
    delay_seconds: int = 0

    @property
    def size_bytes(self) -> int:
        """What the message counts against :data:`MAX_BYTES`: body and attribute (name, data type, value)."""
        attribute = len("type") + len("String") + len(self.type.encode()) if self.type else 0
        return len(self.body.encode()) + attribute


@dataclass(frozen=True)
class Received:
    """A message that is now invisible to others until its visibility time ends or it is deleted.

    ``type`` is empty when the sender set none (S3 notifications). ``sent_at``: Unix time by the service's clock, None
    where it says none; a dead letter has the time at which it was first sent.
    """

    message_id: str
    receipt: str
    type: str
    body: str
    receive_count: int
    sent_at: float | None = None


@dataclass(frozen=True)
class Depth:
    """How many messages a queue holds. Approximate on real SQS."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def total(self) -> int:
        """All messages, whatever their state."""
        return self.visible + self.in_flight + self.delayed


class Queue(Protocol):
    """One queue. Every method raises :class:`~trainyard.errors.TransientError` when the service does not answer."""

    def send(self, messages: Sequence[Outgoing]) -> list[int]:
        """Send all messages, in batches as the service allows; return the indexes that were *not* accepted.

        Raises:
            ValueError: a message is empty, larger than :data:`MAX_BYTES` or delayed too long; nothing was sent.
            TransientError: nothing was accepted because the service does not answer.
        """
        ...

    def receive(self, *, limit: int, wait_seconds: int, visibility_seconds: int) -> list[Received]:
        """Wait up to ``wait_seconds`` (0..20) for messages; return at most ``limit`` (1..10) of them."""
        ...

    def delete(self, receipt: str) -> None:
        """Settle a message. Deleting twice, or with a receipt that has gone stale, is not an error.

        Whether a stale receipt still deletes its message is up to the service: never count on either.
        """
        ...

    def extend(self, receipt: str, visibility_seconds: int) -> bool:
        """Hide a message for ``visibility_seconds`` from now (0: give it back); False when it is no longer ours.

        False as well when the service hides it no longer than it does already: nothing stays hidden beyond 12 hours.
        """
        ...

    def depth(self) -> Depth:
        """Return the number of messages by state."""
        ...

    def made_at(self) -> int:
        """Return when the queue was made, in seconds since 1970.

        A queue that was lost with its messages and made again answers another number: that is how a sender learns it.
        """
        ...

    def move_back(self) -> bool:
        """Have the service send every message of this dead-letter queue back to the queue that it came from.

        True: it does so by itself from now on, in its own time. False: it cannot, and nothing has happened.
        """
        ...


def batches(messages: Sequence[Outgoing]) -> Iterator[list[int]]:
    """Yield the indexes of ``messages`` in order, in groups that fit one call.

    Raises:
        ValueError: a message can never be sent; raised before the first group.
    """
    for index, message in enumerate(messages):
        if not message.body:
            raise ValueError(f"message {index} has an empty body, which no queue takes")
        if message.size_bytes > MAX_BYTES:
            raise ValueError(f"message {index} has {message.size_bytes} bytes; a queue takes at most {MAX_BYTES}")
        if not 0 <= message.delay_seconds <= MAX_DELAY_SECONDS:
            delay = message.delay_seconds
            raise ValueError(f"message {index} has a delay of {delay} s; a queue delays 0 to {MAX_DELAY_SECONDS} s")
    group: list[int] = []
    size = 0
    for index, message in enumerate(messages):
        if group and (len(group) == MAX_BATCH or size + message.size_bytes > MAX_BYTES):
            yield group
            group, size = [], 0
        group.append(index)
        size += message.size_bytes
    if group:
        yield group


def check_receive(limit: int, wait_seconds: int, visibility_seconds: int) -> None:
    """Raise ValueError for arguments of ``receive`` that no queue takes."""
    if not 1 <= limit <= MAX_BATCH:
        raise ValueError(f"limit is {limit}; a queue gives 1 to {MAX_BATCH} messages at a time")
    if not 0 <= wait_seconds <= MAX_WAIT_SECONDS:
        raise ValueError(f"wait_seconds is {wait_seconds}; a queue waits 0 to {MAX_WAIT_SECONDS} seconds")
    check_visibility(visibility_seconds)


def check_visibility(visibility_seconds: int) -> None:
    """Raise ValueError for a visibility time that no queue takes."""
    if not 0 <= visibility_seconds <= MAX_VISIBILITY_SECONDS:
        raise ValueError(f"visibility_seconds is {visibility_seconds}; it may be 0 to {MAX_VISIBILITY_SECONDS}")
