"""The routes about what a dataset holds and what of it shall go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import PAGE, Route, page_arguments, principal
from trainyard.adapters.web_views import idempotency_key, page
from trainyard.contracts.keeping import MOST_MERGED
from trainyard.errors import Problem, ServiceError
from trainyard_ingest.web import shapes
from trainyard_ingest.web.common import ONCE, bad_cursor, named

if TYPE_CHECKING:
    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.use_cases.datasets import KeepDatasets


class KeepingViews:
    """Profiles and erasures."""

    def __init__(self, warehouse: Warehouse, datasets: KeepDatasets, keeping: Keeping) -> None:
        self._warehouse = warehouse
        self._datasets = datasets
        self._keeping = keeping

    def profile(self, name: str) -> tuple[int, Any]:
        """Return what the dataset holds."""
        dataset, given = named(self._warehouse, name), request.args.get("batches", str(MOST_MERGED))
        if not (given.isascii() and given.isdigit() and len(given) < 6 and 1 <= int(given) <= MOST_MERGED):
            problem = Problem(None, "batches", f"a whole number from 1 to {MOST_MERGED}", given[:80])
            raise ServiceError("bad_request", f"batches is a whole number from 1 to {MOST_MERGED}", [problem])
        return 200, self._keeping.profile(dataset, most=int(given))

    def quality(self, name: str) -> tuple[int, Any]:
        """Return how good the rows of each batch were."""
        dataset = named(self._warehouse, name)
        limit, after = page_arguments()
        try:
            found = self._keeping.quality(dataset, limit=limit + 1, after=after)
        except ServiceError as e:
            raise (bad_cursor() if e.code == "unknown_batch" else e) from e
        return 200, page(found, limit, lambda one: one.as_dict(), lambda one: one.batch_id)

    def erase(self, name: str) -> tuple[int, Any]:
        """Remove every row of a key."""
        named(self._warehouse, name)
        key = request.args.get("key")
        if key is None:
            problem = Problem(None, "key", "the key of the rows to erase", "absent")
            raise ServiceError("bad_request", "say which rows: ?key= takes the key's value", [problem])
        erasure = self._datasets.erase(name, key, actor=principal().key_id, idempotency_key=idempotency_key())
        return 200, erasure.as_dict()


def routes(warehouse: Warehouse, datasets: KeepDatasets, keeping: Keeping) -> list[Route]:
    """Return them."""
    views, one = KeepingViews(warehouse, datasets, keeping), "/v1/datasets/<name>"
    return [
        Route(
            "GET",
            f"{one}/profile",
            views.profile,
            "read",
            "What a dataset holds; ?batches= says how many of the newest reports it is put together of",
            answer=shapes.PROFILE,
            parameters=("batches",),
            shapes={"batches": {"type": "integer", "minimum": 1, "maximum": MOST_MERGED}},
            statuses=(200,),
        ),
        Route(
            "GET",
            f"{one}/quality",
            views.quality,
            "read",
            "Rejected rows and missing values of each batch, newest first",
            answer=shapes.page_of(shapes.BATCH_QUALITY),
            parameters=PAGE,
            statuses=(200,),
        ),
        Route(
            "DELETE",
            f"{one}/rows",
            views.erase,
            "admin",
            "Erase every row of a key",
            answer=shapes.ERASURE,
            parameters=("key",),
            needs=("key",),
            shapes={"key": {"type": "string"}},
            statuses=(200,),
            headers=ONCE,
        ),
    ]
