"""What any route of the predictor may answer besides success, for its OpenAPI document: by status, in each form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.errors import CODES, ERROR_SCHEMA, PROBLEM_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable

_TEXT = {"type": "string"}
#: Every answer has them, but for a 400 to what was no HTTP.
HEADERS: dict[str, Any] = {
    "X-Request-Id": {"description": "as it was sent, or made here", "required": True, "schema": _TEXT},
    "X-Content-Type-Options": {"required": True, "schema": {"const": "nosniff"}},
}
_MORE: dict[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    429: {"Retry-After": {"required": True, "schema": {"type": "integer", "minimum": 1}}},
    503: {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}},
}

#: A Host that is not ours, a path that is too long, a fault: no route is spared.
ANY = frozenset({400, 414, 500})
#: What a key brings with it, and what a body does.
KEYED = frozenset({401, 403, 429})
BODY = frozenset({408, 413})
#: What asking for a model may end with, beside rows that do not fit.
MODEL = frozenset({404, 503})

_JSON = "application/json"
#: Errors of docs/errors.md; those of the Open Inference Protocol; those of MLflow, in which a wrong type is plain text.
FORMS: dict[str, dict[str, Any]] = {
    "Error": ERROR_SCHEMA,
    "InferenceError": {"type": "object", "required": ["error"], "properties": {"error": _TEXT}},
    "ScoringError": {
        "type": "object",
        "required": ["error_code", "message"],
        "properties": {
            "error_code": _TEXT,
            "message": _TEXT,
            "details": {"type": "array", "items": PROBLEM_SCHEMA},
        },
    },
}


def refusals(form: str, statuses: Iterable[int]) -> dict[str, Any]:
    """Return references to the answers with these statuses in one of FORMS."""
    return {str(status): {"$ref": f"#/components/responses/{form}{status}"} for status in sorted(statuses)}


def success(content: dict[str, Any], description: str = "Success", **headers: Any) -> dict[str, Any]:
    """Return an answer of these media types; underscores in the names of further headers are hyphens."""
    named = {name.replace("_", "-"): header for name, header in headers.items()}
    return {"description": description, "headers": HEADERS | named, "content": content}


def components() -> dict[str, Any]:
    """Return every answer that :func:`refusals` may refer to."""
    statuses = sorted({status for status, _ in CODES.values()})
    return {f"{form}{status}": _refusal(form, status) for form in FORMS for status in statuses}


def _refusal(form: str, status: int) -> dict[str, Any]:
    codes = ", ".join(sorted(code for code, (of, _) in CODES.items() if of == status))
    optional = {name: header | {"required": False} for name, header in HEADERS.items()}
    plain = form == "ScoringError" and status == 415
    return {
        "description": f"Refused or failed: {codes}" if form == "Error" else "Refused or failed",
        "headers": (optional if status == 400 else HEADERS) | _MORE.get(status, {}),
        "content": {"text/plain": {"schema": _TEXT}} if plain else {_JSON: {"schema": {"$ref": _schema(form)}}},
    }


def _schema(form: str) -> str:
    return f"#/components/schemas/{form}"
