"""The scheduler's HTTP routes (docs/api.md): read the request, call a use case, show the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_scheduler.web import fleet, imports, keys, models, queues, reports, requests, status, trace, versions
from trainyard_scheduler.web.status import Services

if TYPE_CHECKING:
    from trainyard.adapters.web import Route

__all__ = ["Services", "routes"]


def routes(services: Services) -> list[Route]:
    """Return every route of the scheduler."""
    return [
        *models.routes(services.store),
        *requests.routes(services.store, rules=services.fleet_rules, resend_seconds=services.resend_seconds),
        *versions.routes(services.store, services.blobs),
        *imports.routes(services.store, services.blobs, copy_most_bytes=services.copy_most_bytes),
        *reports.routes(services.store),
        *keys.routes(services.store),
        *queues.routes(services.store, services.queues),
        *fleet.routes(services),
        *status.routes(services),
        *trace.routes(services.tracing),
    ]
