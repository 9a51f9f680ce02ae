"""The schema of a dataset: one object checks values at ingest, in training and in prediction.

Columns are bound by name, never by position; ``None`` is the only missing value.
"""

from trainyard.schema.columns import MAX_COLUMNS, ROLES, TYPES, Column, Schema
from trainyard.schema.infer import MAX_LEVELS, infer_schema
from trainyard.schema.values import (
    MAX_CATEGORY_BYTES,
    MAX_TEXT_BYTES,
    check_value,
    parse_text,
    parse_text_column,
    shown,
)

__all__ = [
    "MAX_CATEGORY_BYTES",
    "MAX_COLUMNS",
    "MAX_LEVELS",
    "MAX_TEXT_BYTES",
    "ROLES",
    "TYPES",
    "Column",
    "Schema",
    "check_value",
    "infer_schema",
    "parse_text",
    "parse_text_column",
    "shown",
]
