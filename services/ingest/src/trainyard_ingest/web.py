"""The HTTP routes of ingest (docs/api.md): views translate between requests and use cases, nothing more."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import (
    PAGE,
    Route,
    json_response,
    page_arguments,
    principal,
    read_body,
    read_object,
    trace_id,
)
from trainyard.alias_object import is_name
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import ServiceError
from trainyard.schema import Schema
from trainyard_ingest import shapes
from trainyard_ingest.asking import announced_sha256
from trainyard_ingest.asking import bad as _bad
from trainyard_ingest.asking import bad_cursor as _bad_cursor
from trainyard_ingest.asking import is_number as _is_number
from trainyard_ingest.asking import named as _named
from trainyard_ingest.asking import number as _number
from trainyard_ingest.asking import page as _page
from trainyard_ingest.domain import formats
from trainyard_ingest.domain.labels import PREDICTION_ID
from trainyard_ingest.domain.source import Source
from trainyard_ingest.ledger import ledger_routes
from trainyard_ingest.use_cases.datasets import KeepDatasets
from trainyard_ingest.use_cases.intake import Origin
from trainyard_ingest.web_keeping import KeepingViews, keeping_routes

if TYPE_CHECKING:
    from trainyard.contracts.keeping import Keeping
    from trainyard.contracts.loading import LoadingBoard
    from trainyard.contracts.prediction_log import PredictionLog
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.use_cases.feedback import TakeFeedback
    from trainyard_ingest.use_cases.intake import RowIntake

_MAX_FEEDBACK_BYTES = 8 << 20
_MAX_KEY_CHARS = 255
_CONTENT_TYPES = tuple(kind.content_type for kind in formats.FORMATS)
_DISCARD_BYTES = 1 << 20
_MOST_DISCARDED_BYTES = 256 << 20


def routes(
    *,
    warehouse: Warehouse,
    keeping: Keeping,
    log: PredictionLog,
    intake: RowIntake,
    feedback: TakeFeedback,
    board: LoadingBoard,
) -> list[Route]:
    """Return every route of the service."""
    datasets = KeepDatasets(warehouse, keeping)
    kept = KeepingViews(datasets, keeping, named=partial(_named, warehouse), repeated=_idempotency_key)
    return [
        *_dataset_routes(DatasetViews(warehouse, datasets)),
        *keeping_routes(kept),
        *_row_routes(BatchViews(warehouse, intake), intake.most_bytes),
        *ledger_routes(warehouse, keeping, board),
        *_log_routes(LogViews(log, feedback)),
    ]


class DatasetViews:
    """Datasets: made, changed, looked at, removed."""

    def __init__(self, warehouse: Warehouse, datasets: KeepDatasets) -> None:
        self._warehouse = warehouse
        self._datasets = datasets

    def put(self, name: str) -> tuple[int, Any]:
        """Make a dataset, or bring the one that exists to what the body says."""
        if not is_name(name):
            raise _bad("a dataset's name is a-z, 0-9 and _, a letter first, at most 48 characters")
        _refuse_encoded()
        body = read_object(required=["columns"], optional=["settings"])
        schema = Schema.from_dict({"columns": body["columns"]})
        dataset, made = self._datasets.put(name, schema, body.get("settings", {}), actor=principal().key_id)
        return (201 if made else 200), dataset.as_dict()

    def infer(self, name: str) -> tuple[int, Any]:
        """Suggest columns for a sample."""
        if not is_name(name):
            raise _bad("a dataset's name is a-z, 0-9 and _, a letter first, at most 48 characters")
        kind = _body_format()
        return 200, formats.infer(Source(_Body(), formats.MAX_SAMPLE_BYTES), kind).to_dict()

    def listed(self) -> tuple[int, Any]:
        """List datasets by name."""
        limit, after = page_arguments()
        if after is not None and not is_name(after):
            raise _bad_cursor()
        found = self._warehouse.datasets(limit=limit + 1, after=after)
        return 200, _page([dataset.as_dict() for dataset in found], limit, lambda last: str(last["name"]))

    def get(self, name: str) -> tuple[int, Any]:
        """Return one dataset."""
        return 200, _named(self._warehouse, name).as_dict()

    def delete(self, name: str) -> Response:
        """Remove a dataset."""
        _named(self._warehouse, name)
        self._warehouse.delete(name, actor=principal().key_id)
        return Response(status=204)


class BatchViews:
    """Rows in."""

    def __init__(self, warehouse: Warehouse, intake: RowIntake) -> None:
        self._warehouse = warehouse
        self._intake = intake

    def post(self, name: str) -> tuple[int, Any]:
        """Store the rows of the body as one batch."""
        _named(self._warehouse, name)
        kind = _rows_format()
        most_bytes = min(kind.most_bytes, self._intake.most_bytes)
        if (request.content_length or 0) > most_bytes:
            raise ServiceError("too_large", f"a body of {kind.content_type} may have {most_bytes:,} bytes")
        key, key_id = _idempotency_key(), principal().key_id
        fingerprint = None if key is None else f"key:{key_id}:{key}"
        origin = Origin("http", key_id, fingerprint, trace_id(), request.content_length, announced_sha256())
        body = _Body()
        try:
            stored = self._intake.take(name, body, kind, origin)
        except ServiceError as e:
            if e.code != "request_timeout":
                body.discard()
            raise
        return (201 if stored.new else 200), stored.batch.as_dict()


class LogViews:
    """Predictions as logged, and the labels that came back."""

    def __init__(self, log: PredictionLog, feedback: TakeFeedback) -> None:
        self._log = log
        self._feedback = feedback

    def listed(self) -> tuple[int, Any]:
        """List predictions in log order."""
        limit, cursor = page_arguments()
        model, version = request.args.get("model"), request.args.get("version")
        if version is not None and not _is_number(version):
            raise _bad("version must be a whole number")
        if model is not None and (not is_name(model) or not self._log.knows(model)):
            raise ServiceError("unknown_model", "there is no model of that name")
        wanted = None if version is None else int(version)
        found = self._log.page(model=model, version=wanted, limit=limit + 1, after=_number(cursor))
        cursor = str(found[limit - 1].seq) if len(found) > limit else None
        return 200, {"items": [row.as_dict() for row in found[:limit]], "next_cursor": cursor}

    def get(self, ident: str) -> tuple[int, Any]:
        """Return one prediction."""
        found = self._log.find(ident) if PREDICTION_ID.fullmatch(ident) else None
        if found is None:
            raise ServiceError("unknown_prediction", "there is no prediction of that id in the log")
        return 200, found.as_dict()

    def post(self) -> tuple[int, Any]:
        """Take true labels."""
        _refuse_encoded()
        items, key, key_id = read_object(required=["items"])["items"], _idempotency_key(), principal().key_id
        once = None
        if key is not None:
            digest = hashlib.sha256(read_body()).hexdigest()
            once = Repeatable("POST /v1/feedback", key_id, key, digest)
        return 200, asdict(self._feedback.take(items, key_id=key_id, trace_id=trace_id(), once=once))


class _Body:
    """The request's body as a stream that tells a broken upload from a complete one.

    The server takes a connection that closes early for the end of the body; half a file must not become a batch.
    """

    def __init__(self) -> None:
        self._stream = request.stream
        self._announced = request.content_length
        self._read = 0
        self._one_at_a_time = threading.Lock()

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, none at the end.

        Raises:
            ServiceError: ``bad_request``: the body ended before its announced length.
        """
        with self._one_at_a_time:
            block: bytes = self._stream.read(size)
        self._read += len(block)
        if not block and self._announced is not None and self._read < self._announced:
            raise _bad(f"the body ended after {self._read:,} of {self._announced:,} bytes; nothing was stored")
        return block

    def discard(self) -> None:
        """Throw away what has not been read of a body that was begun and refused, up to 256 MiB.

        A client that is still sending when the connection closes loses the refusal with it.
        """
        if self._read == 0:
            return
        for _ in range(_MOST_DISCARDED_BYTES // _DISCARD_BYTES):
            with self._one_at_a_time:  # whoever was reading ahead may not have ended yet
                if not self._stream.read(_DISCARD_BYTES):
                    return


def broken_body(_error: Exception) -> Response:
    """Answer a request whose body broke off, or whose chunked encoding is malformed, as the server found out."""
    return json_response(400, _bad("the body broke off or its chunked encoding is malformed").as_dict())


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (1 <= len(key) <= _MAX_KEY_CHARS and key.isprintable()):
        raise _bad(f"Idempotency-Key takes 1 to {_MAX_KEY_CHARS} printable characters")
    return key


def _refuse_encoded() -> None:
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise ServiceError("unsupported_media", "Content-Encoding is not read; send the body as it is")


def _body_format() -> formats.Format:
    _refuse_encoded()
    return formats.by_content_type(request.headers.get("Content-Type", ""))


def _rows_format() -> formats.Format:
    """Return the format of rows, which alone may come packed."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    kind = formats.by_content_type(request.headers.get("Content-Type", ""))
    if encoding in {"", "identity"}:
        return kind
    if encoding != "gzip":
        raise ServiceError(
            "unsupported_media", "Content-Encoding is one that is not read; rows may come packed by gzip"
        )
    return formats.packed(kind)


_ONCE = ("Idempotency-Key",)


def _dataset_routes(views: DatasetViews) -> list[Route]:
    one = "/v1/datasets/<name>"
    return [
        Route(
            "PUT",
            one,
            views.put,
            "operate",
            "Make or change a dataset",
            body=shapes.DATASET_BODY,
            answer=shapes.DATASET,
            statuses=(200, 201),
        ),
        Route(
            "POST",
            f"{one}/infer",
            views.infer,
            "operate",
            "Suggest columns for a sample; makes nothing",
            max_body_bytes=formats.MAX_SAMPLE_BYTES,
            takes=_CONTENT_TYPES,
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
        Route("GET", one, views.get, "read", "One dataset", answer=shapes.DATASET, statuses=(200,)),
        Route("DELETE", one, views.delete, "admin", "Remove a dataset that no model reads", statuses=(204,)),
    ]


def _row_routes(views: BatchViews, most_bytes: int) -> list[Route]:
    one = "/v1/datasets/<name>"
    return [
        Route(
            "POST",
            f"{one}/rows",
            views.post,
            "ingest",
            "Store rows as one batch",
            max_body_bytes=most_bytes,
            takes=_CONTENT_TYPES,
            body=shapes.ROWS,
            answer=shapes.BATCH,
            statuses=(200, 201),
            headers=_ONCE,
        ),
    ]


def _log_routes(views: LogViews) -> list[Route]:
    return [
        Route(
            "GET",
            "/v1/predictions",
            views.listed,
            "read",
            "List predictions with their labels",
            answer=shapes.page_of(shapes.PREDICTION),
            parameters=(*PAGE, "model", "version"),
            shapes={"version": {"type": "integer", "minimum": 0, "maximum": 999_999_999}},
            statuses=(200,),
        ),
        Route(
            "GET",
            "/v1/predictions/<ident>",
            views.get,
            "read",
            "One prediction with its label",
            answer=shapes.PREDICTION,
            statuses=(200,),
        ),
        Route(
            "POST",
            "/v1/feedback",
            views.post,
            "feedback",
            "Give true labels",
            max_body_bytes=_MAX_FEEDBACK_BYTES,
            body=shapes.LABELS,
            answer=shapes.TAKEN,
            statuses=(200,),
            headers=_ONCE,
        ),
    ]
