"""The predictor's routes as a table: all of them described, and closed unless they are listed here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from conftest import World

#: What answers without a key; any other route that does is a leak.
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/v2/health/live", "/v2/health/ready", "/ping", "/health"}
OPEN |= {"/execution-parameters"}


def test_every_other_route_is_refused_without_a_key(world: World) -> None:
    """401 for each of them, in the form of its protocol; the open ones are listed here."""
    routes = world.service.handler.routes.all()
    assert {route.path for route in routes if route.scope is None} == OPEN
    for route in routes:
        path = route.path.format(target="flights", model="flights", version="1", id="bj_1")
        response = world.service.handler.handle(Request(route.method, path, "", {"host": "localhost"}))
        assert (response.status == 401) == (route.path not in OPEN), route.path


def test_the_document_has_every_route(world: World) -> None:
    """OpenAPI names each with its method, whether it needs a key, and an id of its own."""
    paths = json.loads(world.get("/openapi.json").body)["paths"]
    described = {
        (method.upper(), path, operation["security"] == [])
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    assert described == {(r.method, r.path, r.scope is None) for r in world.service.handler.routes.all()}
    idents = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(idents)) == len(idents)


def test_every_reference_of_the_document_leads_somewhere(world: World) -> None:
    """No `$ref` to a component that is not there."""
    text = world.get("/openapi.json").body.decode()
    components = json.loads(text)["components"]
    for part in text.split('"$ref":"#/components/')[1:]:
        kind, name = part.partition('"')[0].split("/")
        assert name in components[kind]
