"""Routes of training requests and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import PAGE, Route, page_arguments
from trainyard.adapters.web_views import page
from trainyard.contracts.requests import STATES
from trainyard.contracts.runs import MAX_LINE_CHARS
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import models, reproductions, requests
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.use_cases.explain import explained
from trainyard_scheduler.web.common import asker, bad_request, changed, number_cursor, optional_object, uuid_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.contracts.scheduling import Records, Store
    from trainyard_scheduler.domain.fleet import Rules

_BODY = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "settings": {"type": "object"},
        "priority": {"type": "integer", "minimum": -100, "maximum": 100},
        "instance_types": {"type": "array", "items": {"type": "string"}},
        "spot": {"type": ["boolean", "null"]},
    },
}
_LINE = {
    "type": "object",
    "required": ["number", "at", "level", "source", "text"],
    "properties": {
        "number": {"type": "integer", "minimum": 1},
        "at": {"type": "string", "format": "date-time"},
        "level": {"enum": ["debug", "info", "warning", "error"]},
        "source": {"enum": ["trainer", "training"]},
        "text": {"type": "string", "maxLength": MAX_LINE_CHARS},
    },
    "additionalProperties": False,
}
_LINES = {
    "type": "object",
    "required": ["items", "next_cursor"],
    "properties": {"items": {"type": "array", "items": _LINE}, "next_cursor": {"type": ["string", "null"]}},
}
#: Requests are listed in longer pages than other things: a backlog is looked at as a whole.
_MOST_LISTED = 10_000
_SHAPES: dict[str, dict[str, Any]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": _MOST_LISTED},
    "state": {"enum": [*STATES]},
}


def routes(store: Store, *, rules: Rules, resend_seconds: float) -> list[Route]:
    def ask(name: str) -> Any:
        body = optional_object(optional=("settings", *requests.PLACE_KEYS))
        settings = body.pop("settings", {})

        def change(records: Records) -> Outcome:
            created, record = requests.ask(records, name, settings, asker(), place=body)
            return Outcome(201 if created else 200, views.request(record))

        return changed(store, change)

    def listed(name: str | None = None) -> Any:
        limit, cursor = page_arguments(most=_MOST_LISTED)
        before, state = uuid_cursor(cursor), request.args.get("state")
        if state is not None and state not in STATES:
            raise bad_request(f"state is one of {', '.join(STATES)}")
        with store.begin() as records:
            wanted = request.args.get("model") if name is None else name
            model_id = None if wanted is None else models.model_called(records, wanted).id
            found = records.requests.page_texts(limit + 1, before, model_id=model_id, state=state)
        return _page_of_texts(found, limit)

    def explain(request_id: str) -> Any:
        with store.begin() as records:
            return 200, explained(records, request_id, rules=rules, resend_seconds=resend_seconds)

    def shown(request_id: str) -> Any:
        with store.begin() as records:
            return 200, views.request(requests.request_of(records, request_id))

    def cancel(request_id: str) -> Any:
        optional_object(optional=())
        return changed(
            store, lambda records: Outcome(200, views.request(requests.cancel(records, request_id, asker())))
        )

    def runs() -> Any:
        limit, cursor = page_arguments()
        before, model = uuid_cursor(cursor), request.args.get("model")
        with store.begin() as records:
            if model is not None:
                models.model_called(records, model)
            found = records.requests.runs(model, limit + 1, before)
        return 200, page(found, limit, views.run, lambda record: record.id)

    def run(run_id: str) -> Any:
        with store.begin() as records:
            return 200, views.run(requests.run_of(records, run_id))

    def logs(run_id: str) -> Any:
        limit, cursor = page_arguments()
        before = number_cursor(cursor)
        with store.begin() as records:
            ident = requests.run_of(records, run_id).id
            found = records.requests.run_lines(ident, limit + 1, before)
        return 200, page(found, limit, views.line, lambda line: line.number)

    def reproduce(run_id: str) -> Any:
        optional_object(optional=())

        def change(records: Records) -> Outcome:
            created, record = reproductions.reproduce(records, run_id, asker())
            return Outcome(201 if created else 200, views.request(record))

        return changed(store, change)

    of_model, one = "/v1/models/<name>/requests", "/v1/requests/<request_id>"
    return [
        Route("POST", of_model, ask, "operate", "Train now on all rows there are", body=_BODY),
        Route(
            "GET",
            of_model,
            listed,
            "read",
            "A model's training requests, newest first; ?state= restricts",
            parameters=(*PAGE, "state"),
            shapes=_SHAPES,
        ),
        Route(
            "GET",
            "/v1/requests",
            listed,
            "read",
            "All training requests, newest first; ?model= and ?state= restrict",
            parameters=(*PAGE, "model", "state"),
            shapes=_SHAPES,
        ),
        Route("GET", one, shown, "read", "One training request"),
        Route("GET", f"{one}/explain", explain, "read", "Why a request (or the request of a run) waits"),
        Route("POST", f"{one}/cancel", cancel, "operate", "Cancel a training request"),
        Route("GET", "/v1/runs", runs, "read", "Runs, newest first; ?model= restricts", parameters=(*PAGE, "model")),
        Route("GET", "/v1/runs/<run_id>", run, "read", "One run with its trials"),
        Route(
            "GET",
            "/v1/runs/<run_id>/logs",
            logs,
            "read",
            "What a run has said, newest line first, also while it runs",
            answer=_LINES,
            parameters=PAGE,
            statuses=(200,),
        ),
        Route("POST", "/v1/runs/<run_id>/reproduce", reproduce, "operate", "Fit the run's version again, and compare"),
    ]


def _page_of_texts(found: Sequence[tuple[str, str]], limit: int) -> Response:
    """Answer with objects that are JSON already, of which one more than ``limit`` was asked for."""
    shown = found[:limit]
    cursor = f'"{shown[-1][0]}"' if len(found) > limit else "null"
    body = f'{{"items": [{", ".join(text for _, text in shown)}], "next_cursor": {cursor}}}'
    return Response(body, mimetype="application/json")
