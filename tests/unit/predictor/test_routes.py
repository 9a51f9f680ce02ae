"""The predictor's document, besides what the test of access holds it and every other service to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import World


def test_each_operation_has_an_id_of_its_own(world: World) -> None:
    """Clients that are made from the document name their methods by it."""
    paths = json.loads(world.get("/openapi.json").body)["paths"]
    idents = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(idents)) == len(idents)


def test_every_reference_of_the_document_leads_somewhere(world: World) -> None:
    """No `$ref` to a component that is not there."""
    text = world.get("/openapi.json").body.decode()
    components = json.loads(text)["components"]
    for part in text.split('"$ref":"#/components/')[1:]:
        kind, name = part.partition('"')[0].split("/")
        assert name in components[kind]
