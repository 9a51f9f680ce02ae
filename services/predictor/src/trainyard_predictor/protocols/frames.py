"""The bodies that ``/invocations`` takes, as rows: MLflow's four JSON shapes, a bare JSON array, and CSV."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from trainyard import strict_json
from trainyard.errors import ServiceError
from trainyard_predictor import domain
from trainyard_predictor.protocols.tables import rows_of_cells, rows_of_columns, rows_of_lists

if TYPE_CHECKING:
    from trainyard.schema import Schema

SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
_FOUR = "the body must be an object with exactly one of dataframe_split, dataframe_records, instances and inputs"
#: What a request may say beside its rows; True: it is another protocol's (large language models, TF Serving).
_BESIDE = {"params": False, "messages": True, "prompt": True, "input": True, "signature_name": True}
_MOMENTS = {"date", "timestamp"}
_MIDNIGHT = re.compile(r"T00:00:00(\.0+)?")
_PARAMS = ("probabilities", "explain")


def read_json(body: bytes, features: Schema, *, bare: bool) -> tuple[list[Any], dict[str, bool]]:
    """Return the rows of a JSON body and its ``params``, all false where they are not given.

    Args:
        body: as it was sent.
        features: the columns of the model, whose order rows without names have.
        bare: whether the body may be an array of rows, as SageMaker's clients send it.

    Raises:
        ServiceError: ``bad_json`` or ``empty_body``; ``bad_request`` for another shape; else as :mod:`.tables`.
    """
    given = strict_json.loads(body, nan_is_missing=True)  # MLflow's own client writes it
    params = dict.fromkeys(_PARAMS, False)
    if bare and isinstance(given, list):
        return _as_pandas_means(_rows(given, features), features), params
    if not isinstance(given, dict):
        raise ServiceError("bad_request", _FOUR)
    foreign = [name for name in given if _BESIDE.get(name, False)]
    if foreign:
        raise ServiceError("bad_request", f"{foreign[0]} is not taken here: {_FOUR}")
    shapes = [name for name in given if name in SHAPES]
    if len(shapes) != 1 or set(given) - set(shapes) - set(_BESIDE):
        raise ServiceError("bad_request", f"{_FOUR}, and params")
    (shape,) = shapes
    rows = _as_pandas_means(_shaped(shape, given[shape], features), features)
    return rows, params | _checked_params(given.get("params"))


def read_csv(body: bytes, features: Schema, header: bool | None) -> list[dict[str, Any]]:
    """Return the rows of a CSV body; an empty cell is missing.

    Without ``header`` the first line is one if its cells are the names of columns; lines without one have the model's
    columns in their order.

    Raises:
        ServiceError: ``empty_body``, ``bad_csv``, else as :mod:`.tables`.
    """
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except UnicodeDecodeError as e:
        raise ServiceError("bad_csv", f"the body is not UTF-8 at byte {e.start}") from None
    except csv.Error as e:
        raise ServiceError("bad_csv", f"the CSV cannot be read: {e}") from None
    if not lines:
        raise ServiceError("empty_body", "the body is empty; send CSV")
    if header is None:
        header = set(lines[0]) <= set(features.names)
    names = lines.pop(0) if header else features.names
    return rows_of_cells(lines, names, features)


def _shaped(shape: str, given: object, features: Schema) -> list[Any]:
    if shape == "dataframe_split":
        return _split(given, features)
    if shape == "dataframe_records":
        if not isinstance(given, list):
            raise ServiceError("bad_request", "dataframe_records must be a list of objects")
        return given
    if shape == "inputs" and isinstance(given, dict):
        wrong = [name for name, values in given.items() if not isinstance(values, list)]
        if wrong:
            raise ServiceError("bad_request", f"inputs: the values of {wrong[0][:80]!r} must be a list")
        return rows_of_columns(given)
    if not isinstance(given, list):
        raise ServiceError("bad_request", f"{shape} must be a list of rows")
    return _rows(given, features)


def _split(given: object, features: Schema) -> list[dict[str, Any]]:
    form = 'dataframe_split must be {"columns": [name, ...], "data": [[value, ...], ...]}'
    if not isinstance(given, dict) or set(given) - {"columns", "data", "index"}:
        raise ServiceError("bad_request", form)
    names, data = given.get("columns"), given.get("data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ServiceError("bad_request", form)
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise ServiceError("bad_request", form)
    return rows_of_lists(data, names, features)


def _rows(given: list[Any], features: Schema) -> list[Any]:
    """Return rows that are objects as they are; lists (or the values of a single column) in the columns' order."""
    domain.check_count(len(given))
    if all(isinstance(row, list) for row in given):
        return rows_of_lists(given, features.names, features)
    if len(features.names) == 1 and not any(isinstance(row, list | dict) for row in given):
        return rows_of_lists([[value] for value in given], features.names, features)
    return given


def _as_pandas_means(rows: list[Any], features: Schema) -> list[Any]:
    """Return the rows with dates and missing times as others write them: pandas has no date but midnight, and NaT."""
    kinds = {column.name: column.type for column in features.columns if column.type in _MOMENTS}
    for row in rows if kinds else ():
        for name in kinds.keys() & row.keys() if isinstance(row, dict) else ():
            value = row[name]
            if value == "NaT":
                row[name] = None
            elif kinds[name] == "date" and isinstance(value, str) and _MIDNIGHT.fullmatch(value, 10):
                row[name] = value[:10]
    return rows


def _checked_params(given: object) -> dict[str, bool]:
    params = {} if given is None else given
    if not isinstance(params, dict) or set(params) - set(_PARAMS) or not all(type(v) is bool for v in params.values()):
        raise ServiceError("bad_request", f"params takes {' and '.join(_PARAMS)}, each true or false")
    return params
