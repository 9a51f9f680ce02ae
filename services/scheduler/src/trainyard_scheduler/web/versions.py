"""Routes of versions, aliases and deployments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Response, request

from trainyard.adapters.openapi import NAME
from trainyard.adapters.web import PAGE, Route, page_arguments, read_object
from trainyard.adapters.web_views import page
from trainyard_scheduler import views
from trainyard_scheduler.use_cases import models, serving, versions
from trainyard_scheduler.use_cases.answers import Outcome
from trainyard_scheduler.web.common import (
    MAX_REASON_CHARS,
    asker,
    bad_request,
    changed,
    name_cursor,
    number_cursor,
    optional_object,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.scheduling import Records, Store

_ALIAS = {
    "type": "object",
    "required": ["version"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "integer", "minimum": 1},
        "weight": {"type": "number", "minimum": 0, "maximum": 1},
        "expected_seq": {"type": "integer", "minimum": 0},
        "reason": {"type": "string", "maxLength": MAX_REASON_CHARS},
    },
}
_ALIAS_NAME = {"alias_name": NAME}
_DECISION = {
    "type": "object",
    "required": ["approve"],
    "additionalProperties": False,
    "properties": {
        "approve": {"type": "boolean"},
        "reason": {"type": "string", "maxLength": MAX_REASON_CHARS},
    },
}


def routes(store: Store, blobs: BlobStore) -> list[Route]:
    def listed(name: str) -> Any:
        limit, cursor = page_arguments()
        before = number_cursor(cursor)
        with store.begin() as records:
            model = models.model_called(records, name)
            found = records.versions.versions(model.id, limit + 1, None if before is None else min(before, 2**31 - 1))
        return 200, page(found, limit, views.version, lambda record: record.version)

    def shown(name: str, number: int) -> Any:
        with store.begin() as records:
            return 200, views.version(versions.version_of(records, models.model_called(records, name), number))

    def decide(name: str, number: int) -> Any:
        body = read_object(required=("approve",), optional=("reason",))
        approve, reason = body["approve"], reason_of(body)
        if not isinstance(approve, bool):
            raise bad_request("approve must be true or false")

        def change(records: Records) -> Outcome:
            decided = versions.decide(records, name, number, approve=approve, reason=reason, by=asker())
            return Outcome(200, views.version(decided))

        return changed(store, change)

    def aliases(name: str) -> Any:
        name_cursor(page_arguments()[1])  # a model has few aliases: every list is whole
        with store.begin() as records:
            found = records.versions.aliases(models.model_called(records, name).id)
        return 200, {"items": [views.alias(record) for record in found], "next_cursor": None}

    def alias(name: str, alias_name: str) -> Any:
        with store.begin() as records:
            return 200, views.alias(versions.alias_of(records, models.model_called(records, name), alias_name))

    def put_alias(name: str, alias_name: str) -> Any:
        body = read_object(required=("version",), optional=("weight", "expected_seq", "reason"))
        version, expected_seq = _whole(body, "version", 1), _whole(body, "expected_seq", 0)
        weight = _share(body, "weight")
        if version is None:
            raise bad_request("version must be a whole number from 1")
        reason = reason_of(body) or "by hand"
        with store.begin() as records:
            moved = versions.set_alias(
                records,
                name,
                alias_name,
                version,
                expected_seq=expected_seq,
                reason=reason,
                by=asker(),
                weight=weight,
            )
        return 200, views.alias(moved)

    def delete_alias(name: str, alias_name: str) -> Any:
        with store.begin() as records:
            versions.remove_alias(records, name, alias_name, asker())
        return Response(status=204)

    def roll_back(name: str) -> Any:
        body = optional_object(optional=("expected_seq", "reason"))
        expected_seq, reason = _whole(body, "expected_seq", 0), reason_of(body)

        def change(records: Records) -> Outcome:
            moved = versions.roll_back(records, name, reason, asker(), expected_seq=expected_seq)
            return Outcome(200, views.alias(moved))

        return changed(store, change)

    def deployments(name: str) -> Any:
        limit, cursor = page_arguments()
        before, at = number_cursor(cursor), _at()
        with store.begin() as records:
            model = models.model_called(records, name)
            if at is not None:
                found = records.versions.deployed_at(model.id, at)
                return 200, {"items": [views.deployment(record) for record in found], "next_cursor": None}
            found = records.versions.deployments(model.id, limit + 1, before)
            now = records.upkeep.now()
        listed_now = {"serving": serving.serving(blobs, now, model.name)} if before is None else {}
        return 200, {**page(found, limit, views.deployment, lambda record: record.id), **listed_now}

    one = "/v1/models/<name>"
    alias_rule = f"{one}/aliases/<alias_name>"
    return [
        Route("GET", f"{one}/versions", listed, "read", "Versions, newest first", parameters=PAGE),
        Route("GET", f"{one}/versions/<int:number>", shown, "read", "One version"),
        Route(
            "POST",
            f"{one}/versions/<int:number>/approve",
            decide,
            "operate",
            "Approve or reject a version that waits",
            body=_DECISION,
        ),
        Route("GET", f"{one}/aliases", aliases, "read", "Aliases", parameters=PAGE),
        Route("GET", alias_rule, alias, "read", "One alias", shapes=_ALIAS_NAME),
        Route(
            "PUT",
            alias_rule,
            put_alias,
            "operate",
            "Point an alias at a version",
            body=_ALIAS,
            shapes=_ALIAS_NAME,
            statuses=(200,),
        ),
        Route("DELETE", alias_rule, delete_alias, "operate", "Remove an alias", shapes=_ALIAS_NAME, statuses=(204,)),
        Route("POST", f"{one}/rollback", roll_back, "operate", "Move the champion back to the previous version"),
        _of_all(store),
        Route(
            "GET",
            f"{one}/deployments",
            deployments,
            "read",
            "Who served when, newest first, and on the first page which processes serve what; ?at= asks for a time",
            parameters=(*PAGE, "at"),
        ),
    ]


def _of_all(store: Store) -> Route:
    def moves() -> Any:
        limit, cursor = page_arguments()
        before = number_cursor(cursor)
        with store.begin() as records:
            found = records.versions.deployments_of_all(limit + 1, before)
        return 200, page(
            found, limit, lambda move: {"model": move[0], **views.deployment(move[1])}, lambda move: move[1].id
        )

    summary = "Which version of which model served when, newest first"
    return Route("GET", "/v1/deployments", moves, "read", summary, parameters=PAGE)


def _whole(body: Mapping[str, Any], key: str, least: int) -> int | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise bad_request(f"{key} must be a whole number from {least}")
    return value


def _share(body: Mapping[str, Any], key: str) -> float | None:
    value = body.get(key)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1):
        raise bad_request(f"{key} must be a number from 0 to 1")
    return None if value is None else float(value)


def _at() -> datetime | None:
    text = request.args.get("at")
    if text is None:
        return None
    try:
        # A '+' that was not escaped in the query arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        # In UTC, because Postgres does not read every offset that Python does.
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise bad_request("at must be a time such as 2026-01-31T12:00:00Z") from e
