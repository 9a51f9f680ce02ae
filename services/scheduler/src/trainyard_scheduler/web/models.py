"""Routes of models: what they are, why they trained, how good they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import PAGE, Route, page_arguments, read_object
from trainyard.adapters.web_views import page
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import models, overview, quality, traffic
from trainyard_scheduler.web.common import asker, bad_request, name_cursor, number_cursor

if TYPE_CHECKING:
    from trainyard.contracts.scheduling import Store

_MODEL = {
    "type": "object",
    "required": ["dataset", "label"],
    "additionalProperties": False,
    "properties": {
        "dataset": {"type": "string"},
        "label": {"type": "string"},
        "task": {"enum": ["auto", "binary", "multiclass", "regression"]},
        "policy": {"type": "object"},
    },
}

_MICROSECONDS = {"type": ["integer", "null"], "minimum": 0}
_FIGURES = {
    "predictions": {"type": "integer", "minimum": 0},
    "versions": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
    "p50_us": _MICROSECONDS,
    "p95_us": _MICROSECONDS,
    "p99_us": _MICROSECONDS,
}
_BUCKET = {"at": {"type": "string", "format": "date-time"}, **_FIGURES}
_TRAFFIC = {
    "type": "object",
    "required": ["bucket_seconds", "items", "total"],
    "properties": {
        "bucket_seconds": {"enum": [3_600, 86_400]},
        "items": {
            "type": "array",
            "items": {"type": "object", "required": [*_BUCKET], "properties": _BUCKET, "additionalProperties": False},
        },
        "total": {"type": "object", "required": [*_FIGURES], "properties": _FIGURES, "additionalProperties": False},
    },
    "additionalProperties": False,
}


def routes(store: Store) -> list[Route]:
    def listed() -> Any:
        limit, cursor = page_arguments()
        with store.begin() as records:
            found = records.models.page(limit + 1, name_cursor(cursor))
        return 200, page(found, limit, views.model, lambda record: record.name)

    def shown(name: str) -> Any:
        with store.begin() as records:
            return 200, views.model(models.model_called(records, name))

    def put(name: str) -> Any:
        body = read_object(required=("dataset", "label"), optional=("task", "policy"))
        with store.begin() as records:
            created, record = models.put_model(records, name, body, asker())
        return (201 if created else 200), views.model(record)

    def delete(name: str) -> Any:
        with store.begin() as records:
            models.delete_model(records, name, asker())
        return Response(status=204)

    def decisions(name: str) -> Any:
        limit, cursor = page_arguments()
        before = number_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.requests.decisions(model.id, limit + 1, before)
        return 200, page(found, limit, views.decision, lambda record: record.id)

    def live_quality(name: str) -> Any:
        most = _whole_number("predictions", quality.MOST_PREDICTIONS, most=quality.MOST_PREDICTIONS, least=0)
        with store.begin() as records:
            return 200, quality.shown(records, models.model_called(records, name), most)

    def answered(name: str) -> Any:
        hours = _whole_number("hours", 24, most=traffic.MOST_HOURS)
        with store.begin() as records:
            return 200, traffic.shown(records, models.model_called(records, name), hours)

    def overview_of_all() -> Any:
        limit = _whole_number("limit", overview.MOST_MODELS, most=overview.MOST_MODELS)
        with store.begin() as records:
            return 200, {"items": overview.shown(records, limit)}

    one = "/v1/models/<name>"
    return [
        Route(
            "GET",
            "/v1/overview",
            overview_of_all,
            "read",
            "The first models by name, each with its newest version, decision, drift and alarm, labels and traffic",
            parameters=("limit",),
            shapes={"limit": {"type": "integer", "minimum": 1, "maximum": overview.MOST_MODELS}},
            answer={"type": "object", "required": ["items"], "properties": {"items": {"type": "array"}}},
            statuses=(200,),
        ),
        Route("GET", "/v1/models", listed, "read", "All models", parameters=PAGE),
        Route("GET", one, shown, "read", "One model"),
        Route("PUT", one, put, "operate", "Create a model or change its policy", body=_MODEL),
        Route("DELETE", one, delete, "admin", "Delete a model; its records stay", statuses=(204,)),
        Route(
            "GET", f"{one}/decisions", decisions, "read", "Why it trained, or did not, newest first", parameters=PAGE
        ),
        Route(
            "GET",
            f"{one}/quality",
            live_quality,
            "read",
            "Live metrics, drift and alarms; ?predictions= says how many of the newest open windows are made of",
            parameters=("predictions",),
            shapes={"predictions": {"type": "integer", "minimum": 0, "maximum": quality.MOST_PREDICTIONS}},
        ),
        Route(
            "GET",
            f"{one}/traffic",
            answered,
            "read",
            "How many predictions it answered, and how quickly, by the hour; from 73 ?hours= on by the day",
            answer=_TRAFFIC,
            parameters=("hours",),
            shapes={"hours": {"type": "integer", "minimum": 1, "maximum": traffic.MOST_HOURS}},
            statuses=(200,),
        ),
    ]


def _whole_number(name: str, default: int, *, most: int, least: int = 1) -> int:
    """Return a parameter of the query; raises ``ServiceError``."""
    given = request.args.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) < 10 and least <= int(given) <= most):
        raise bad_request(f"{name} is a whole number from {least} to {most}")
    return int(given)
