"""What every carrier and every protocol exchange: a :class:`Request` in, a :class:`Response` out.

Here is also what all protocols check alike before they read a body: its length and its media type.
"""

from __future__ import annotations

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard.frozen import dataclass, field
from trainyard.protocol import Protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

    from trainyard.auth import Principal
    from trainyard_predictor.domain import Target
    from trainyard_predictor.protocols.routes import Route

#: Largest body of any route, in bytes. Whoever carries requests need not read more than one byte beyond it.
MAX_BODY_BYTES = 1024 * 1024
_UTF8 = {"utf-8", "utf8", "us-ascii"}


class Json(Protocol):
    """JSON as :mod:`trainyard.strict_json` reads and writes it; there are quicker ways to do the same."""

    def loads(self, data: bytes, /) -> Any:
        """Parse one document; raises ServiceError: ``empty_body`` or ``bad_json``."""
        ...

    def dumps(self, value: Any, /) -> bytes:
        """Return compact UTF-8 JSON."""
        ...


class Readable(Protocol):
    """Bytes that are still to come."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end; raises TimeoutError where they stop before it."""
        ...


class Seen:
    """What was found out of a head by those who answer, for further requests with the same head.

    Only what the head alone decides is kept: never whose API key is good, or which models there are.

    Attributes:
        route: where its path leads, and what the path's braces stand for.
        admitted: whether its length, its ``Host`` and its method are as they should be.
        target: which model it asks; its media type and the length of its body are then as they should be.
        words: its ``Idempotency-Key`` and ``x-trainyard-sticky``.
    """

    __slots__ = ("admitted", "route", "target", "words")

    def __init__(self) -> None:
        self.route: tuple[Route | None, Mapping[str, str]] | None = None
        self.admitted = False
        self.target: Target | None = None
        self.words: tuple[str | None, str | None] | None = None


@dataclass(frozen=True)
class Request:
    """``path`` is decoded and without query; header names are in lower case; ``body`` may be cut after the limit.

    ``rest`` is what follows ``body`` on the wire where that is longer than the limit; few routes read it, which may
    raise TimeoutError. ``principal`` is who asks, where whoever carries the request knows it; else the API key in its
    headers says so. ``fault`` is why it could not be read: that is then its answer. ``seen`` is shared by all requests
    whose head is the same, byte for byte, and whose bodies are as long as it says; None: the head is new.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    principal: Principal | None = None
    rest: Readable | None = None
    fault: ServiceError | None = None
    seen: Seen | None = None


@dataclass(frozen=True)
class Response:
    """Content-Length is left to the protocol."""

    status: int
    headers: dict[str, str]
    body: bytes


def json_response(status: int, value: Any, json: Json = strict_json) -> Response:
    """Return ``value`` as JSON."""
    return Response(status, {"Content-Type": "application/json"}, json.dumps(value))


def refusal(error: ServiceError) -> Response:
    """Return an error in the form of docs/errors.md."""
    return json_response(error.status, error.as_dict())


def check_length(request: Request) -> None:
    """Refuse what is longer than the limit, and a body that stopped before the length it promised.

    Raises:
        ServiceError: ``too_large`` or ``request_timeout``.
    """
    promised = request.headers.get("content-length", "")
    length = int(promised) if promised.isascii() and promised.isdigit() and len(promised) < 20 else None
    if (length or 0) > MAX_BODY_BYTES or len(request.body) > MAX_BODY_BYTES:
        raise ServiceError("too_large", f"the body is larger than {MAX_BODY_BYTES:,} bytes; send the rows in parts")
    if length is not None and len(request.body) < length:
        raise ServiceError("request_timeout", f"the body stopped after {len(request.body)} of {length} bytes")


def check_media(headers: Mapping[str, str], kinds: Collection[str], encodings: Collection[str] = ()) -> str:
    """Return the media type of the body, one of ``kinds``; the first of them where the caller names none.

    Args:
        headers: of the request.
        kinds: media types that the route reads, in lower case.
        encodings: content encodings that it unpacks.

    Raises:
        ServiceError: ``unsupported_media``: another type, an encoding, or a charset that is not UTF-8.
    """
    said = headers.get("content-type", "")
    if said in kinds and "content-encoding" not in headers:  # as most say it
        return said
    if headers.get("content-encoding", "identity").strip().lower() not in {"identity", *encodings}:
        known = " or ".join(encodings)
        raise ServiceError("unsupported_media", f"send the body without Content-Encoding{known and f', or as {known}'}")
    kind, parameters = media_type(said or next(iter(kinds)))
    if kind not in kinds or parameters.get("charset", "utf-8").lower() not in _UTF8:
        listed = " or ".join(kinds)
        raise ServiceError("unsupported_media", f"this route reads {listed} in UTF-8: name it as Content-Type")
    return kind


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type in lower case and its parameters by name."""
    kind, *rest = text.split(";")
    pairs = [part.partition("=") for part in rest]
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs if name}
