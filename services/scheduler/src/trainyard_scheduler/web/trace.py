"""The route that follows a trace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.adapters.web import Route
from trainyard_scheduler import views
from trainyard_scheduler.use_cases.trace import Trace

if TYPE_CHECKING:
    from trainyard.contracts.tracing import Tracing


def routes(tracing: Tracing) -> list[Route]:
    def followed(ident: str) -> Any:
        return 200, {"id": ident, "nodes": [views.node(node) for node in Trace(tracing, ident).follow()]}

    return [
        Route(
            "GET",
            "/v1/trace/<ident>",
            followed,
            "read",
            "What led to what, from a trace id or that of a batch, request, run, prediction or model@version",
        )
    ]
