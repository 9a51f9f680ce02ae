"""Queue messages: frozen dataclasses with ``encode`` and :func:`decode`.

A body is base64 of canonical msgpack; its first key is ``v``, the message attribute ``type`` names the class.
Messages are pointers: the truth is in the database.
"""

from __future__ import annotations

import binascii
from itertools import pairwise

import msgpack

from trainyard.contracts.queue import Outgoing
from trainyard.errors import ForeignMessageError, MessageError
from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

VERSION = 1
_MAX_BODY_CHARS = 1_048_576
#: With it begins every message as base64, and no message as msgpack.
_FIRST_OF_BASE64 = b"g"


@dataclass(frozen=True)
class Message:
    """Base of all messages."""

    type: ClassVar[str]

    def outgoing(self) -> Outgoing:
        """Return the message as a queue carries it."""
        from dataclasses import asdict  # noqa: PLC0415 - not on the road of a prediction, which starts cold

        packed = msgpack.packb({"v": VERSION, **asdict(self)}, use_bin_type=True)
        return Outgoing(self.type, binascii.b2a_base64(packed, newline=False).decode("ascii"))


@dataclass(frozen=True)
class DataArrived(Message):
    """A batch was committed: rows up to ``upto_seq`` of ``dataset`` can be seen."""

    type: ClassVar[str] = "DataArrived"
    dataset: str
    batch_id: str
    upto_seq: int


@dataclass(frozen=True)
class TrainingRequest(Message):
    """A training request waits in the database under ``request_id``."""

    type: ClassVar[str] = "TrainingRequest"
    request_id: str


@dataclass(frozen=True)
class PredictionLogged(Message):
    """Predictions that were answered: each a record, or a block of several, as in docs/prediction-log.md."""

    type: ClassVar[str] = "PredictionLogged"
    records: list[dict[str, Any]]

    @classmethod
    def joined(cls, packed: Sequence[bytes]) -> bytes:
        """Return the message of records that are msgpack already, before it becomes base64; they are not read."""
        packer = msgpack.Packer(use_bin_type=True, autoreset=False)
        packer.pack_map_header(2)
        for value in ("v", VERSION, "records"):
            packer.pack(value)
        packer.pack_array_header(len(packed))
        return b"".join((packer.bytes(), *packed))

    @classmethod
    def outgoing_of(cls, joined: bytes) -> Outgoing:
        """Return what :meth:`joined` has made as a queue carries it: as ``outgoing`` does."""
        return Outgoing(cls.type, binascii.b2a_base64(joined, newline=False).decode("ascii"))


@dataclass(frozen=True)
class PredictionsStored(Message):
    """So many predictions that they lie on S3 under ``key``: what :func:`stored_bodies` reads."""

    type: ClassVar[str] = "PredictionsStored"
    key: str
    sha256: str
    size: int


@dataclass(frozen=True)
class ShadowScored(Message):
    """What a shadow version would have answered to predictions: each record as in docs/prediction-log.md."""

    type: ClassVar[str] = "ShadowScored"
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class FeedbackGiven(Message):
    """True labels that arrived as an event instead of over HTTP; same items as POST /v1/feedback."""

    type: ClassVar[str] = "FeedbackGiven"
    items: list[dict[str, Any]]


_TYPES: dict[str, type[Message]] = {
    cls.type: cls
    for cls in (DataArrived, TrainingRequest, PredictionLogged, PredictionsStored, ShadowScored, FeedbackGiven)
}


def stored_bodies(data: bytes) -> list[str]:
    """Return the bodies of the ``PredictionLogged`` messages in an object: msgpack, one behind the other.

    Raises:
        ValueError: it is something else.
    """
    if data[:1] == _FIRST_OF_BASE64:  # one in each line: so the release before this one wrote them
        return data.decode("ascii").split("\n")
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    ends = [0]
    try:
        while ends[-1] < len(data):
            unpacker.skip()
            ends.append(unpacker.tell())
    except (msgpack.exceptions.UnpackException, ValueError) as e:
        raise ValueError("not messages one behind the other") from e
    return [binascii.b2a_base64(data[a:b], newline=False).decode("ascii") for a, b in pairwise(ends)]


def decode(type_name: str, body: str) -> Message:
    """Return the message that ``body`` holds.

    Raises:
        MessageError: for anything that is not a message of this version; it keeps the raw body.
    """
    cls = _TYPES.get(type_name)
    if cls is None:
        named = f"unknown message type {type_name[:80]!r}" if type_name else "it names no message type"
        raise ForeignMessageError(named, body)
    if len(body) > _MAX_BODY_CHARS:
        raise MessageError(f"message body of {len(body)} characters is over the limit of {_MAX_BODY_CHARS}", body)
    try:
        raw = msgpack.unpackb(
            binascii.a2b_base64(body, strict_mode=True), raw=False, strict_map_key=True, max_ext_len=0
        )
    except (
        binascii.Error,
        ValueError,
        msgpack.exceptions.UnpackException,
        RecursionError,
        UnicodeDecodeError,
    ) as e:
        raise ForeignMessageError("message body is not base64 of msgpack", body) from e
    if not isinstance(raw, dict) or raw.get("v") != VERSION:
        raise MessageError(f"message is not of version {VERSION}", body)
    from dataclasses import fields  # noqa: PLC0415 - not on the road of a prediction, which starts cold

    expected = {f.name: str(f.type) for f in fields(cls)}
    values = {k: v for k, v in raw.items() if k != "v"}
    if set(values) != set(expected):
        raise MessageError(f"message fields {sorted(map(str, values))} are not {sorted(expected)}", body)
    for name, annotation in expected.items():
        wanted = {"str": str, "int": int}.get(annotation, list)
        if not isinstance(values[name], wanted) or isinstance(values[name], bool):
            raise MessageError(f"message field {name!r} is not of type {annotation}", body)
    return cls(**values)
