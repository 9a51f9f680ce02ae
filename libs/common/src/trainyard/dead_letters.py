"""What a dead letter is, as far as it can be told from the letter itself: readable or not, and about which request."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.errors import ForeignMessageError, MessageError
from trainyard.messages import (
    DataArrived,
    FeedbackGiven,
    Message,
    PredictionLogged,
    PredictionsStored,
    TrainingRequest,
    decode,
)

if TYPE_CHECKING:
    from trainyard.contracts.queue import Received

#: Why a letter is probably dead -> words for people.
CAUSES = {
    "unreadable": "no reader of this queue can read it",
    "request_settled": "the request that it points to has ended; moved back, it is dropped by the next trainer",
    "request_open": "the request that it points to is open: trainers died of it, or held it, five times",
    "other_environment": "there is no such request here: it is another environment's, or its model was removed",
    "refused": "it can be read; what it says was refused, or its reader died of it, five times",
}
#: Which messages each queue carries; ``objects`` carries S3's own notifications.
_CARRIED: dict[str, tuple[type[Message], ...]] = {
    "training": (TrainingRequest,),
    "arrived": (DataArrived,),
    "predictions": (PredictionLogged, PredictionsStored, FeedbackGiven),
}
_PREVIEW_CHARS = 200
_BEGINNING_CHARS = 40
#: Deeper JSON is not S3's, and parsing it would run out of stack.
_MOST_BRACKETS = 1_000


@dataclass(frozen=True)
class Reading:
    """What a letter says: ``problem`` is empty when it can be read; ``request_id`` where it points to a request."""

    problem: str = ""
    request_id: str | None = None


def read(queue: str, letter: Received) -> Reading:
    """Read a letter as the consumers of ``queue`` (by its short name) would."""
    if queue == "objects":
        return Reading("" if _is_notification(letter.body) else f"it is not an S3 notification; {_beginning(letter)}")
    try:
        content = decode(letter.type, letter.body)
    except MessageError as e:
        foreign = isinstance(e, ForeignMessageError)
        return Reading(f"it is not a message of ours ({e}); {_beginning(letter)}" if foreign else str(e))
    if not isinstance(content, _CARRIED[queue]):
        return Reading(f"the queue does not carry {letter.type}")
    if isinstance(content, TrainingRequest):
        try:
            return Reading(request_id=str(uuid.UUID(content.request_id)))
        except ValueError:
            return Reading("its request id is not a UUID")
    return Reading()


def cause(reading: Reading, request_open: bool | None) -> str:
    """Return the key of :data:`CAUSES`; ``request_open``: whether its request is, None: there is none."""
    if reading.problem:
        return "unreadable"
    if reading.request_id is None:
        return "refused"
    if request_open is None:
        return "other_environment"
    return "request_open" if request_open else "request_settled"


def preview(body: str) -> str:
    """Return the first characters of what the body holds, every one of them printable.

    A body that is base64 is shown as the bytes that it stands for, as far as they are text.
    """
    try:
        # A whole number of groups of four, so that the cut does not make it invalid.
        start = base64.b64decode(body[: _PREVIEW_CHARS // 3 * 4], validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        start = body
    return "".join(c if c.isprintable() and c != "\ufffd" else "." for c in start[:_PREVIEW_CHARS])


def _beginning(letter: Received) -> str:
    """Say how a letter begins that none of ours wrote, so that its writer may be found."""
    return f"it begins with {preview(letter.body)[:_BEGINNING_CHARS]!r}" if letter.body else "it is empty"


def _is_notification(body: str) -> bool:
    if body.count("[") + body.count("{") > _MOST_BRACKETS:
        return False
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and (content.get("Event") == "s3:TestEvent" or "Records" in content)
