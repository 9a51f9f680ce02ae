"""The route by which rows come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import Route, principal, trace_id
from trainyard.adapters.web_views import idempotency_key
from trainyard.errors import ServiceError
from trainyard_ingest.use_cases.intake import Origin
from trainyard_ingest.web import shapes
from trainyard_ingest.web.body import CONTENT_TYPES, Body, announced_sha256, rows_format
from trainyard_ingest.web.common import ONCE, named

if TYPE_CHECKING:
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.use_cases.intake import RowIntake


class RowViews:
    """Rows in."""

    def __init__(self, warehouse: Warehouse, intake: RowIntake) -> None:
        self._warehouse = warehouse
        self._intake = intake

    def post(self, name: str) -> tuple[int, Any]:
        """Store the rows of the body as one batch."""
        named(self._warehouse, name)
        kind = rows_format()
        most_bytes = min(kind.most_bytes, self._intake.most_bytes)
        if (request.content_length or 0) > most_bytes:
            raise ServiceError("too_large", f"a body of {kind.content_type} may have {most_bytes:,} bytes")
        key, key_id = idempotency_key(), principal().key_id
        fingerprint = None if key is None else f"key:{key_id}:{key}"
        origin = Origin("http", key_id, fingerprint, trace_id(), request.content_length, announced_sha256())
        body = Body()
        try:
            stored = self._intake.take(name, body, kind, origin)
        except ServiceError as e:
            if e.code != "request_timeout":
                body.discard()
            raise
        return (201 if stored.new else 200), stored.batch.as_dict()


def routes(warehouse: Warehouse, intake: RowIntake) -> list[Route]:
    """Return it."""
    return [
        Route(
            "POST",
            "/v1/datasets/<name>/rows",
            RowViews(warehouse, intake).post,
            "ingest",
            "Store rows as one batch",
            max_body_bytes=intake.most_bytes,
            takes=CONTENT_TYPES,
            body=shapes.ROWS,
            answer=shapes.BATCH,
            statuses=(200, 201),
            headers=ONCE,
        ),
    ]
