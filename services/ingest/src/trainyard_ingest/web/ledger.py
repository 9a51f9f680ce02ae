"""The routes of the ledger of batches: what came, what is on its way, what was rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import PAGE, Route, page_arguments
from trainyard.adapters.web_views import page
from trainyard.errors import PROBLEM_SCHEMA, Problem, ServiceError
from trainyard_ingest.domain import exports
from trainyard_ingest.web import shapes
from trainyard_ingest.web.common import bad_cursor, named, number_cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.loading import LoadingBoard
    from trainyard.contracts.warehouse import Batch, Warehouse

_STATES = ("committed", "refused", "loading")
_DOWNLOADS = ("text/csv", "application/x-ndjson")
_AT_ONCE = 1_000


class LedgerViews:
    """Batches, those on their way in too."""

    def __init__(self, warehouse: Warehouse, keeping: Keeping, board: LoadingBoard) -> None:
        self._warehouse = warehouse
        self._keeping = keeping
        self._board = board

    def listed(self, name: str) -> tuple[int, Any]:
        """List batches, newest first."""
        dataset = named(self._warehouse, name)
        limit, after = page_arguments()
        state = _state()
        if state == "loading":
            if after is not None:
                raise bad_cursor()
            loading = [one.as_dict() for one in self._board.listed(dataset, limit)]
            return 200, {"items": loading, "next_cursor": None}
        try:
            found = self._warehouse.batches(dataset, limit=limit + 1, after=after, state=state)
        except ServiceError as e:
            raise (bad_cursor() if e.code == "unknown_batch" else e) from e
        return 200, page(found, limit, lambda batch: batch.as_dict(), lambda batch: batch.id)

    def get(self, name: str, ident: str) -> tuple[int, Any]:
        """Return one batch, or how far it is."""
        dataset = named(self._warehouse, name)
        return 200, self._wherever(ident, lambda: self._warehouse.batch(dataset, ident), name)

    def get_of_any(self, ident: str) -> tuple[int, Any]:
        """Return one batch of any dataset, or how far it is."""
        return 200, self._wherever(ident, lambda: self._warehouse.batch_of_any(ident))

    def _wherever(self, ident: str, look: Callable[[], Batch], dataset: str | None = None) -> dict[str, Any]:
        """Return a batch of the ledger, else of the board; ``look`` raises ``unknown_batch``."""
        try:
            return self._reported(look())
        except ServiceError as e:
            if e.code != "unknown_batch":
                raise
        loading = self._board.find(ident)
        if loading is not None and dataset in {None, loading.dataset}:
            return loading.as_dict()
        return self._reported(look())  # it may have arrived between the two looks

    def _reported(self, batch: Batch) -> dict[str, Any]:
        """Return a batch with its quality report."""
        return {**batch.as_dict(), "report": self._keeping.report(batch.id)}

    def rejects(self, name: str, ident: str) -> tuple[int, Any] | Response:
        """List the problems of a batch's rejected rows: a page, or all of them as a file."""
        batch = self._warehouse.batch(named(self._warehouse, name), ident)
        kind = request.accept_mimetypes.best_match(("application/json", *_DOWNLOADS), "application/json")
        if kind in _DOWNLOADS:
            return self._download(batch, kind)
        limit, cursor = page_arguments()
        found = self._warehouse.rejects(batch, limit=limit + 1, after=number_cursor(cursor))
        return 200, page(found, limit, lambda numbered: numbered[1].as_dict(), lambda numbered: numbered[0])

    def _download(self, batch: Batch, kind: str) -> Response:
        as_csv = kind == "text/csv"
        pages = self._pages(batch)
        first = next(pages)  # an outage is told by the status, not by half a file

        def body() -> Iterator[bytes]:
            if as_csv:
                yield exports.csv_header()
            lines = exports.csv_lines if as_csv else exports.ndjson_lines
            yield lines(first)
            for problems in pages:
                yield lines(problems)

        name = f"rejects-{batch.id}.{'csv' if as_csv else 'ndjson'}"
        return Response(body(), mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})

    def _pages(self, batch: Batch) -> Iterator[list[Problem]]:
        """Yield all problems, a page at a time; the first page may be empty."""
        after = 0
        while True:
            found = self._warehouse.rejects(batch, limit=_AT_ONCE, after=after)
            yield [problem for _, problem in found]
            if len(found) < _AT_ONCE:
                return
            after = found[-1][0]


def _state() -> str | None:
    state = request.args.get("state")
    if state is not None and state not in _STATES:
        problem = Problem(None, "state", f"one of {', '.join(_STATES)}", state[:80])
        raise ServiceError("bad_request", f"state must be one of {', '.join(_STATES)}", [problem])
    return state


def routes(warehouse: Warehouse, keeping: Keeping, board: LoadingBoard) -> list[Route]:
    """Return them."""
    views = LedgerViews(warehouse, keeping, board)
    batches = "/v1/datasets/<name>/batches"
    return [
        Route(
            "GET",
            batches,
            views.listed,
            "read",
            "List batches, newest first",
            answer=shapes.page_of(shapes.BATCH),
            parameters=(*PAGE, "state"),
            shapes={"state": {"type": "string", "enum": list(_STATES)}},
            statuses=(200,),
        ),
        Route(
            "GET",
            f"{batches}/<ident>",
            views.get,
            "read",
            "One batch, on its way in or over",
            answer=shapes.BATCH,
            statuses=(200,),
        ),
        Route(
            "GET",
            "/v1/batches/<ident>",
            views.get_of_any,
            "read",
            "One batch of any dataset",
            answer=shapes.BATCH,
            statuses=(200,),
        ),
        Route(
            "GET",
            f"{batches}/<ident>/rejects",
            views.rejects,
            "read",
            "Rejected rows; with Accept text/csv or application/x-ndjson all of them as a file",
            answer=shapes.page_of(PROBLEM_SCHEMA),
            parameters=PAGE,
            gives=_DOWNLOADS,
            statuses=(200,),
        ),
    ]
