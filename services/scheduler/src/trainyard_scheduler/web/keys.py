"""Routes of API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response

from trainyard.adapters.web import PAGE, Route, page_arguments, principal, read_object
from trainyard.adapters.web_views import page
from trainyard.auth import SCOPES
from trainyard.errors import ServiceError
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import keys
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.web.common import asker, changed, key_cursor

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Records, Store

_KEY = {
    "type": "object",
    "required": ["name", "scopes"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "scopes": {"type": "array", "minItems": 1, "items": {"enum": [*SCOPES]}},
        "expires_in_days": {"type": ["integer", "null"], "minimum": 1, "maximum": keys.MAX_DAYS},
    },
}


def routes(store: Store) -> list[Route]:
    def listed() -> Any:
        limit, cursor = page_arguments()
        with store.begin() as records:
            found = records.keys.page(limit + 1, key_cursor(cursor))
        return 200, page(found, limit, views.key, lambda record: record.id)

    def own() -> Any:
        with store.begin() as records:
            record = records.keys.get(principal().key_id)
        if record is None:
            raise ServiceError("unknown_key", "the key that asks is not on record")
        return 200, views.key(record)

    def make() -> Any:
        body = read_object(required=("name", "scopes"), optional=("expires_in_days",))

        def change(records: Records) -> Outcome:
            record, key = keys.make_key(records, body["name"], body["scopes"], body.get("expires_in_days"), asker())
            shown = views.key(record)
            return Outcome(201, {**shown, "key": key}, repeat={**shown, "key": None})

        return changed(store, change)

    def revoke(key_id: str) -> Any:
        with store.begin() as records:
            keys.revoke_key(records, key_id, asker())
        return Response(status=204)

    def revoke_own() -> Any:
        return revoke(principal().key_id)

    return [
        Route("GET", "/v1/keys", listed, "admin", "API keys, without their secrets", parameters=PAGE),
        Route("GET", "/v1/keys/self", own, "read", "The API key that asks: its name and what it may do"),
        Route("POST", "/v1/keys", make, "admin", "Make an API key; it is shown once", body=_KEY),
        Route("DELETE", "/v1/keys/self", revoke_own, "admin", "Refused: a key cannot revoke itself", statuses=(204,)),
        Route("DELETE", "/v1/keys/<key_id>", revoke, "admin", "Revoke an API key", statuses=(204,)),
    ]
