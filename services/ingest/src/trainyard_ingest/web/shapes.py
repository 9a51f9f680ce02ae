"""What the routes take and answer, as JSON schemas: the OpenAPI document shows them, ``make api`` holds us to them."""

from __future__ import annotations

from typing import Any

from trainyard.schema.columns import MAX_CATEGORIES, MAX_COLUMNS, MAX_NAME_BYTES, ROLES, TYPES
from trainyard_ingest.domain.labels import MAX_ITEMS

_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_WORD = {"type": ["string", "null"]}
_NUMBER = {"type": ["integer", "null"], "minimum": 1}


def _object(properties: dict[str, Any], *optional: str) -> dict[str, Any]:
    """Return the schema of an object with exactly these keys."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def page_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one page of a list."""
    return _object({"items": {"type": "array", "items": item}, "next_cursor": _WORD})


_COLUMN = _object(
    {
        "name": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES},
        "type": {"type": "string", "enum": list(TYPES)},
        "role": {"type": "string", "enum": list(ROLES)},
        "nullable": {"type": "boolean"},
        "categories": {"type": ["array", "null"], "maxItems": MAX_CATEGORIES, "items": {"type": "string"}},
    },
    "role",
    "nullable",
    "categories",
)
_LIST_OF_COLUMNS = {"type": "array", "minItems": 1, "maxItems": MAX_COLUMNS, "items": _COLUMN}
_SETTINGS = {
    "max_rejected_share": {"type": "number", "minimum": 0, "maximum": 1},
    "new_columns": {"type": "string", "enum": ["refuse", "add"]},
    "retention_days": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 36_500},
}
COLUMNS = _object({"columns": _LIST_OF_COLUMNS})
DATASET_BODY = _object(
    {"columns": _LIST_OF_COLUMNS, "settings": _object(_SETTINGS, *_SETTINGS)},
    "settings",
)
DATASET = _object(
    {
        "name": {"type": "string"},
        "columns": _LIST_OF_COLUMNS,
        "settings": _object(_SETTINGS),
        "revision": {"type": "integer", "minimum": 1},
        "rows": _COUNT,
        "last_seq": _COUNT,
        "created_at": _TIME,
    }
)
_ROW_OBJECTS = {"type": "array", "minItems": 1, "items": {"type": "object"}}
ROWS = {
    "description": 'JSON {"rows": [{column: value}]} or [{column: value}], NDJSON, CSV with a header row, or Parquet',
    "anyOf": [_ROW_OBJECTS, _object({"rows": _ROW_OBJECTS})],
}
BATCH = {
    "type": "object",
    "required": ["id", "dataset", "source", "source_name", "state", "rows", "rejected", "first_seq", "last_seq"],
    "properties": {
        "id": {"type": "string", "format": "uuid"},
        "dataset": {"type": "string"},
        "source": {"type": "string"},
        "source_name": {"type": "string"},
        "state": {"type": "string", "enum": ["committed", "refused", "loading"]},
        "rows": _COUNT,
        "rejected": _COUNT,
        "first_seq": _NUMBER,
        "last_seq": _NUMBER,
        "reason": _WORD,
        "created_at": _TIME,
        "report": {"type": ["object", "null"]},
        "progress": {"type": "object"},
    },
}
_NULLABLE_NUMBER = {"type": ["number", "null"]}
_HISTOGRAM = _object(
    {
        "low": {"type": ["number", "string"]},
        "high": {"type": ["number", "string"]},
        "counts": {"type": "array", "items": _COUNT},
    }
)
_FIGURES = {
    "name": {"type": "string"},
    "type": {"type": "string"},
    "nulls": {"type": ["integer", "null"]},
    "min": {"type": ["number", "string", "null"]},
    "max": {"type": ["number", "string", "null"]},
    "mean": _NULLABLE_NUMBER,
    "std": _NULLABLE_NUMBER,
    "histogram": {"anyOf": [_HISTOGRAM, {"type": "null"}]},
    "top": {"type": ["array", "null"], "items": _object({"level": {"type": "string"}, "rows": _COUNT})},
}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
BATCH_QUALITY = _object(
    {
        "batch": {"type": "string", "format": "uuid"},
        "created_at": _TIME,
        "state": {"type": "string", "enum": ["committed", "refused"]},
        "rows": _COUNT,
        "rejected": _COUNT,
        "missing": {"anyOf": [_SHARE, {"type": "null"}]},
        "columns": {"type": "object", "additionalProperties": _SHARE},
    }
)
PROFILE = {
    "type": "object",
    "required": ["name", "rows", "batches", "reported", "merged", "sampled", "columns", "newest"],
    "properties": {
        "name": {"type": "string"},
        "rows": _COUNT,
        "batches": _COUNT,
        "reported": _COUNT,
        "merged": _COUNT,
        "sampled": {"type": "boolean"},
        "columns": {"type": "array", "items": {"type": "object", "required": ["name"], "properties": _FIGURES}},
        "newest": {"type": ["object", "null"]},
    },
}
ERASURE = {
    "type": "object",
    "required": ["erased_rows", "erasure_id", "not_reproducible"],
    "properties": {
        "erased_rows": _COUNT,
        "erasure_id": {"type": "string"},
        "not_reproducible": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["model", "version"],
                "properties": {"model": {"type": "string"}, "version": {"type": "integer"}},
            },
        },
    },
}
_PREDICTION = {
    "id": {"type": "string"},
    "model": {"type": "string"},
    "version": {"type": "integer", "minimum": 1},
    "predicted_at": _TIME,
    "inputs": {"type": "object"},
    "output": {"type": "object", "required": ["prediction"]},
    "label": {"type": ["boolean", "number", "string", "null"]},
}
_SHADOW = {
    "shadow_version": {"type": "integer", "minimum": 1},
    "difference": {"type": "number"},
    "changed": {"type": "boolean"},
    "scored_at": _TIME,
}
PREDICTION = _object(_PREDICTION)
SHADOWED_PREDICTION = _object({**_PREDICTION, "shadows": {"type": "array", "items": _object(_SHADOW)}})
PREDICTION_ID = {"type": "string", "pattern": "^[!-~]{1,128}$"}
_LABEL = {"type": ["boolean", "number", "string"]}
LABELS = _object(
    {
        "items": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ITEMS,
            "items": {
                "anyOf": [
                    _object({"prediction_id": PREDICTION_ID, "label": _LABEL}),
                    _object({"model": {"type": "string"}, "key": {"type": "object"}, "label": _LABEL}),
                ]
            },
        }
    }
)
TAKEN = _object({"accepted": _COUNT, "parked": _COUNT})
