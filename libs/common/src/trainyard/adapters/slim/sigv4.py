"""Signature version 4 of AWS, for requests that carry it in their ``Authorization`` header.

Source: AWS's "Create a signed AWS API request". A test signs random requests here and with botocore and compares.
"""

from __future__ import annotations

import hashlib
import hmac

from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
_PATH = _UNRESERVED | {ord("/")}


@dataclass(frozen=True, repr=False)
class Credentials:
    """A key pair, with the token that temporary ones have."""

    access_key: str
    secret_key: str
    token: str | None = None


def quoted(text: str) -> str:
    """Return ``text`` as UTF-8 with everything but unreserved characters (RFC 3986) percent-encoded."""
    return _encoded(text, _UNRESERVED)


def quoted_path(text: str) -> str:
    """Return a key as it stands in a path: as :func:`quoted`, slashes kept."""
    return _encoded(text, _PATH)


def query_string(query: Iterable[tuple[str, str]]) -> str:
    """Return parameters encoded and in the order that the signature wants."""
    return "&".join(f"{name}={value}" for name, value in sorted((quoted(n), quoted(v)) for n, v in query))


def signed(
    credentials: Credentials,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str],
    body: bytes,
    region: str,
    service: str,
    at: datetime,
) -> dict[str, str]:
    """Return all headers of the request, in lower case: those given, which are all signed, and the signature's own.

    Args:
        path: as it goes over the wire, percent-encoded once. All services but S3 sign it encoded once more.
        query: as :func:`query_string` makes it.
        headers: ``host`` must be among them.
        at: the time of the request, in UTC; AWS takes it for 15 minutes.
    """
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    body_sha256 = hashlib.sha256(body).hexdigest()
    sent = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    sent["x-amz-date"] = stamp
    if service == "s3":
        sent["x-amz-content-sha256"] = body_sha256
    if credentials.token:
        sent["x-amz-security-token"] = credentials.token
    names = sorted(sent)
    signed_names = ";".join(names)
    path = path or "/"
    signed_path = path if service == "s3" else quoted_path(path)
    lines = [method, signed_path, query, *(f"{name}:{sent[name]}" for name in names), "", signed_names, body_sha256]
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = _hmac(key, part)
    sent["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={signed_names}, "
        f"Signature={_hmac(key, to_sign).hex()}"
    )
    return sent


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _encoded(text: str, kept: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in kept else f"%{byte:02X}" for byte in text.encode())
