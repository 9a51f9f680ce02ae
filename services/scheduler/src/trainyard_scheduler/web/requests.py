"""Routes of training requests and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route, page_arguments
from trainyard.errors import ServiceError
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import models, requests
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.web.common import asker, changed, optional_object, page, uuid_cursor

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Records, Store

_SETTINGS = {"type": "object", "additionalProperties": False, "properties": {"settings": {"type": "object"}}}


def routes(store: Store) -> list[Route]:
    def ask(name: str) -> Any:
        settings = optional_object(optional=("settings",)).get("settings", {})

        def change(records: Records) -> Outcome:
            created, record = requests.ask(records, name, settings, asker())
            return Outcome(201 if created else 200, views.request(record))

        return changed(store, change)

    def listed(name: str) -> Any:
        limit, cursor = page_arguments()
        before = uuid_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.requests.page(model.id, limit + 1, before)
        return 200, page(found, limit, views.request, lambda record: record.id)

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
            found = records.requests.run(run_id) if requests.is_uuid(run_id) else None
        if found is None:
            raise ServiceError("unknown_run", f"there is no run {run_id[:80]!r}")
        return 200, views.run(found)

    of_model, one = "/v1/models/<name>/requests", "/v1/requests/<request_id>"
    return [
        Route("POST", of_model, ask, "operate", "Train now on all rows there are", body=_SETTINGS),
        Route("GET", of_model, listed, "read", "Training requests, newest first"),
        Route("GET", one, shown, "read", "One training request"),
        Route("POST", f"{one}/cancel", cancel, "operate", "Cancel a training request"),
        Route("GET", "/v1/runs", runs, "read", "Runs, newest first; ?model= restricts"),
        Route("GET", "/v1/runs/<run_id>", run, "read", "One run with its trials"),
    ]
