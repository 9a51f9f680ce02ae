"""What Schemathesis sends to the predictor besides what the schemas say: rows that fit the model, in every protocol."""

from __future__ import annotations

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st
from tests.api.as_often_as_not import good_in_place_of
from tests.api.bytes_as_they_are import as_it_is

from trainyard.testing.models import SCHEMA, sample_rows
from trainyard.testing.protocols import FORMS

_ROWS = [sample_rows(n, seed) for seed, n in enumerate((1, 2, 9))]
_ASKED = [form.ask("flights", SCHEMA.features, rows) for form in FORMS for rows in _ROWS]


#: Headers that a body cannot be read without.
_NEEDED = {"content-encoding", "inference-header-content-length"}
_LENGTH = "Inference-Header-Content-Length"


def _bodies(path: str, kind: str) -> list[bytes]:
    """Return good bodies of a path that can be read by their media type alone."""
    return [
        asked.body
        for asked in _ASKED
        if asked.path == path and asked.headers["content-type"].startswith(kind) and not _NEEDED & set(asked.headers)
    ]


def _good(path: str) -> list[Any]:
    return [json.loads(body) for body in _bodies(path, "application/json")]


_OWN = [body | more for body in _good("/v1/predict/flights") for more in ({}, {"explain": True}, {"explain": False})]
_INFER = _good("/v2/models/flights/infer")
_INFER += [body | {"parameters": {"explain": True}, "outputs": [{"name": "base"}]} for body in _INFER]
_GOOD = {
    "/v1/predict/{target}": _OWN,
    "/v2/models/{model}/infer": _INFER,
    "/v2/models/{model}/versions/{version}/infer": _INFER,
    "/invocations": _good("/invocations"),
}


@schemathesis.hook
def flatmap_body(context: schemathesis.HookContext, body: Any) -> st.SearchStrategy[Any]:
    """Send good bodies as well: a schema does not know the model's columns."""
    return good_in_place_of(context, body, _GOOD)


@schemathesis.hook
def flatmap_headers(_context: schemathesis.HookContext, headers: Any) -> st.SearchStrategy[Any]:
    """Leave out a length of the JSON that could be one as often as not: it hardly ever is that of the body."""
    if not str((headers or {}).get(_LENGTH, "")).isdigit():
        return st.just(headers)
    return st.sampled_from([headers, {name: value for name, value in headers.items() if name != _LENGTH}])


_CSV = _bodies("/invocations", "text/csv")
schemathesis.openapi.media_type("text/csv", st.sampled_from(_CSV) | st.text(max_size=40).map(str.encode))
_TENSORS = [json.dumps(body).encode() for body in _INFER]
schemathesis.openapi.media_type("application/octet-stream", st.sampled_from(_TENSORS) | st.binary(max_size=40))

for _kind in ("text/csv", "application/octet-stream"):
    schemathesis.serializer(_kind)(as_it_is)
