"""The routes of pull sources (docs/sources.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response

from trainyard.adapters.web import PAGE, Route, page_arguments, principal, read_json
from trainyard.adapters.web_views import page
from trainyard.alias_object import is_name
from trainyard.errors import ServiceError
from trainyard_ingest.domain.pull_draft import read_draft
from trainyard_ingest.web.body import refuse_encoded
from trainyard_ingest.web.common import bad, name_cursor, named, repeatable

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.sources import Sources
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.domain.pulls import Fetcher


class SourceViews:
    """Sources: described, looked at, pulled now, removed."""

    def __init__(self, sources: Sources, warehouse: Warehouse, fetcher: Fetcher, clock: Clock) -> None:
        self._sources = sources
        self._warehouse = warehouse
        self._fetcher = fetcher
        self._clock = clock

    def put(self, name: str, source: str) -> tuple[int, Any]:
        """Make a source, or change the one of that name."""
        if not is_name(source):
            raise bad("a source's name is a-z, 0-9 and _, a letter first, at most 48 characters")
        refuse_encoded()
        dataset = named(self._warehouse, name)
        draft = read_draft(_described(), self._clock.now())
        if draft.kind == "url":
            self._fetcher.check(draft.description["url"])
        made, new = self._sources.put(dataset, source, draft, actor=principal().key_id)
        return (201 if new else 200), made.as_dict()

    def listed(self, name: str) -> tuple[int, Any]:
        """List the dataset's sources by name."""
        limit, cursor = page_arguments()
        found = self._sources.sources(named(self._warehouse, name), limit=limit + 1, after=name_cursor(cursor))
        return 200, page(found, limit, lambda source: source.as_dict(), lambda source: source.name)

    def get(self, name: str, source: str) -> tuple[int, Any]:
        """Return one source with its state."""
        return 200, self._sources.source(named(self._warehouse, name), _known(source)).as_dict()

    def delete(self, name: str, source: str) -> Response:
        """Remove a source; its batches stay."""
        self._sources.delete(named(self._warehouse, name), _known(source), actor=principal().key_id)
        return Response(status=204)

    def pull(self, name: str, source: str) -> tuple[int, Any]:
        """Ask for a pull now; a worker does it at once."""
        refuse_encoded()
        dataset, known = named(self._warehouse, name), _known(source)
        once = repeatable(f"POST /v1/datasets/{dataset.id}/sources/{known}/pull")
        return 202, self._sources.ask(dataset, known, actor=principal().key_id, once=once)


def _described() -> dict[str, Any]:
    described = read_json()
    if not isinstance(described, dict):
        raise bad("the body must be a JSON object")
    return described


def _known(source: str) -> str:
    if not is_name(source):
        raise ServiceError("unknown_source", "no source can bear that name: a-z, 0-9 and _, at most 48, a letter first")
    return source


_SOURCE = {"type": "object", "required": ["kind"], "properties": {"kind": {"enum": ["sql", "url"]}}}
_NAME = {"source": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}$"}}
_LIST = {"type": "object", "required": ["items", "next_cursor"], "properties": {"items": {"type": "array"}}}


def routes(sources: Sources, warehouse: Warehouse, fetcher: Fetcher, clock: Clock) -> list[Route]:
    """Return them."""
    views, many = SourceViews(sources, warehouse, fetcher, clock), "/v1/datasets/<name>/sources"
    one = f"{many}/<source>"
    return [
        Route(
            "PUT",
            one,
            views.put,
            "operate",
            "Make or change a pull source",
            body=_SOURCE,
            shapes=_NAME,
            statuses=(200, 201),
        ),
        Route(
            "GET",
            many,
            views.listed,
            "read",
            "List a dataset's pull sources",
            answer=_LIST,
            parameters=PAGE,
            statuses=(200,),
        ),
        Route("GET", one, views.get, "read", "One pull source with its state", shapes=_NAME, statuses=(200,)),
        Route(
            "DELETE",
            one,
            views.delete,
            "operate",
            "Remove a pull source; its batches stay",
            shapes=_NAME,
            statuses=(204,),
        ),
        Route("POST", f"{one}/pull", views.pull, "operate", "Pull now", shapes=_NAME, statuses=(202,)),
    ]
