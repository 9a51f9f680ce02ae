"""The body of a request: in which format it comes, and its bytes as a stream."""

from __future__ import annotations

import base64
import re
import threading

from flask import Response, request

from trainyard.adapters.web import json_response
from trainyard.errors import ServiceError
from trainyard_ingest.domain import formats
from trainyard_ingest.web.common import bad

CONTENT_TYPES = tuple(kind.content_type for kind in formats.FORMATS)
_PLAIN = {"", "identity"}
_DISCARD_BYTES = 1 << 20
_MOST_DISCARDED_BYTES = 256 << 20
#: 32 bytes in base64, as a byte sequence of a structured header
_SHA256 = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Body:
    """The request's body as a stream that tells a broken upload from a complete one.

    The server takes a connection that closes early for the end of the body; half a file must not become a batch.
    """

    def __init__(self) -> None:
        self._stream = request.stream
        self._announced = request.content_length
        self._read = 0
        self._one_at_a_time = threading.Lock()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end.

        Raises:
            ServiceError: ``bad_request``: the body ended before its announced length.
        """
        with self._one_at_a_time:
            block: bytes = self._stream.read(size)
        self._read += len(block)
        if not block and self._announced is not None and self._read < self._announced:
            raise bad(f"the body ended after {self._read:,} of {self._announced:,} bytes; nothing was stored")
        return block

    def discard(self) -> None:
        """Throw away what has not been read of a body that was begun and refused, up to 256 MiB.

        A client that is still sending when the connection closes loses the refusal with it.
        """
        if self._read == 0:
            return
        for _ in range(_MOST_DISCARDED_BYTES // _DISCARD_BYTES):
            with self._one_at_a_time:  # whoever was reading ahead may not have ended yet
                if not self._stream.read(_DISCARD_BYTES):
                    return


def announced_sha256() -> str | None:
    """Return the SHA-256 in hex that the request's Content-Digest (RFC 9530) gives; None without one that is read."""
    for member in request.headers.get("Content-Digest", "").split(","):
        found = _SHA256.fullmatch(member.strip())
        if found:
            return base64.b64decode(found[1]).hex()
    return None


def broken_body(_error: Exception) -> Response:
    """Answer a request whose body broke off, or whose chunked encoding is malformed, as the server found out."""
    return json_response(400, bad("the body broke off or its chunked encoding is malformed").as_dict())


def refuse_encoded() -> None:
    """Refuse a packed body; raises ``ServiceError``."""
    if _encoding() not in _PLAIN:
        raise ServiceError("unsupported_media", "Content-Encoding is not read; send the body as it is")


def body_format() -> formats.Format:
    """Return the format of a plain body; raises ``ServiceError``."""
    refuse_encoded()
    return _content_format()


def rows_format() -> formats.Format:
    """Return the format of rows, which alone may come packed; raises ``ServiceError``."""
    kind, encoding = _content_format(), _encoding()
    if encoding in _PLAIN:
        return kind
    if encoding != "gzip":
        raise ServiceError(
            "unsupported_media", "Content-Encoding is one that is not read; rows may come packed by gzip"
        )
    return formats.packed(kind)


def _content_format() -> formats.Format:
    return formats.by_content_type(request.headers.get("Content-Type", ""))


def _encoding() -> str:
    return request.headers.get("Content-Encoding", "identity").strip().lower()
