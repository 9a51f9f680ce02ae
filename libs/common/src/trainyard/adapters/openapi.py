"""The OpenAPI 3.1 document of a service's routes: what they take, and everything that they may answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trainyard.errors import CODES, ERROR_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.adapters.web import Route

NAME = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}$"}
READINESS = {
    "type": "object",
    "required": ["ready", "needs"],
    "properties": {
        "ready": {"type": "boolean"},
        "needs": {"type": "object", "additionalProperties": {"type": "boolean"}},
    },
}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "name": NAME,
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "cursor": {"type": "string", "description": "next_cursor of the page before"},
}
_HEADERS: dict[str, dict[str, Any]] = {
    "Idempotency-Key": {
        "description": "The same key and body again are answered alike, and done once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~][ -~]*$"},
    },
}
_PLACE = re.compile(r"<(?:\w+:)?(\w+)>")
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}


def document(service: str, routes: Sequence[Route], version: str) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(_PLACE.sub(r"{\1}", route.rule), {})[route.method.lower()] = _operation(route)
    answers = {str(status): _error(status) for status in sorted({status for status, _ in CODES.values()})}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Trainyard {service}", "version": version},
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "API key ty_..."}},
            "schemas": {"Error": ERROR_SCHEMA},
            "responses": answers,
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    described = {
        "summary": route.summary,
        "operationId": f"{route.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', route.rule.lower()).strip('_')}",
        "parameters": _parameters(route),
        "responses": {
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in _refusals(route)},
            **_successes(route),
        },
        "security": [] if route.scope is None else [{"key": [route.scope]}],
    }
    if route.takes or route.body:
        kinds = route.takes or ("application/json",)
        content = {kind: {"schema": route.body if _is_json(kind) else {"type": "string"}} for kind in kinds}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(route: Route) -> list[dict[str, Any]]:
    def shape(name: str) -> dict[str, Any]:
        return route.shapes.get(name) or _PARAMETERS.get(name) or {"type": "string", "minLength": 1}

    return [
        *({"name": n, "in": "path", "required": True, "schema": shape(n)} for n in _PLACE.findall(route.rule)),
        *({"name": n, "in": "query", "required": n in route.needs, "schema": shape(n)} for n in route.parameters),
        *({"name": n, "in": "header", "required": False, **_HEADERS[n]} for n in route.headers),
    ]


def _successes(route: Route) -> dict[str, Any]:
    kinds = (route.media, *route.gives)
    content = {"content": {kind: {"schema": route.answer if _is_json(kind) else {"type": "string"}} for kind in kinds}}
    return {
        str(status): {"description": "Success"} | ({} if status == 204 else content)
        for status in route.statuses or ("2XX",)
    }


def _refusals(route: Route) -> list[int]:
    """Return what the route may answer instead: by what it has to check, and what may be away."""
    found = {400, 413, 414, 500, 503, *route.fails}
    if route.scope is not None:
        found |= {401, 403}
    if _PLACE.search(route.rule):
        found |= {404}
    if route.parameters:  # they may name something that there is not
        found |= {404}
    if route.method in _WRITES:
        found |= {404, 409, 422}
    if route.takes or route.body:
        found |= {408, 415}
    return sorted(found)


def _error(status: int) -> dict[str, Any]:
    codes = sorted(code for code, (of, _) in CODES.items() if of == status)
    answer: dict[str, Any] = {
        "description": f"Refused or failed: {', '.join(codes)}",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    return answer


def _is_json(content_type: str) -> bool:
    return content_type == "application/json"
