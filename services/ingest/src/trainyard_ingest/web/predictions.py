"""The routes of the prediction log: predictions as logged, and the labels that came back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flask import request

from trainyard.adapters.web import PAGE, Route, page_arguments, principal, read_object, trace_id
from trainyard.adapters.web_views import page
from trainyard.alias_object import is_name
from trainyard.errors import ServiceError
from trainyard_ingest.domain.labels import PREDICTION_ID
from trainyard_ingest.web import shapes
from trainyard_ingest.web.body import refuse_encoded
from trainyard_ingest.web.common import ONCE, bad, number_cursor, repeatable

if TYPE_CHECKING:
    from trainyard.contracts.prediction_log import PredictionLog
    from trainyard_ingest.use_cases.feedback import TakeFeedback

_MAX_FEEDBACK_BYTES = 8 << 20
_MOST_DIGITS = 9
#: As they were logged, which goes on at its end for a reader who comes back; or from the end.
_ORDERS = ("log", "newest")


class PredictionViews:
    """Predictions as logged, and the labels that came back."""

    def __init__(self, log: PredictionLog, feedback: TakeFeedback) -> None:
        self._log = log
        self._feedback = feedback

    def listed(self) -> tuple[int, Any]:
        """List predictions in log order, or the newest first."""
        limit, cursor = page_arguments()
        model, version = request.args.get("model"), request.args.get("version")
        if version is not None and not (version.isascii() and version.isdigit() and len(version) <= _MOST_DIGITS):
            raise bad("version must be a whole number")
        order = request.args.get("order", _ORDERS[0])
        if order not in _ORDERS:
            raise bad(f"order must be {' or '.join(_ORDERS)}")
        if model is not None and (not is_name(model) or not self._log.knows(model)):
            raise ServiceError("unknown_model", "there is no model of that name")
        wanted = None if version is None else int(version)
        after, newest = number_cursor(cursor), order == "newest"
        found = self._log.page(model=model, version=wanted, limit=limit + 1, after=after, newest=newest)
        return 200, page(found, limit, lambda row: row.as_dict(), lambda row: row.seq)

    def get(self, ident: str) -> tuple[int, Any]:
        """Return one prediction."""
        found = self._log.find(ident) if PREDICTION_ID.fullmatch(ident) else None
        if found is None:
            raise ServiceError("unknown_prediction", "there is no prediction of that id in the log")
        return 200, {**found.as_dict(), "shadows": [one.as_dict() for one in self._log.shadows_of(ident)]}

    def post(self) -> tuple[int, Any]:
        """Take true labels."""
        refuse_encoded()
        items, once = read_object(required=["items"])["items"], repeatable("POST /v1/feedback")
        return 200, asdict(self._feedback.take(items, key_id=principal().key_id, trace_id=trace_id(), once=once))


def routes(log: PredictionLog, feedback: TakeFeedback) -> list[Route]:
    """Return them."""
    views = PredictionViews(log, feedback)
    return [
        Route(
            "GET",
            "/v1/predictions",
            views.listed,
            "read",
            "List predictions with their labels",
            answer=shapes.page_of(shapes.PREDICTION),
            parameters=(*PAGE, "model", "version", "order"),
            shapes={
                "version": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
                "order": {"type": "string", "enum": list(_ORDERS), "default": _ORDERS[0]},
            },
            statuses=(200,),
        ),
        Route(
            "GET",
            "/v1/predictions/<ident>",
            views.get,
            "read",
            "One prediction with its label, and what shadows would have answered",
            answer=shapes.SHADOWED_PREDICTION,
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
            headers=ONCE,
        ),
    ]
