"""What Schemathesis sends to the scheduler besides what the schemas say: bodies for what is there, and model files."""

from __future__ import annotations

from typing import Any

import schemathesis
from hypothesis import strategies as st
from tests.api.as_often_as_not import good_in_place_of
from tests.api.bytes_as_they_are import as_it_is
from tests.api.scheduler_models import ARTIFACT, MODELS, imported_model

_MODEL = {"dataset": "flights", "label": "late"}
_POLICIES = [
    {},
    {"min_new_rows": 5},
    {"min_new_rows": None, "max_age": "7d"},
    {"gate": {"min_rows": 3}},
    {"metric": "x"},
]
_GOOD: dict[str, list[Any]] = {
    "/v1/models/{name}": [_MODEL, *({**_MODEL, "policy": policy} for policy in _POLICIES)],
    "/v1/models/{name}/requests": [{}, {"settings": {"seed": 5}}, {"priority": -1, "spot": False}],
    "/v1/models/{name}/aliases/{alias_name}": [
        {"version": 1},
        {"version": 2, "reason": "better"},
        {"version": 2, "weight": 0.25},
        {"version": 1, "expected_seq": 1},
    ],
    "/v1/models/{name}/versions/{number}/approve": [{"approve": True}, {"approve": False, "reason": "no"}],
    "/v1/keys": [{"name": "a", "scopes": ["read"]}, {"name": "b", "scopes": ["predict"], "expires_in_days": 1}],
    "/v1/queues/dlq/redrive": [{"queue": name, "limit": 1} for name in ("training", "arrived")],
}


@schemathesis.hook
def flatmap_body(context: schemathesis.HookContext, body: Any) -> st.SearchStrategy[Any]:
    """Send good bodies as well: a schema knows neither datasets nor versions nor queues."""
    return good_in_place_of(context, body, _GOOD)


_FILES = [imported_model(name, weight) for name in MODELS for weight in (2.0, 3.0)]
_BROKEN = [_FILES[0][:-1], _FILES[0][:40] + b"\0" + _FILES[0][41:], b"\x80", b""]
schemathesis.openapi.media_type(ARTIFACT, st.sampled_from([*_FILES, *_BROKEN]) | st.binary(max_size=40))
schemathesis.serializer(ARTIFACT)(as_it_is)
