"""Routes of the queues and their dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route, read_object
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import queues
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.web.common import asker, bad_request, changed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.scheduling import Records, Store

_MOST_LETTERS = 100
_LETTERS = 20
_REDRIVE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["queue"],
    "properties": {
        "queue": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": queues.MAX_MOVED},
    },
}


def routes(store: Store, pairs: Mapping[str, queues.Pair]) -> list[Route]:
    def listed() -> Any:
        return 200, {"queues": [views.queue(state) for state in queues.states(store, pairs)]}

    def dead(name: str) -> Any:
        limit = _number(request.args.get("limit", str(_LETTERS)), _MOST_LETTERS)
        letters = queues.peek(queues.pair_called(pairs, name), limit)
        with store.begin() as records:
            return 200, {"items": [views.dead_letter(queues.explain(records, name, letter)) for letter in letters]}

    def redrive() -> Any:
        body = read_object(required=("queue",), optional=("limit",))
        name, limit = body["queue"], body.get("limit")
        if not isinstance(name, str):
            raise bad_request("queue must be the name of a queue")
        if limit is not None and (type(limit) is not int or not 1 <= limit <= queues.MAX_MOVED):
            raise bad_request(f"limit must be a whole number from 1 to {queues.MAX_MOVED}")

        def change(records: Records) -> Outcome:
            return Outcome(200, views.redriven(queues.redrive(records, pairs, name, limit, asker())))

        return changed(store, change)

    return [
        Route("GET", "/v1/queues", listed, "read", "How many messages each queue holds"),
        Route(
            "GET",
            "/v1/queues/<name>/dead",
            dead,
            "read",
            "Dead letters of a queue, and why they are dead",
            parameters=("limit",),
            shapes={"limit": {"type": "integer", "minimum": 1, "maximum": _MOST_LETTERS}},
        ),
        Route("POST", "/v1/queues/dlq/redrive", redrive, "operate", "Send dead letters back", body=_REDRIVE),
    ]


def _number(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= most):
        raise bad_request(f"limit must be a whole number from 1 to {most}")
    return int(text)
