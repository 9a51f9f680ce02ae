"""The predictor's OpenAPI 3.1 document, as a value."""

from __future__ import annotations

from typing import Any

from trainyard_predictor import openapi_answers, openapi_batch, openapi_protocols
from trainyard_predictor.domain import MAX_EXPLAINED_ROWS, MAX_ROWS
from trainyard_predictor.openapi_answers import ANY, BODY, KEYED, MODEL, refusals, success

_VALUE = {"type": ["string", "number", "boolean", "null"]}
_REQUEST = {
    "type": "object",
    "required": ["rows"],
    "additionalProperties": False,
    "properties": {
        "rows": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ROWS,
            "items": {"type": "object", "additionalProperties": _VALUE},
        },
        "explain": {
            "type": "boolean",
            "default": False,
            "description": f"Also say what each column contributes; at most {MAX_EXPLAINED_ROWS} rows then.",
        },
    },
}
_EXPLANATION = {
    "type": "object",
    "description": "base and contributions sum to score, before any calibration; only where explain was true",
    "required": ["unit", "base", "contributions", "score"],
    "properties": {
        "class": {
            "type": ["string", "integer", "boolean"],
            "description": "What the score speaks for: the positive class, or the predicted one of several.",
        },
        "unit": {"enum": ["log-odds", "logit", "log-value", "probability", "value"]},
        "base": {"type": "number"},
        "contributions": {"type": "object", "additionalProperties": {"type": "number"}},
        "score": {"type": "number"},
    },
    "additionalProperties": False,
}
_ANSWER = {
    "type": "object",
    "required": ["model", "version", "rows"],
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "integer", "minimum": 1},
        "rows": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["prediction", "prediction_id"],
                "properties": {
                    "prediction": {"type": ["string", "number", "boolean"]},
                    "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
                    "explanation": _EXPLANATION,
                    "prediction_id": {"type": "string", "pattern": "^pr_[0-9a-f]{32}$"},
                    "logged": {"const": False, "description": "Only there when the prediction could not be logged."},
                },
            },
        },
    },
}
_ALIVE = {"type": "object", "required": ["alive"], "properties": {"alive": {"const": True}}}
_READY = {
    "type": "object",
    "required": ["ready", "needs", "models"],
    "properties": {
        "ready": {"type": "boolean"},
        "needs": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["model", "asked", "version", "seq", "golden", "refused"],
                "properties": {
                    "model": {"type": "string"},
                    "asked": {"type": ["string", "integer"], "description": "an alias or a version"},
                    "version": {"type": ["integer", "null"]},
                    "seq": {"type": ["integer", "null"]},
                    "golden": {"type": "boolean"},
                    "refused": {"type": ["string", "null"]},
                },
            },
        },
    },
}
_PREDICT = {
    "summary": "Predict rows by a model's champion, another alias, or a version",
    "operationId": "predict",
    "parameters": [
        {
            "name": "target",
            "in": "path",
            "required": True,
            "description": "model, model@alias or model@version",
            "schema": {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,47}(@([a-z][a-z0-9_]{0,47}|[1-9][0-9]{0,8}))?$"},
        },
        {
            "name": "Idempotency-Key",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        {
            "name": "x-trainyard-sticky",
            "in": "header",
            "required": False,
            "description": "Who is to stay with one version while a challenger answers a share of the requests.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
    ],
    "requestBody": {"required": True, "content": {"application/json": {"schema": _REQUEST}}},
    "responses": {
        "200": success(
            {"application/json": {"schema": _ANSWER}},
            "One answer for each row, in the order of the rows",
            x_trainyard_version={"required": True, "schema": {"type": "integer"}},
        ),
        **refusals("Error", ANY | KEYED | BODY | MODEL | {409, 415, 422, 504}),
    },
    "security": [{"key": ["predict"]}],
}


def document(version: str) -> dict[str, Any]:
    """Return the document of release ``version``."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Trainyard predictor", "version": version},
        "paths": {
            "/v1/predict/{target}": {"post": _PREDICT},
            **openapi_batch.PATHS,
            **openapi_protocols.PATHS,
            "/healthz": {"get": _open("Whether the process is alive", "healthz", _json(_ALIVE))},
            "/readyz": {"get": _readiness()},
            "/metrics": {"get": _open("Prometheus metrics", "metrics", {"text/plain": {"schema": {"type": "string"}}})},
            "/openapi.json": {"get": _open("This document", "openapi", _json({"type": "object"}))},
        },
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "API key ty_..."}},
            "schemas": {**openapi_batch.SCHEMAS, **openapi_protocols.SCHEMAS, **openapi_answers.FORMS},
            "responses": openapi_answers.components(),
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _open(summary: str, ident: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": ident,
        "responses": {"200": success(content), **refusals("Error", ANY)},
        "security": [],
    }


def _readiness() -> dict[str, Any]:
    operation = _open("Whether the service can do its job; 503 while it cannot", "readyz", _json(_READY))
    operation["responses"]["503"] = success(_json(_READY), "Not ready")
    deep = "1: score the golden rows again if the last time is over 1 s ago, not 10 s"
    operation["parameters"] = [{"name": "deep", "in": "query", "description": deep, "schema": {"type": "string"}}]
    return operation
