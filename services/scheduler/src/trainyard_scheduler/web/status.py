"""Routes that show what is going on: audit log, doctor, events, what predictors serve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import PAGE, Route, page_arguments
from trainyard.adapters.web_views import page
from trainyard.doctor import EVERYTHING, Limits
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import serving
from trainyard_scheduler.web.common import flag_argument, number_cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.fleet import Fleet
    from trainyard.contracts.scheduling import Store
    from trainyard.contracts.tracing import Tracing
    from trainyard.doctor import Doctor
    from trainyard_scheduler.domain.fleet import Rules
    from trainyard_scheduler.events import EventStreams
    from trainyard_scheduler.use_cases.queues import Pair


@dataclass(frozen=True)
class Services:
    """What the routes need. ``queues``: by short name."""

    store: Store
    blobs: BlobStore
    fleet: Fleet
    fleet_rules: Rules
    resend_seconds: float
    copy_most_bytes: int
    queues: Mapping[str, Pair]
    doctor: Doctor
    events: EventStreams
    tracing: Tracing


def routes(services: Services) -> list[Route]:
    store = services.store

    def audit() -> Any:
        limit, cursor = page_arguments()
        before = number_cursor(cursor)
        with store.begin() as records:
            found = records.journal.audit_page(limit + 1, before)
        return 200, page(found, limit, views.audit, lambda record: record.id)

    def doctor() -> Any:
        everything = flag_argument("everything")
        return 200, services.doctor.examine(EVERYTHING if everything else Limits()).as_dict()

    def served() -> Any:
        with store.begin() as records:
            now = records.upkeep.now()
        return 200, {"items": serving.serving(services.blobs, now)}

    def events() -> Any:
        after = number_cursor(request.headers.get("Last-Event-ID"))
        stream = services.events.open(after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(stream, mimetype="text/event-stream", headers=headers)

    get = partial(Route, "GET")
    return [
        get("/v1/audit", audit, "admin", "Who changed what, newest first", parameters=PAGE),
        get(
            "/v1/doctor",
            doctor,
            "admin",
            "Whether everything fits together, and how to mend what does not",
            parameters=("everything",),
            shapes={"everything": {"enum": ["true", "false"]}},
        ),
        get("/v1/serving", served, "read", "What each predictor process answers with, and what it refuses"),
        get(
            "/v1/events",
            events,
            "read",
            "What happens, as server-sent events",
            statuses=(200,),
            media="text/event-stream",
        ),
    ]
