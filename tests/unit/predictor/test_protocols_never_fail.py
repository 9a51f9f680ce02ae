"""Whatever is sent in a foreign protocol is answered or refused; nothing of it is a fault of ours."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainyard.testing.models import SCHEMA, sample_rows
from trainyard.testing.protocols import FORMS
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from conftest import World

ROWS = sample_rows(2)
FOREIGN = [form for form in FORMS if form.name != "own"]
#: What a part of a body is replaced by.
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.one_of(st.none(), st.integers(-3, 3), st.text(max_size=3)), max_size=4),
    st.dictionaries(st.sampled_from(["name", "shape", "data", "columns", "content_type"]), st.integers(0, 3)),
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return where every part of a JSON document is."""
    parts = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    return [here, *(path for key, part in parts for path in paths(part, (*here, key)))]


def put(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the document with another value at a path."""
    if not path:
        return value
    changed = copy.deepcopy(document)
    part = changed
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return changed


def send(world: World, path: str, headers: dict[str, str], body: bytes) -> int:
    """Return the status of the answer, after checking that it is JSON or plain text."""
    sent = {"host": "localhost", "authorization": f"Bearer {world.key}", **headers}
    response = world.service.handler.handle(Request("POST", path, "", sent, body))
    if response.headers["Content-Type"] == "application/json":
        json.loads(response.body)
    return response.status


@pytest.mark.parametrize("form", FOREIGN, ids=lambda form: form.name)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bodies_are_no_fault_of_ours(world: World, form: Any, data: st.DataObject) -> None:
    """A body of each form with a part replaced, cut, or with other bytes in it."""
    asked = form.ask("flights", SCHEMA.features, ROWS)
    length = asked.headers.get("inference-header-content-length")
    head = asked.body[: int(length)] if length else asked.body
    if head.startswith((b"{", b"[")) and data.draw(st.booleans()):
        document = json.loads(head)
        # the outer parts first: there are many more values than parts of the form
        path = data.draw(st.sampled_from(sorted(paths(document), key=len)[:60]))
        body = json.dumps(put(document, path, data.draw(ODD))).encode()
        headers = {**asked.headers, "inference-header-content-length": str(len(body))} if length else asked.headers
        body += asked.body[len(head) :]
    else:
        at = data.draw(st.integers(0, len(asked.body)))
        body = asked.body[:at] + data.draw(st.binary(max_size=6)) + asked.body[data.draw(st.integers(at, at + 9)) :]
        headers = asked.headers
    assert send(world, asked.path, headers, body) < 500
