"""The part about batch jobs of the predictor's OpenAPI document."""

from __future__ import annotations

from typing import Any

from trainyard_predictor.batch.job import STATES
from trainyard_predictor.domain import CHAMPION
from trainyard_predictor.openapi_answers import ANY, BODY, KEYED, MODEL, refusals, success
from trainyard_predictor.protocols.batch_jobs import DEFAULT_LIMIT, MOST_LIMIT

_TARGET = {
    "type": "string",
    "pattern": "^[a-z][a-z0-9_]{0,47}(@([a-z][a-z0-9_]{0,47}|[1-9][0-9]{0,8}))?$",
    "description": f"model, model@alias or model@version; the {CHAMPION} where it says the model alone",
}
_ID_PATTERN = "^bj_[0-9a-f]{21}$"
_SHARE = {"type": "number", "minimum": 0, "maximum": 1, "description": "part of the rows that is logged"}
#: What asking for a job may end with; the store may be away.
_STORED = ANY | KEYED | {404, 503}
_KEY = [{"key": ["predict"]}]
_JOB = {"$ref": "#/components/schemas/BatchJob"}


def _or_null(kind: str) -> dict[str, Any]:
    return {"type": [kind, "null"]}


_COUNT = {"type": "integer", "minimum": 0}
SCHEMAS: dict[str, Any] = {
    "BatchJob": {
        "type": "object",
        "required": ["id", "model", "version", "state", "input", "rows", "good", "bad"],
        "properties": {
            "id": {"type": "string", "pattern": _ID_PATTERN},
            "model": {"type": "string"},
            "version": {**_COUNT, "description": "0 where the file was refused before a version was known"},
            "state": {"enum": list(STATES)},
            "input": {"type": "string"},
            "format": {"type": "string"},
            "input_bytes": _COUNT,
            "bytes_done": _COUNT,
            "rows": _COUNT,
            "good": _COUNT,
            "bad": _COUNT,
            "rows_per_second": _or_null("number"),
            "eta_seconds": _or_null("number"),
            "log_share": _SHARE,
            "created_at": {"type": "string"},
            "started_at": _or_null("string"),
            "finished_at": _or_null("string"),
            "output": _or_null("string"),
            "output_bytes": _COUNT,
            "rejects": _or_null("string"),
            "rejects_bytes": _COUNT,
            "error": {
                "type": ["object", "null"],
                "required": ["code", "message"],
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    }
}


def _query(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


_ID = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_RANGE = {"name": "Range", "in": "header", "required": False, "schema": {"type": "string"}}
_ROWS = {"type": "string", "description": "the file"}


def _answer(status: str, what: str, schema: dict[str, Any], errors: frozenset[int] = _STORED) -> dict[str, Any]:
    return {status: success({"application/json": {"schema": schema}}, what), **refusals("Error", errors)}


def _file(summary: str, ident: str, kinds: list[str]) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}} for kind in kinds}
    return {
        "summary": summary,
        "operationId": ident,
        "parameters": [_ID, _RANGE],
        "responses": {
            "200": success(content, "All of it"),
            "206": success(content, "The piece that Range asks for, or its beginning"),
            **refusals("Error", _STORED | {409, 413}),
        },
        "security": _KEY,
    }


PATHS: dict[str, Any] = {
    "/v1/batch-jobs": {
        "get": {
            "summary": "List batch jobs, newest first: the key's own, or all where it may read",
            "operationId": "listBatchJobs",
            "parameters": [
                _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_LIMIT, "default": DEFAULT_LIMIT}),
                _query("cursor", {"type": "string", "pattern": _ID_PATTERN}),
                _query("model", {"type": "string"}),
            ],
            "responses": _answer(
                "200",
                "A page",
                {
                    "type": "object",
                    "required": ["items", "next_cursor"],
                    "properties": {"items": {"type": "array", "items": _JOB}, "next_cursor": _or_null("string")},
                },
            ),
            "security": _KEY,
        },
        "post": {
            "summary": "Have a file scored: one that is sent, or one that lies in the bucket",
            "operationId": "createBatchJob",
            "parameters": [
                _query("model", {**_TARGET, "description": "where the body is the file itself"}),
                _query("name", {"type": "string", "description": "what the file is called"}),
                _query("log_share", _SHARE),
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                },
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "text/csv": {"schema": _ROWS},
                    "application/x-ndjson": {"schema": _ROWS},
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "required": ["model", "input"],
                            "additionalProperties": False,
                            "properties": {
                                "model": _TARGET,
                                "input": {"type": "string", "pattern": "^batch/in/"},
                                "log_share": _SHARE,
                            },
                        }
                    },
                },
            },
            "responses": _answer("202", "The job", _JOB, ANY | KEYED | BODY | MODEL | {409, 415, 422}),
            "security": _KEY,
        },
    },
    "/v1/batch-jobs/{id}": {
        "get": {
            "summary": "How far a job is",
            "operationId": "getBatchJob",
            "parameters": [_ID],
            "responses": _answer("200", "The job", _JOB),
            "security": _KEY,
        },
        "delete": {
            "summary": "End a job",
            "operationId": "cancelBatchJob",
            "parameters": [_ID],
            "responses": _answer("200", "The job", _JOB, _STORED | {409}),
            "security": _KEY,
        },
    },
    "/v1/batch-jobs/{id}/output": {
        "get": _file("The scored rows", "getBatchOutput", ["text/csv", "application/x-ndjson"])
    },
    "/v1/batch-jobs/{id}/rejects": {"get": _file("The bad lines", "getBatchRejects", ["application/x-ndjson"])},
}
