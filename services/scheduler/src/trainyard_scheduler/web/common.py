"""What the scheduler's routes share: who asks, cursors, and changes that an Idempotency-Key may repeat."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import Response, request

from trainyard.adapters.web import principal, read_body, read_object, trace_id
from trainyard.adapters.web_views import idempotency_key
from trainyard.alias_object import is_name
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import ServiceError
from trainyard_scheduler.use_cases.answers import By, Outcome, once
from trainyard_scheduler.use_cases.keys import is_key_id
from trainyard_scheduler.use_cases.requests import is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.contracts.scheduling import Records, Store

MAX_REASON_CHARS = 500
_LAST_ID = 2**63 - 1


def asker() -> By:
    """Return who asks, for the audit log and the trace."""
    return By(principal().key_id, trace_id())


def bad_request(message: str) -> ServiceError:
    """Return the error for a parameter that cannot be."""
    return ServiceError("bad_request", message)


def changed(store: Store, change: Callable[[Records], Outcome]) -> Response:
    """Make a change that an Idempotency-Key may repeat, and answer."""
    status, body = once(store, _repeatable(), change)
    return Response(body, status=status, mimetype="application/json")


def _repeatable() -> Repeatable | None:
    key = idempotency_key()
    if key is None:
        return None
    digest = hashlib.sha256(read_body()).hexdigest()
    # Quoted, for Postgres takes no NUL, which a path may hold.
    return Repeatable(f"POST {quote(request.path)}", principal().key_id, key, digest)


def number_cursor(cursor: str | None) -> int | None:
    """Return the cursor of a list that is ordered by numbers; raises ``ServiceError``."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 19 and int(cursor) <= _LAST_ID):
        raise bad_request("the cursor is not one of this list")
    return int(cursor)


def uuid_cursor(cursor: str | None) -> str | None:
    """Return the cursor of a list of requests or runs; raises ``ServiceError``."""
    if cursor is not None and not is_uuid(cursor):
        raise bad_request("the cursor is not one of this list")
    return cursor


def name_cursor(cursor: str | None) -> str | None:
    """Return the cursor of a list that is ordered by names; raises ``ServiceError``."""
    if cursor is not None and not is_name(cursor):
        raise bad_request("the cursor is not one of this list")
    return cursor


def key_cursor(cursor: str | None) -> str | None:
    """Return the cursor of the list of API keys; raises ``ServiceError``."""
    if cursor is not None and not is_key_id(cursor):
        raise bad_request("the cursor is not one of this list")
    return cursor


def optional_object(*, optional: Sequence[str]) -> dict[str, Any]:
    """Return the body as an object with some of these keys; no body is an empty object."""
    return read_object(optional=optional) if read_body().strip() else {}


def flag_argument(name: str) -> bool:
    """Return the query parameter ``name``, 'true' or 'false', false when it is not given; raises ``ServiceError``."""
    value = request.args.get(name, "false")
    if value not in {"true", "false"}:
        raise bad_request(f"{name} must be true or false")
    return value == "true"


def reason_of(body: Mapping[str, Any]) -> str:
    """Return the reason that the body gives, empty when it gives none; raises ``ServiceError``."""
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > MAX_REASON_CHARS or "\0" in reason:
        raise bad_request(f"reason must be text of at most {MAX_REASON_CHARS} characters")
    return reason
