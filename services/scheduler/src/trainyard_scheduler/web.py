"""The scheduler's HTTP routes (docs/api.md): read the request, call a use case, show the records."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.web import Route, page_arguments, principal, read_object, trace_id
from trainyard.alias_object import is_name
from trainyard.contracts.idempotency import Repeatable
from trainyard.errors import ServiceError
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import keys, models, quality, requests, versions
from trainyard_scheduler.use_cases.answers import By, Outcome, once

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.contracts.fleet import Fleet
    from trainyard.contracts.queue import Queue
    from trainyard.contracts.scheduling import Records, Store
    from trainyard.doctor import Doctor
    from trainyard_scheduler.events import EventStreams

_MAX_KEY_CHARS = 255
_MAX_REASON_CHARS = 500
_LAST_ID = 2**63 - 1


@dataclass(frozen=True)
class Services:
    """What the routes need. ``queues``: by short name, each with its dead-letter queue."""

    store: Store
    fleet: Fleet
    fleet_max: int
    queues: Mapping[str, tuple[Queue, Queue]]
    doctor: Doctor
    events: EventStreams


def routes(services: Services) -> list[Route]:
    """Return every route of the scheduler."""
    return [
        *_model_routes(services.store),
        *_request_routes(services.store),
        *_version_routes(services.store),
        *_key_routes(services.store),
        *_status_routes(services),
    ]


def _by() -> By:
    return By(principal().key_id, trace_id())


def _bad(message: str) -> ServiceError:
    return ServiceError("bad_request", message)


def _change(store: Store, change: Callable[[Records], Outcome]) -> Response:
    """Make a change that an Idempotency-Key may repeat, and answer."""
    status, body = once(store, _repeatable(), change)
    return Response(body, status=status, mimetype="application/json")


def _repeatable() -> Repeatable | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (1 <= len(key) <= _MAX_KEY_CHARS and key.isprintable()):
        raise _bad(f"Idempotency-Key takes 1 to {_MAX_KEY_CHARS} printable characters")
    digest = hashlib.sha256(request.get_data(cache=True)).hexdigest()
    return Repeatable(f"POST {request.path}", principal().key_id, key, digest)


def _page(found: Sequence[Any], limit: int, show: Callable[[Any], Any], cursor: Callable[[Any], Any]) -> dict[str, Any]:
    """Return one page of ``found``, of which one more than ``limit`` was asked for."""
    shown = list(found[:limit])
    more = str(cursor(shown[-1])) if len(found) > limit else None
    return {"items": [show(item) for item in shown], "next_cursor": more}


def _number_cursor(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 19 and int(cursor) <= _LAST_ID):
        raise _bad("the cursor is not one of this list")
    return int(cursor)


def _uuid_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not requests.is_uuid(cursor):
        raise _bad("the cursor is not one of this list")
    return cursor


def _name_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not is_name(cursor):
        raise _bad("the cursor is not one of this list")
    return cursor


def _optional_object(*, optional: Sequence[str]) -> dict[str, Any]:
    """Return the body as an object with some of these keys; no body is an empty object."""
    return read_object(optional=optional) if request.get_data(cache=True).strip() else {}


def _reason(body: Mapping[str, Any]) -> str:
    reason = body.get("reason", "")
    if not isinstance(reason, str) or len(reason) > _MAX_REASON_CHARS or "\0" in reason:
        raise _bad(f"reason must be text of at most {_MAX_REASON_CHARS} characters")
    return reason


# --- models ---


def _model_routes(store: Store) -> list[Route]:
    def listed() -> Any:
        limit, cursor = page_arguments()
        with store.begin() as records:
            found = records.models.page(limit + 1, _name_cursor(cursor))
        return 200, _page(found, limit, views.model, lambda record: record.name)

    def shown(name: str) -> Any:
        with store.begin() as records:
            return 200, views.model(models.model_called(records, name))

    def put(name: str) -> Any:
        body = read_object(required=("dataset", "label"), optional=("task", "policy"))
        with store.begin() as records:
            created, record = models.put_model(records, name, body, _by())
        return (201 if created else 200), views.model(record)

    def delete(name: str) -> Any:
        with store.begin() as records:
            models.delete_model(records, name, _by())
        return Response(status=204)

    def decisions(name: str) -> Any:
        limit, cursor = page_arguments()
        before = _number_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.requests.decisions(model.id, limit + 1, before)
        return 200, _page(found, limit, views.decision, lambda record: record.id)

    def live_quality(name: str) -> Any:
        with store.begin() as records:
            model = models.model_called(records, name)
            answered = records.predictions.answered(name, most=quality.MOST_PREDICTIONS)
            return 200, {"windows": quality.quality(answered, since=model.created_at)}

    one = "/v1/models/<name>"
    return [
        Route("GET", "/v1/models", listed, "read", "All models"),
        Route("GET", one, shown, "read", "One model"),
        Route("PUT", one, put, "operate", "Create a model or change its policy", body=_MODEL),
        Route("DELETE", one, delete, "admin", "Delete a model; its records stay"),
        Route("GET", f"{one}/decisions", decisions, "read", "Why it trained, or did not, newest first"),
        Route("GET", f"{one}/quality", live_quality, "read", "Live metrics of each version"),
    ]


# --- requests and runs ---


def _request_routes(store: Store) -> list[Route]:
    def ask(name: str) -> Any:
        settings = _optional_object(optional=("settings",)).get("settings", {})

        def change(records: Records) -> Outcome:
            created, record = requests.ask(records, name, settings, _by())
            return Outcome(201 if created else 200, views.request(record))

        return _change(store, change)

    def listed(name: str) -> Any:
        limit, cursor = page_arguments()
        before = _uuid_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.requests.page(model.id, limit + 1, before)
        return 200, _page(found, limit, views.request, lambda record: record.id)

    def shown(request_id: str) -> Any:
        with store.begin() as records:
            return 200, views.request(requests.request_of(records, request_id))

    def cancel(request_id: str) -> Any:
        _optional_object(optional=())
        return _change(store, lambda records: Outcome(200, views.request(requests.cancel(records, request_id, _by()))))

    def runs() -> Any:
        limit, cursor = page_arguments()
        before, model = _uuid_cursor(cursor), request.args.get("model")
        with store.begin() as records:
            if model is not None:
                models.model_called(records, model)
            found = records.requests.runs(model, limit + 1, before)
        return 200, _page(found, limit, views.run, lambda record: record.id)

    def run(run_id: str) -> Any:
        with store.begin() as records:
            found = records.requests.run(run_id) if requests.is_uuid(run_id) else None
        if found is None:
            raise ServiceError("unknown_run", f"there is no run {run_id[:80]!r}")
        return 200, views.run(found)

    of_model, one = "/v1/models/<name>/requests", "/v1/requests/<request_id>"
    return [
        Route("POST", of_model, ask, "operate", "Train now on all rows there are", body=_SETTINGS),
        Route("GET", of_model, listed, "read", "Training requests, newest first"),
        Route("GET", one, shown, "read", "One training request"),
        Route("POST", f"{one}/cancel", cancel, "operate", "Cancel a training request"),
        Route("GET", "/v1/runs", runs, "read", "Runs, newest first; ?model= restricts"),
        Route("GET", "/v1/runs/<run_id>", run, "read", "One run with its trials"),
    ]


# --- versions, aliases, deployments ---


def _version_routes(store: Store) -> list[Route]:
    def listed(name: str) -> Any:
        limit, cursor = page_arguments()
        before = _number_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.versions.versions(model.id, limit + 1, None if before is None else min(before, 2**31 - 1))
        return 200, _page(found, limit, views.version, lambda record: record.version)

    def shown(name: str, number: int) -> Any:
        with store.begin() as records:
            return 200, views.version(versions.version_of(records, models.model_called(records, name), number))

    def aliases(name: str) -> Any:
        with store.begin() as records:
            found = records.versions.aliases(models.model_called(records, name).id)
        return 200, {"items": [views.alias(record) for record in found], "next_cursor": None}

    def alias(name: str, alias_name: str) -> Any:
        with store.begin() as records:
            return 200, views.alias(versions.alias_of(records, models.model_called(records, name), alias_name))

    def put_alias(name: str, alias_name: str) -> Any:
        body = read_object(required=("version",), optional=("expected_seq", "reason"))
        version, expected_seq = _whole(body, "version", 1), _whole(body, "expected_seq", 0)
        if version is None:
            raise _bad("version must be a whole number from 1")
        reason = _reason(body) or "by hand"
        with store.begin() as records:
            moved = versions.set_alias(
                records, name, alias_name, version, expected_seq=expected_seq, reason=reason, by=_by()
            )
        return 200, views.alias(moved)

    def delete_alias(name: str, alias_name: str) -> Any:
        with store.begin() as records:
            versions.remove_alias(records, name, alias_name, _by())
        return Response(status=204)

    def roll_back(name: str) -> Any:
        reason = _reason(_optional_object(optional=("reason",)))
        return _change(
            store, lambda records: Outcome(200, views.alias(versions.roll_back(records, name, reason, _by())))
        )

    def deployments(name: str) -> Any:
        limit, cursor = page_arguments()
        before, at = _number_cursor(cursor), _at()
        with store.begin() as records:
            model = models.model_called(records, name)
            if at is not None:
                found = records.versions.deployed_at(model.id, at)
                return 200, {"items": [views.deployment(record) for record in found], "next_cursor": None}
            found = records.versions.deployments(model.id, limit + 1, before)
        return 200, _page(found, limit, views.deployment, lambda record: record.id)

    one = "/v1/models/<name>"
    return [
        Route("GET", f"{one}/versions", listed, "read", "Versions, newest first"),
        Route("GET", f"{one}/versions/<int:number>", shown, "read", "One version"),
        Route("GET", f"{one}/aliases", aliases, "read", "Aliases"),
        Route("GET", f"{one}/aliases/<alias_name>", alias, "read", "One alias"),
        Route("PUT", f"{one}/aliases/<alias_name>", put_alias, "operate", "Point an alias at a version", body=_ALIAS),
        Route("DELETE", f"{one}/aliases/<alias_name>", delete_alias, "operate", "Remove an alias"),
        Route("POST", f"{one}/rollback", roll_back, "operate", "Move the champion back to the previous version"),
        Route("GET", f"{one}/deployments", deployments, "read", "Who served when, newest first; ?at= asks for a time"),
    ]


def _whole(body: Mapping[str, Any], key: str, least: int) -> int | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise _bad(f"{key} must be a whole number from {least}")
    return value


def _at() -> datetime | None:
    text = request.args.get("at")
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
        # In UTC, because Postgres does not read every offset that Python does.
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise _bad("at must be a time such as 2026-01-31T12:00:00Z") from e


# --- keys ---


def _key_routes(store: Store) -> list[Route]:
    def listed() -> Any:
        limit, cursor = page_arguments()
        with store.begin() as records:
            found = records.keys.page(limit + 1, cursor)
        return 200, _page(found, limit, views.key, lambda record: record.id)

    def make() -> Any:
        body = read_object(required=("name", "scopes"), optional=("expires_in_days",))

        def change(records: Records) -> Outcome:
            record, key = keys.make_key(records, body["name"], body["scopes"], body.get("expires_in_days"), _by())
            shown = views.key(record)
            return Outcome(201, {**shown, "key": key}, repeat={**shown, "key": None})

        return _change(store, change)

    def revoke(key_id: str) -> Any:
        with store.begin() as records:
            keys.revoke_key(records, key_id, _by())
        return Response(status=204)

    return [
        Route("GET", "/v1/keys", listed, "admin", "API keys, without their secrets"),
        Route("POST", "/v1/keys", make, "admin", "Make an API key; it is shown once", body=_KEY),
        Route("DELETE", "/v1/keys/<key_id>", revoke, "admin", "Revoke an API key"),
    ]


# --- what is going on ---


def _status_routes(services: Services) -> list[Route]:
    store = services.store

    def fleet() -> Any:
        instances = services.fleet.instances()
        with store.begin() as records:
            waiting = len(records.requests.open_requests())
            launches = records.launches.open()
        return 200, {
            "instances": [views.instance(instance) for instance in instances],
            "launches": [views.launch(launch) for launch in launches],
            "open_requests": waiting,
            "max": services.fleet_max,
        }

    def queues() -> Any:
        return 200, {
            "queues": [
                views.queue(name, queue.depth(), dead.depth()) for name, (queue, dead) in services.queues.items()
            ]
        }

    def audit() -> Any:
        limit, cursor = page_arguments()
        before = _number_cursor(cursor)
        with store.begin() as records:
            found = records.journal.audit_page(limit + 1, before)
        return 200, _page(found, limit, views.audit, lambda record: record.id)

    def doctor() -> Any:
        report = services.doctor.examine()
        return 200, {"healthy": report.healthy, "checks": [asdict(check) for check in report.checks]}

    def events() -> Any:
        after = _number_cursor(request.headers.get("Last-Event-ID"))
        stream = services.events.open(after)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return Response(stream, mimetype="text/event-stream", headers=headers)

    get = partial(Route, "GET")
    return [
        get("/v1/fleet", fleet, "read", "Instances, launches and open requests"),
        get("/v1/queues", queues, "read", "How many messages each queue holds"),
        get("/v1/audit", audit, "admin", "Who changed what, newest first"),
        get("/v1/doctor", doctor, "admin", "Whether everything fits together, and how to mend what does not"),
        get("/v1/events", events, "read", "What happens, as server-sent events"),
    ]


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
_SETTINGS = {"type": "object", "additionalProperties": False, "properties": {"settings": {"type": "object"}}}
_ALIAS = {
    "type": "object",
    "required": ["version"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "expected_seq": {"type": "integer", "minimum": 0},
        "reason": {"type": "string", "maxLength": _MAX_REASON_CHARS},
    },
}
_KEY = {
    "type": "object",
    "required": ["name", "scopes"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "scopes": {"type": "array", "minItems": 1, "items": {"type": "string"}},
        "expires_in_days": {"type": ["integer", "null"], "minimum": 1},
    },
}
