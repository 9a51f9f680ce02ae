"""Errors that cross a service's edge, and the one table of their codes.

A use case raises ``ServiceError("unknown_dataset", "...")``; the HTTP edge turns it into the JSON of DESIGN
§4.3 with the status that the table gives the code. ``docs/errors.md`` is generated from the same table.
"""

from __future__ import annotations

from trainyard.frozen import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: code -> (HTTP status, meaning and next step)
CODES: dict[str, tuple[int, str]] = {
    "bad_json": (400, "The body is not the JSON that the route takes; the message says where it breaks."),
    "bad_csv": (
        400,
        "The CSV cannot be read: not UTF-8, no header, a ragged line or a broken quote; the message names the line.",
    ),
    "bad_parquet": (
        400,
        "The Parquet file cannot be read, or has a column that no dataset can have.",
    ),
    "bad_gzip": (400, "The body is not one whole gzip stream."),
    "bad_request": (400, "A parameter is missing, unknown or out of range; the details name it."),
    "empty_body": (400, "The route needs a body and got none."),
    "url_refused": (400, "The URL is not one that data may be pulled from; docs/sources.md says which are."),
    "bad_host": (400, "The Host header is not one of the names this service answers to."),
    "no_key": (
        401,
        "Send 'Authorization: Bearer ty_...' with a live API key; `trainyard key list` shows the keys.",
    ),
    "bad_key": (401, "The API key is unknown, malformed, expired or revoked."),
    "wrong_scope": (403, "The API key is valid but does not carry the scope that the route needs."),
    "not_found": (404, "No such route or object."),
    "unknown_dataset": (404, "No dataset of that name; create it with PUT /v1/datasets/{name}."),
    "unknown_batch": (404, "No batch of that id in this dataset."),
    "unknown_source": (404, "No source of that name in this dataset; create it with PUT .../sources/{name}."),
    "unknown_model": (404, "No model of that name; create it with PUT /v1/models/{name}."),
    "unknown_version": (404, "The model has no such version."),
    "unknown_alias": (404, "The model has no such alias."),
    "unknown_request": (404, "No training request of that id."),
    "unknown_run": (404, "No run of that id."),
    "unknown_prediction": (404, "No prediction of that id in the log (it may still be on its way)."),
    "unknown_batch_job": (404, "No batch job of that id, or it is another key's; `trainyard batch list` shows yours."),
    "unknown_queue": (404, "No queue of that name; the message lists them."),
    "unknown_trace": (404, "Nothing has that id, be it a trace id or that of a record; it may still be on its way."),
    "unknown_key": (404, "No API key of that id."),
    "method_not_allowed": (405, "The path exists but not with this method."),
    "request_timeout": (408, "The request did not arrive whole in time."),
    "no_model": (
        409,
        "The model exists but has no champion yet; wait for its first version or train it by hand.",
    ),
    "cannot_explain": (
        409,
        "The version lacks what contributions need or is too large for them; train it again or leave explain out.",
    ),
    "conflict": (
        409,
        "The object exists with other content, or was changed by somebody else meanwhile; read it again and repeat.",
    ),
    "in_progress": (
        409,
        "The same Idempotency-Key is being worked on right now; repeat after Retry-After seconds.",
    ),
    "in_use": (409, "The object is still used by another; the message names it."),
    "too_large": (413, "The body is larger than the route takes; the message gives the limit."),
    "csv_limit": (413, "The CSV is over a limit: line, cell, columns or rows; the message gives it."),
    "json_limit": (413, "The JSON is over a limit: depth, length of a string, keys; the message gives it."),
    "parquet_limit": (413, "The Parquet file is over a limit: footer, row groups, rows or unpacked size."),
    "bomb": (413, "The compressed body unpacks to far more than any table does; the message gives the limit."),
    "uri_too_long": (414, "The path and query are longer than 4 KiB."),
    "unsupported_media": (
        415,
        "The Content-Type or Content-Encoding is not one that the route reads; the message lists them.",
    ),
    "invalid_schema": (422, "The dataset's schema is not valid; the details list every problem."),
    "invalid_rows": (422, "Rows do not fit the schema; the details give row, column, expected and got."),
    "invalid_model": (422, "The model or its policy is not valid; the details list every problem."),
    "invalid_artifact": (
        422,
        "The body is not a model file that can be served, or none of this model and its dataset; the message says why.",
    ),
    "source_refused": (422, "The source cannot be pulled from as it is described; the message says what to change."),
    "narrowing": (
        422,
        "Columns can be added and widened, not narrowed; the details list each that would be.",
    ),
    "key_reused": (422, "The Idempotency-Key was used before with another body."),
    "too_many_requests": (429, "The API key has asked too often; repeat after Retry-After seconds."),
    "headers_too_large": (431, "The head of the request has too many headers or bytes; the message gives the limit."),
    "internal": (500, "A fault of ours; the log has the request id."),
    "unavailable": (503, "Something this service needs does not answer just now; repeat with backoff."),
    "not_logged": (
        503,
        "The prediction cannot be logged just now, and the predictor is set to answer none that is not; repeat later.",
    ),
    "deadline_exceeded": (504, "The answer was not ready in time; send fewer rows, or repeat."),
}

#: The JSON schema of :meth:`Problem.as_dict`.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["row", "column", "expected", "got"],
    "properties": {
        "row": {"type": ["integer", "null"], "description": "counts from 1"},
        "column": {"type": ["string", "null"]},
        "expected": {"type": "string"},
        "got": {"type": "string"},
    },
    "additionalProperties": False,
}
#: The JSON schema of :meth:`ServiceError.as_dict`.
ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {
                "code": {"type": "string", "enum": sorted(CODES)},
                "message": {"type": "string"},
                "details": {"type": "array", "items": PROBLEM_SCHEMA},
            },
        }
    },
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the input: where, what was expected, what came.

    ``row`` counts from 1 in the caller's own order; None where the problem is not in a row.
    """

    row: int | None
    column: str | None
    expected: str
    got: str

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form of DESIGN §4.3."""
        return {"row": self.row, "column": self.column, "expected": self.expected, "got": self.got}


class TrainyardError(Exception):
    """Base of every error that this project raises on purpose."""


@dataclass
class ServiceError(TrainyardError):
    """An answer other than success, with a code of :data:`CODES`."""

    code: str
    message: str
    details: list[Problem] = field(default_factory=list)
    retry_after_seconds: int | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"error code {self.code!r} is not in the table")
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return CODES[self.code][0]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON body of DESIGN §4.3."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "details": [p.as_dict() for p in self.details],
            }
        }


class TransientError(TrainyardError):
    """Something outside did not answer as it should; the same call may succeed later."""


class ArtifactError(TrainyardError):
    """Bytes that are not an acceptable model; ``code`` names the rule that they break (docs/model-format.md)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class MessageError(TrainyardError):
    """A queue message that cannot be read; ``raw`` keeps its body for whoever looks at the dead letter."""

    def __init__(self, message: str, raw: str) -> None:
        super().__init__(message)
        self.raw = raw


class ForeignMessageError(MessageError):
    """A queue message that no release of ours has written."""


class ConfigError(TrainyardError):
    """A setting is missing or cannot be read; the message names the variable and what it takes."""
