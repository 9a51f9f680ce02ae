"""The routes of datasets: made, changed, looked at, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response

from trainyard.adapters.web import PAGE, Route, page_arguments, principal, read_object
from trainyard.adapters.web_views import page
from trainyard.alias_object import is_name
from trainyard.schema import Schema
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.source import Source
from trainyard_ingest.web import shapes
from trainyard_ingest.web.body import CONTENT_TYPES, Body, body_format, refuse_encoded
from trainyard_ingest.web.common import bad, name_cursor, named

if TYPE_CHECKING:
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.use_cases.datasets import KeepDatasets

_ONE = "/v1/datasets/<name>"


class DatasetViews:
    """Datasets: made, changed, looked at, removed."""

    def __init__(self, warehouse: Warehouse, datasets: KeepDatasets) -> None:
        self._warehouse = warehouse
        self._datasets = datasets

    def put(self, name: str) -> tuple[int, Any]:
        """Make a dataset, or bring the one that exists to what the body says."""
        _check_name(name)
        refuse_encoded()
        body = read_object(required=["columns"], optional=["settings"])
        schema = Schema.from_dict({"columns": body["columns"]})
        dataset, made = self._datasets.put(name, schema, body.get("settings", {}), actor=principal().key_id)
        return (201 if made else 200), dataset.as_dict()

    def infer(self, name: str) -> tuple[int, Any]:
        """Suggest columns for a sample."""
        _check_name(name)
        kind = body_format()
        return 200, formats.infer(Source(Body(), formats.MAX_SAMPLE_BYTES), kind).to_dict()

    def listed(self) -> tuple[int, Any]:
        """List datasets by name."""
        limit, cursor = page_arguments()
        found = self._warehouse.datasets(limit=limit + 1, after=name_cursor(cursor))
        return 200, page(found, limit, lambda dataset: dataset.as_dict(), lambda dataset: dataset.name)

    def get(self, name: str) -> tuple[int, Any]:
        """Return one dataset."""
        return 200, named(self._warehouse, name).as_dict()

    def delete(self, name: str) -> Response:
        """Remove a dataset."""
        named(self._warehouse, name)
        self._warehouse.delete(name, actor=principal().key_id)
        return Response(status=204)


def _check_name(name: str) -> None:
    if not is_name(name):
        raise bad("a dataset's name is a-z, 0-9 and _, a letter first, at most 48 characters")


def routes(warehouse: Warehouse, datasets: KeepDatasets) -> list[Route]:
    """Return them."""
    views = DatasetViews(warehouse, datasets)
    return [
        Route(
            "PUT",
            _ONE,
            views.put,
            "operate",
            "Make or change a dataset",
            body=shapes.DATASET_BODY,
            answer=shapes.DATASET,
            statuses=(200, 201),
        ),
        Route(
            "POST",
            f"{_ONE}/infer",
            views.infer,
            "operate",
            "Suggest columns for a sample; makes nothing",
            max_body_bytes=formats.MAX_SAMPLE_BYTES,
            takes=CONTENT_TYPES,
            body=shapes.ROWS,
            answer=shapes.COLUMNS,
            statuses=(200,),
        ),
        Route(
            "GET",
            "/v1/datasets",
            views.listed,
            "read",
            "List datasets",
            answer=shapes.page_of(shapes.DATASET),
            parameters=PAGE,
            statuses=(200,),
        ),
        Route("GET", _ONE, views.get, "read", "One dataset", answer=shapes.DATASET, statuses=(200,)),
        Route("DELETE", _ONE, views.delete, "admin", "Remove a dataset that no model reads", statuses=(204,)),
    ]
