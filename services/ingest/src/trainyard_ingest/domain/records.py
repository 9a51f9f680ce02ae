"""The records of a ``PredictionLogged`` message, as docs/prediction-log.md defines them."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime
from typing import Any

from trainyard.alias_object import is_name
from trainyard.contracts.prediction_log import Prediction, ShadowScore
from trainyard_ingest.domain.labels import PREDICTION_ID

_FIELDS = {"id", "model", "version", "key_id", "trace_id", "inputs", "output", "latency_us", "predicted_at"}
_SHADOW_FIELDS = {"id", "model", "version", "shadow_version", "difference", "changed", "scored_at"}
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # an escaped NUL, not an escaped backslash before "u0000"


def read_record(record: Any) -> Prediction:
    """Return the prediction that a record describes.

    Raises:
        ValueError: it is not one; says which field.
    """
    if not isinstance(record, dict) or set(record) != _FIELDS:
        raise ValueError(f"a record has exactly the fields {', '.join(sorted(_FIELDS))}")
    _require(isinstance(record["id"], str) and PREDICTION_ID.fullmatch(record["id"]) is not None, "id")
    _require(isinstance(record["model"], str) and is_name(record["model"]), "model")
    _require(_is_count(record["version"]) and record["version"] > 0, "version")
    for name in ("key_id", "trace_id"):
        _require(record[name] is None or _is_word(record[name]), name)
    _require(isinstance(record["inputs"], dict) and _is_json(record["inputs"]), "inputs")
    output = record["output"]
    _require(isinstance(output, dict) and "prediction" in output and _is_json(output), "output")
    _require(record["latency_us"] is None or _is_count(record["latency_us"]), "latency_us")
    return Prediction(**{**record, "predicted_at": _time(record["predicted_at"], "predicted_at")})


def read_shadow(record: Any) -> ShadowScore:
    """Return the comparison that a record of ``ShadowScored`` describes.

    Raises:
        ValueError: it is not one; says which field.
    """
    if not isinstance(record, dict) or set(record) != _SHADOW_FIELDS:
        raise ValueError(f"a record has exactly the fields {', '.join(sorted(_SHADOW_FIELDS))}")
    _require(isinstance(record["id"], str) and PREDICTION_ID.fullmatch(record["id"]) is not None, "id")
    _require(isinstance(record["model"], str) and is_name(record["model"]), "model")
    for name in ("version", "shadow_version"):
        _require(_is_count(record[name]) and record[name] > 0, name)
    _require(isinstance(record["difference"], float) and math.isfinite(record["difference"]), "difference")
    _require(isinstance(record["changed"], bool), "changed")
    return ShadowScore(
        record["id"],
        record["model"],
        record["version"],
        record["shadow_version"],
        record["difference"],
        record["changed"],
        _time(record["scored_at"], "scored_at"),
    )


def _require(holds: bool, field: str) -> None:
    if not holds:
        raise ValueError(f"the field {field!r} of a record is not what it should be")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 128 and value.isprintable()


def _is_json(value: Any) -> bool:
    """Tell whether Postgres can keep ``value`` as jsonb: no NaN, no NUL, no half surrogate, no bytes."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (ValueError, TypeError, RecursionError):
        return False
    return _NUL.search(text) is None


def _time(value: Any, field: str) -> datetime:
    _require(isinstance(value, str), field)
    moment = datetime.fromisoformat(value)
    _require(moment.tzinfo is not None, field)
    return moment
