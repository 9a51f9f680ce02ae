"""The foreign protocols' part of the predictor's OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard_predictor.openapi_answers import ANY, BODY, KEYED, MODEL, refusals, success

if TYPE_CHECKING:
    from collections.abc import Collection

_TEXT = {"type": "string"}
_DATATYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"]
_DATATYPES += ["FP16", "FP32", "FP64", "BYTES"]


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _see(kind: str, name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/{kind}/{name}"}


_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_SHAPE = _list({"type": "integer"})
_TENSOR = {"name": _TEXT, "shape": _SHAPE, "datatype": {"enum": _DATATYPES}, "parameters": _PARAMETERS}

SCHEMAS: dict[str, Any] = {
    "TensorMetadata": _object("name datatype shape", **_TENSOR),
    "Tensor": _object("name shape datatype", **_TENSOR, data={"type": "array"}),
    "InferRequest": _object(
        "inputs",
        id=_TEXT,
        parameters=_PARAMETERS,
        inputs=_list(_see("schemas", "Tensor")) | {"minItems": 1},
        outputs=_list(_object("name", name=_TEXT, parameters=_PARAMETERS)),
    ),
    "InferResponse": _object(
        "model_name outputs",
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_PARAMETERS,
        outputs=_list(_see("schemas", "Tensor")),
    ),
    "Model": _object(
        "name platform inputs outputs",
        name=_TEXT,
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(_see("schemas", "TensorMetadata")),
        outputs=_list(_see("schemas", "TensorMetadata")),
    ),
    "Frame": {
        "oneOf": [
            _object("dataframe_split", dataframe_split=_object("columns data", columns=_list(_TEXT), data=_list({}))),
            _object("dataframe_records", dataframe_records=_list({"type": "object"})),
            _object("instances", instances={"type": "array"}),
            _object("inputs", inputs={"type": ["object", "array"]}),
        ],
        "properties": {
            "params": _object("", probabilities={"type": "boolean"}, explain={"type": "boolean"}),
        },
    },
}
#: Callers may give each request an id of their own, and stay with one version while a challenger is tried.
_CALLER = tuple(
    {"name": name, "in": "header", "schema": {"type": "string", "minLength": 1, "maxLength": 255}}
    for name in ("Idempotency-Key", "x-trainyard-sticky")
)
_VERSION = {"required": True, "schema": {"type": "integer"}}


def _operation(
    summary: str,
    ident: str,
    answer: dict[str, Any],
    *,
    errors: str,
    fails: Collection[int] = (),
    body: dict[str, Any] | None = None,
    needed: bool = True,
    path: tuple[str, ...] = (),
    scope: str | None = "predict",
    more: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """Return an operation.

    Args:
        summary: what it does.
        ident: its id.
        answer: the 200.
        errors: the form of its refusals.
        fails: their statuses, beside those that a key, a body, or being asked at all brings with it.
        body: media types that it takes, with their schemas.
        needed: whether it does nothing without a body.
        path: names in its path.
        scope: what the API key must carry; None: no key is asked for.
        more: further parameters.
    """
    named = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in path]
    statuses = ANY | set(fails) | (KEYED if scope else set()) | (BODY if body else set())
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": ident,
        "parameters": [*named, *more],
        "responses": {"200": answer, **refusals(errors, statuses)},
        "security": [] if scope is None else [{"key": [scope]}],
    }
    if body is not None:
        operation["requestBody"] = {"required": needed, "content": body}
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _inference(
    summary: str,
    ident: str,
    schema: dict[str, Any],
    *,
    fails: Collection[int] = (),
    path: tuple[str, ...] = (),
    scope: str | None = "predict",
) -> dict[str, Any]:
    answer = success(_json(schema))
    operation = _operation(summary, ident, answer, errors="InferenceError", fails=fails, path=path, scope=scope)
    return {"get": operation}


def _model(path: tuple[str, ...], suffix: str) -> dict[str, Any]:
    """Return the operations of a model, or of one of its versions."""
    begin = "/v2/models/" + "/versions/".join(f"{{{name}}}" for name in path)
    ready = _object("name ready", name=_TEXT, ready={"type": "boolean"})
    length = {"schema": {"type": "integer", "minimum": 0}}
    binary: dict[str, Any] = {"application/octet-stream": {}}
    infer = _operation(
        "Predict the rows that tensors hold",
        f"infer{suffix}",
        success(
            _json(_see("schemas", "InferResponse")) | binary,
            x_trainyard_version=_VERSION,
            Inference_Header_Content_Length={"description": "where tensors follow the JSON", **length},
        ),
        errors="InferenceError",
        fails=MODEL | {415, 504},
        body=_json(_see("schemas", "InferRequest")) | binary,
        path=path,
        more=({"name": "Inference-Header-Content-Length", "in": "header", **length}, *_CALLER),
    )
    return {
        begin: _inference(
            "What a model takes and gives", f"model{suffix}", _see("schemas", "Model"), fails=MODEL, path=path
        ),
        f"{begin}/ready": _inference(
            "Whether a model can be asked", f"modelReady{suffix}", ready, fails=MODEL, path=path
        ),
        f"{begin}/infer": {"post": infer},
    }


def _server_ready() -> dict[str, Any]:
    schema = _object("ready", ready={"type": "boolean"})
    found = _inference("Whether the service can do its job; 503 while it cannot", "ready", schema, scope=None)
    found["get"]["responses"]["503"] = success(_json(schema), "Not ready")
    return found


def _scoring(
    summary: str, ident: str, content: dict[str, Any], *, fails: Collection[int] = (), scope: str | None = None
) -> dict[str, Any]:
    return {"get": _operation(summary, ident, success(content), errors="ScoringError", fails=fails, scope=scope)}


_SERVER = _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_list(_TEXT))
_INDEX = _list(_object("name", name=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT))
_LIMITS = _object(
    "MaxConcurrentTransforms BatchStrategy MaxPayloadInMB",
    MaxConcurrentTransforms={"type": "integer"},
    BatchStrategy=_TEXT,
    MaxPayloadInMB={"type": "integer"},
)
_PLAIN: dict[str, Any] = {"text/plain": {"schema": _TEXT}}
_CSV: dict[str, Any] = {"text/csv": {"schema": _TEXT}}

PATHS: dict[str, Any] = {
    "/v2": _inference("The server", "server", _SERVER),
    "/v2/health/live": _inference(
        "Whether the process is alive", "live", _object("live", live={"type": "boolean"}), scope=None
    ),
    "/v2/health/ready": _server_ready(),
    "/v2/models": _inference("Names of all models", "models", _object("models", models=_list(_TEXT)), fails={503}),
    "/v2/repository/index": {
        "post": _operation(
            "All models, and whether they have a champion",
            "index",
            success(_json(_INDEX)),
            errors="InferenceError",
            fails={503},
            body=_json(_object("", ready={"type": "boolean"})),
            needed=False,
        )
    },
    **_model(("model",), ""),
    **_model(("model", "version"), "OfVersion"),
    "/invocations": {
        "post": _operation(
            "Predict rows as MLflow and SageMaker send them",
            "invocations",
            success(
                _json({"type": ["object", "array"]}) | _CSV,
                x_trainyard_version=_VERSION,
                x_trainyard_prediction_ids={"description": "of at most 100 rows, with commas between", "schema": _TEXT},
                x_trainyard_logged={"description": "where not every row could be logged", "schema": {"const": "false"}},
            ),
            errors="ScoringError",
            fails=MODEL | {415, 504},
            body=_json({"anyOf": [_see("schemas", "Frame"), {"type": "array"}]}) | _CSV,
            more=(
                {"name": "X-Trainyard-Model", "in": "header", "schema": _TEXT},
                {"name": "model", "in": "query", "schema": _TEXT},
                *_CALLER,
            ),
        )
    },
    "/ping": _scoring("Whether there is a model to ask", "ping", _PLAIN, fails=MODEL),
    "/health": _scoring("Whether there is a model to ask", "health", _PLAIN, fails=MODEL),
    "/version": _scoring("The release", "release", _PLAIN, scope="predict"),
    "/execution-parameters": _scoring("How a batch transform is to send", "executionParameters", _json(_LIMITS)),
}
