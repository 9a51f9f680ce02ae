"""The id that a request carries from HTTP to the prediction log: the caller's if it is well-formed, else a new one."""

from __future__ import annotations

import os
import re

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
#: W3C Trace Context, version 00 and whatever later ones have in front; a trace id of zeros alone is none.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_id(request_id: str, traceparent: str) -> str:
    """Return the id of a request with these headers, "" for one that it has not; ``X-Request-Id`` goes first."""
    if request_id and _REQUEST_ID.fullmatch(request_id):
        return request_id
    if traceparent and (found := _TRACEPARENT.fullmatch(traceparent)):
        return found[1]
    return os.urandom(16).hex()
