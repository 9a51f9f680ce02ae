"""What Lambda is invoked with, as requests: pure mappings, no decision.

HTTP events are those of function URLs and of API Gateway's HTTP APIs (payload 2.0). A direct invocation, and the body
of a message on a queue, is ``{"path": ..., "method"?: "POST", "headers"?: {...}, "body"?: text or JSON}``. About batch
jobs: ``{"batch_job": id}`` asks for a turn on one, ``{"batch_look": true}`` to look for those that nobody works on.
Sources: AWS Lambda developer guide; Amazon S3 user guide, "Event message structure".
"""

from __future__ import annotations

import binascii

from trainyard import strict_json
from trainyard.auth import Principal
from trainyard.errors import TrainyardError
from trainyard_predictor.handler import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from trainyard_predictor.handler import Response

    Event = Mapping[str, Any]

#: Who asks without an API key: AWS has checked that they may invoke the function, or send to its queue.
INVOKER = Principal("iam", frozenset({"predict"}))
SENDER = Principal("sqs", frozenset({"predict"}))


class ForeignEventError(TrainyardError):
    """An event that is none of those above; nothing of it was done."""


def source(event: Event) -> str:
    """Return ``http``, ``sqs``, ``s3``, ``direct``, ``batch``, or ``nothing`` for S3's test event.

    Raises:
        ForeignEventError: it is none of them.
    """
    records = event.get("Records")
    if isinstance(records, list) and records and isinstance(records[0], dict):
        found = {"aws:sqs": "sqs", "aws:s3": "s3"}.get(str(records[0].get("eventSource")))
        if found is not None:
            return found
    context = event.get("requestContext")
    if isinstance(context, dict) and isinstance(context.get("http"), dict):
        return "http"
    if isinstance(event.get("path"), str) and "httpMethod" not in event:
        return "direct"
    if event.keys() == {"batch_job"} or event.keys() == {"batch_look"}:
        return "batch"
    if event.get("Event") == "s3:TestEvent":
        return "nothing"
    raise ForeignEventError(f"no event that this function knows; its keys are {sorted(map(str, event))[:20]}")


def http_request(event: Event) -> Request:
    """Return the request of a function URL or an HTTP API; raises ForeignEventError."""
    context = event["requestContext"]
    path = _unquoted(str(event.get("rawPath") or context["http"].get("path") or "/"))
    stage = str(context.get("stage", "$default"))
    if stage != "$default" and (path == f"/{stage}" or path.startswith(f"/{stage}/")):
        path = path[len(stage) + 1 :] or "/"
    headers = {str(name).lower(): str(value) for name, value in (event.get("headers") or {}).items()}
    headers.pop("content-length", None)  # that of the body as it was sent, before it became text in an event
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            data = binascii.a2b_base64(body, strict_mode=True)
        except (binascii.Error, ValueError) as e:
            raise ForeignEventError("the event's body is not the base64 that it says") from e
    else:
        data = str(body).encode("utf-8", "surrogatepass")
    method = str(context["http"].get("method", "GET"))
    return Request(method, path, str(event.get("rawQueryString") or ""), headers, data, _caller(context))


def direct_request(event: Event, principal: Principal, *, idempotency_key: str | None = None) -> Request:
    """Return what somebody asks who needs no API key; ``idempotency_key`` counts where the event names none.

    Raises:
        ForeignEventError: a part of it is of the wrong type, or there are parts that nobody knows.
    """
    headers = event.get("headers") or {}
    method = event.get("method", "POST")
    if (
        set(event) - {"path", "method", "headers", "body"}
        or not isinstance(headers, dict)
        or not isinstance(method, str)
    ):
        raise ForeignEventError("a direct event has path, method, headers and body, and nothing else")
    body = event.get("body")
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else b"" if body is None else _json(body)
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    if idempotency_key is not None:
        named.setdefault("idempotency-key", idempotency_key)
    path, _, query = event["path"].partition("?")
    return Request(method, _unquoted(path), query, named, data, principal)


def http_answer(response: Response) -> dict[str, Any]:
    """Return the response as Lambda takes it: text as text, everything else as base64."""
    try:
        body, encoded = response.body.decode("utf-8"), False
    except UnicodeDecodeError:
        body, encoded = binascii.b2a_base64(response.body, newline=False).decode("ascii"), True
    headers = {name.lower(): value for name, value in response.headers.items()}
    return {"statusCode": response.status, "headers": headers, "body": body, "isBase64Encoded": encoded}


def object_keys(event: Event) -> list[str]:
    """Return the keys of the objects that an S3 event tells of."""
    keys = [record.get("s3", {}).get("object", {}).get("key", "") for record in event["Records"]]
    return [_unquoted(str(key).replace("+", " ")) for key in keys]


def _caller(context: Mapping[str, Any]) -> Principal | None:
    """Return whom AWS has let through where the URL is open to IAM alone; else the API key says who it is."""
    iam = (context.get("authorizer") or {}).get("iam")
    if not isinstance(iam, dict):
        return None
    return Principal(f"iam:{iam.get('userId') or iam.get('accountId') or ''}"[:80], INVOKER.scopes)


def _json(value: Any) -> bytes:
    try:
        return strict_json.dumps(value)
    except ValueError as e:
        raise ForeignEventError("the event's body holds what JSON cannot say") from e


def _unquoted(text: str) -> str:
    """Return ``text`` without percent-encoding, as ``urllib.parse.unquote`` does, whose import costs 2 ms."""
    first, *parts = text.split("%")
    data = bytearray(first.encode("utf-8", "surrogatepass"))
    for part in parts:
        try:
            data += bytes.fromhex(part[:2]) + part[2:].encode("utf-8", "surrogatepass")
        except ValueError:
            data += b"%" + part.encode("utf-8", "surrogatepass")
    return data.decode("utf-8", "replace")
