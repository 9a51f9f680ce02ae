"""The route of a version's report: JSON, or its card as a page or as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard import card
from trainyard.adapters.web import Route
from trainyard_scheduler import views
from trainyard_scheduler.use_cases.version_reports import report_of
from trainyard_scheduler.web.common import bad_request

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Store

_MEDIA = {"json": "application/json", "html": "text/html", "markdown": "text/markdown"}
_FORMAT = {"type": "string", "enum": list(_MEDIA)}


def routes(store: Store) -> list[Route]:
    """Return it."""

    def shown(name: str, number: int) -> Any:
        kind = _kind()
        with store.begin() as records:
            found = views.version_report(report_of(records, name, number))
        if kind == _MEDIA["json"]:
            return 200, found
        document = card.card_of(found)
        if kind == _MEDIA["markdown"]:
            return Response(card.as_markdown(document), mimetype=kind)
        return Response(card.as_html(document), mimetype=kind, headers={"Content-Security-Policy": card.POLICY})

    return [
        Route(
            "GET",
            "/v1/models/<name>/versions/<int:number>/report",
            shown,
            "read",
            "What the hold-out tells of a version; as text/html or text/markdown its model card",
            gives=(_MEDIA["html"], _MEDIA["markdown"]),
            parameters=("format",),
            shapes={"format": _FORMAT},
        )
    ]


def _kind() -> str:
    """Return the media type that the caller wants: ``format`` says, else ``Accept``, else it is JSON."""
    wanted = request.args.get("format")
    if wanted is None:
        return request.accept_mimetypes.best_match(tuple(_MEDIA.values()), _MEDIA["json"])
    if wanted not in _MEDIA:
        raise bad_request(f"format must be one of {', '.join(_MEDIA)}")
    return _MEDIA[wanted]
