"""The foreign protocols' part of the predictor's OpenAPI document."""

from __future__ import annotations

from typing import Any

from trainyard.errors import PROBLEM_SCHEMA

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
#: What is refused, in the form of each protocol.
RESPONSES: dict[str, Any] = {
    "InferenceError": {
        "description": "Refused or failed",
        "content": {"application/json": {"schema": _object("error", error=_TEXT)}},
    },
    "ScoringError": {
        "description": "Refused or failed; 415 in plain text",
        "content": {
            "application/json": {
                "schema": _object("error_code message", error_code=_TEXT, message=_TEXT, details=_list(PROBLEM_SCHEMA))
            },
            "text/plain": {},
        },
    },
}


def _operation(
    summary: str,
    ident: str,
    answer: dict[str, Any],
    *,
    errors: str,
    body: dict[str, Any] | None = None,
    needed: bool = True,
    path: tuple[str, ...] = (),
    scope: str | None = "predict",
    more: tuple[dict[str, Any], ...] = (),
) -> dict[str, Any]:
    """Return an operation; ``answer`` and ``body`` are media types with their schemas, ``needed``: not without body."""
    named = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in path]
    operation: dict[str, Any] = {
        "summary": summary,
        "operationId": ident,
        "parameters": [*named, *more],
        "responses": {
            "200": {"description": "Success", "content": answer},
            "4XX": _see("responses", errors),
            "5XX": _see("responses", errors),
        },
        "security": [] if scope is None else [{"key": [scope]}],
    }
    if body is not None:
        operation["requestBody"] = {"required": needed, "content": body}
    return operation


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _inference(
    summary: str, ident: str, schema: dict[str, Any], *, path: tuple[str, ...] = (), scope: str | None = "predict"
) -> dict[str, Any]:
    return {"get": _operation(summary, ident, _json(schema), errors="InferenceError", path=path, scope=scope)}


def _model(path: tuple[str, ...], suffix: str) -> dict[str, Any]:
    """Return the operations of a model, or of one of its versions."""
    begin = "/v2/models/" + "/versions/".join(f"{{{name}}}" for name in path)
    ready = _object("name ready", name=_TEXT, ready={"type": "boolean"})
    binary: dict[str, Any] = {"application/octet-stream": {}}
    infer = _operation(
        "Predict the rows that tensors hold",
        f"infer{suffix}",
        _json(_see("schemas", "InferResponse")) | binary,
        errors="InferenceError",
        body=_json(_see("schemas", "InferRequest")) | binary,
        path=path,
        more=({"name": "Inference-Header-Content-Length", "in": "header", "schema": {"type": "integer"}},),
    )
    return {
        begin: _inference("What a model takes and gives", f"model{suffix}", _see("schemas", "Model"), path=path),
        f"{begin}/ready": _inference("Whether a model can be asked", f"modelReady{suffix}", ready, path=path),
        f"{begin}/infer": {"post": infer},
    }


def _scoring(summary: str, ident: str, answer: dict[str, Any], scope: str | None = None) -> dict[str, Any]:
    return {"get": _operation(summary, ident, answer, errors="ScoringError", scope=scope)}


_SERVER = _object("name version extensions", name=_TEXT, version=_TEXT, extensions=_list(_TEXT))
_INDEX = _list(_object("name", name=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT))
_LIMITS = _object(
    "MaxConcurrentTransforms BatchStrategy MaxPayloadInMB",
    MaxConcurrentTransforms={"type": "integer"},
    BatchStrategy=_TEXT,
    MaxPayloadInMB={"type": "integer"},
)
_PLAIN: dict[str, Any] = {"text/plain": {}}

PATHS: dict[str, Any] = {
    "/v2": _inference("The server", "server", _SERVER),
    "/v2/health/live": _inference(
        "Whether the process is alive", "live", _object("live", live={"type": "boolean"}), scope=None
    ),
    "/v2/health/ready": _inference(
        "Whether the service can do its job", "ready", _object("ready", ready={"type": "boolean"}), scope=None
    ),
    "/v2/models": _inference("Names of all models", "models", _object("models", models=_list(_TEXT))),
    "/v2/repository/index": {
        "post": _operation(
            "All models, and whether they have a champion",
            "index",
            _json(_INDEX),
            errors="InferenceError",
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
            {**_json({"type": ["object", "array"]}), "text/csv": {}},
            errors="ScoringError",
            body={**_json({"anyOf": [_see("schemas", "Frame"), {"type": "array"}]}), "text/csv": {}},
            more=(
                {"name": "X-Trainyard-Model", "in": "header", "schema": _TEXT},
                {"name": "model", "in": "query", "schema": _TEXT},
            ),
        )
    },
    "/ping": _scoring("Whether there is a model to ask", "ping", _PLAIN),
    "/health": _scoring("Whether there is a model to ask", "health", _PLAIN),
    "/version": _scoring("The release", "release", _PLAIN, "predict"),
    "/execution-parameters": _scoring("How a batch transform is to send", "executionParameters", _json(_LIMITS)),
}
