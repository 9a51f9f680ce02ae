"""The items of feedback: what they must look like, and every problem that they have."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from trainyard.contracts.prediction_log import Label
from trainyard.errors import Problem, ServiceError
from trainyard.schema import check_value, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.schema import Schema

MAX_ITEMS = 10_000
MAX_DETAILS = 1_000
_MAX_LABEL_BYTES = 65_536
#: Ids are ours (docs/prediction-log.md), so what is not one of these was never answered by any predictor.
PREDICTION_ID = re.compile(r"[\x21-\x7e]{1,128}", re.ASCII)
_BY_ID = {"prediction_id", "label"}
_BY_KEY = {"model", "key", "label"}


def models_named(items: Any) -> dict[str, int]:
    """Return the models that items by key name, each with the row (from 1) that names it first.

    Raises:
        ServiceError: ``bad_request`` or ``too_large``: ``items`` is not a list of 1 to 10,000.
    """
    if not isinstance(items, list) or not items:
        raise ServiceError("bad_request", "items must be a list of 1 to 10,000 labels")
    if len(items) > MAX_ITEMS:
        raise ServiceError("too_large", f"{len(items):,} items are more than {MAX_ITEMS:,}; send them in parts")
    named: dict[str, int] = {}
    for row, item in enumerate(items, start=1):
        if isinstance(item, dict) and isinstance(item.get("model"), str) and set(item) == _BY_KEY:
            named.setdefault(shown(item["model"]), row)
    return named


def read_labels(items: list[Any], schemas: Mapping[str, Schema]) -> list[Label]:
    """Return the labels.

    Args:
        items: JSON values.
        schemas: by model, the schema of its dataset, for every model that an item names.

    Raises:
        ServiceError: ``invalid_rows``, the details listing every problem (at most 1,000).
    """
    problems: list[Problem] = []
    labels = [label for row, item in enumerate(items, start=1) if (label := _read(row, item, schemas, problems))]
    if problems:
        raise ServiceError(
            "invalid_rows", f"{len(problems):,} problems in the items; nothing was stored", problems[:MAX_DETAILS]
        )
    return labels


def _read(row: int, item: Any, schemas: Mapping[str, Schema], problems: list[Problem]) -> Label | None:
    before = len(problems)
    if not isinstance(item, dict) or set(item) not in (_BY_ID, _BY_KEY):
        expected = 'an object {"prediction_id", "label"} or {"model", "key", "label"}'
        got = ", ".join(map(shown, sorted(item)[:10])) if isinstance(item, dict) else shown(item)
        problems.append(Problem(row, None, expected, got))
        return None
    if not _is_label(item["label"]):
        expected = "true, false, a finite number, or a string of at most 65,536 UTF-8 bytes without NUL"
        problems.append(Problem(row, "label", expected, shown(item["label"])))
    if "prediction_id" in item:
        ident = item["prediction_id"]
        if not isinstance(ident, str) or PREDICTION_ID.fullmatch(ident) is None:
            problems.append(Problem(row, "prediction_id", "an id that a predictor gave", shown(ident)))
        return Label(item["label"], prediction_id=ident) if len(problems) == before else None
    key = _read_key(row, item, schemas, problems)
    return Label(item["label"], model=item["model"], key=key) if len(problems) == before else None


def _read_key(row: int, item: Any, schemas: Mapping[str, Schema], problems: list[Problem]) -> dict[str, Any]:
    if not isinstance(item["model"], str):
        problems.append(Problem(row, "model", "the name of a model", shown(item["model"])))
        return {}
    columns = schemas[shown(item["model"])].keys
    names = [column.name for column in columns]
    if not names:
        problems.append(Problem(row, "model", "a model whose dataset has key columns", shown(item["model"])))
        return {}
    if not isinstance(item["key"], dict) or set(item["key"]) != set(names):
        got = ", ".join(map(shown, sorted(item["key"])[:10])) if isinstance(item["key"], dict) else shown(item["key"])
        problems.append(Problem(row, "key", f"an object with exactly {', '.join(names)}", got))
        return {}
    for column in columns:
        _, expected = check_value(column, item["key"][column.name])
        if expected is not None:
            problems.append(Problem(row, f"key.{column.name}", expected, shown(item["key"][column.name])))
    return dict(item["key"])


def _is_label(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value and len(value) <= _MAX_LABEL_BYTES and len(value.encode()) <= _MAX_LABEL_BYTES
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
