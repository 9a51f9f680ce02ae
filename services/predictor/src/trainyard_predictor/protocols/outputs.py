"""A model's columns and answers as tensors of the Open Inference Protocol v2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.errors import ServiceError
from trainyard.model import class_name
from trainyard.schema import shown
from trainyard_predictor.protocols.tensors import parameters_of, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainyard.model import Model
    from trainyard.schema import Schema

#: column type -> datatype of its tensor
_INPUTS = {"bool": "BOOL", "int": "INT64", "float": "FP64"}
_PREDICTIONS: list[tuple[type, str]] = [(bool, "BOOL"), (int, "INT64"), (float, "FP64"), (str, "BYTES")]


def inputs_of(features: Schema) -> list[dict[str, Any]]:
    """Return the metadata of the tensors that a model takes."""
    tensors = []
    for column in features.columns:
        datatype = _INPUTS.get(column.type, "BYTES")
        parameters: dict[str, Any] = {"column_type": column.type, "nullable": column.nullable}
        if datatype == "BYTES":
            parameters["content_type"] = "str"
        tensors.append({"name": column.name, "datatype": datatype, "shape": [-1], "parameters": parameters})
    return tensors


def outputs_of(model: Model) -> list[dict[str, Any]]:
    """Return the metadata of the tensors that a model gives when it is not asked to explain."""
    prediction = _datatype(model.classes[0]) if model.classes else "FP64"
    names = {"prediction": prediction} | {f"probability.{class_name(label)}": "FP64" for label in model.classes}
    names["prediction_id"] = "BYTES"
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in names.items()]


def check_wanted(names: Iterable[str] | None, model: Model, *, explain: bool) -> None:
    """Refuse an output that a model does not give; raises ``bad_request``. None asks for all."""
    known = [tensor["name"] for tensor in outputs_of(model)]
    if explain:
        known += ["base", "score", *(f"contribution.{column.name}" for column in model.schema.features)]
    for name in names or ():
        if name not in known:
            raise _unknown(name, known)


def wanted(given: object, *, binary: bool) -> tuple[dict[str, bool] | None, bool]:
    """Read the ``outputs`` of a request.

    Args:
        given: what the request has under that name; None or an empty list asks for all.
        binary: whether outputs that do not say so are wanted in binary.

    Returns:
        The names that are asked for, each with whether in binary (None: all), and ``binary``.

    Raises:
        ServiceError: ``bad_request`` when it is not a list of objects with names, or one asks for the classification
            extension.
    """
    if given is None or given == []:
        return None, binary
    if not isinstance(given, list) or not all(isinstance(o, dict) and isinstance(o.get("name"), str) for o in given):
        raise ServiceError("bad_request", 'outputs must be a list of {"name": ...}')
    names = {}
    for one in given:
        parameters = parameters_of(one, f"output {shown(one['name'])!r}")
        if "classification" in parameters or "shared_memory_region" in parameters:
            said = f"output {shown(one['name'])!r}: classification and shared memory are not offered here"
            raise ServiceError("bad_request", said)
        names[one["name"]] = parameters.get("binary_data", binary) is True
    return names, binary


def written_outputs(
    rows: Sequence[dict[str, Any]], asked: tuple[dict[str, bool] | None, bool]
) -> tuple[list[dict[str, Any]], bytes]:
    """Return the tensors of answered rows that are asked for (see :func:`wanted`), and the bytes behind them.

    Raises:
        ServiceError: ``bad_request`` when an output is asked for that there is not.
    """
    columns = _columns(rows)
    names, all_binary = asked
    if names is None:
        names = dict.fromkeys(columns, all_binary)
    tensors, packed = [], []
    for name, binary in names.items():
        if name not in columns:
            raise _unknown(name, columns)  # another version than the one that was looked at has answered
        values = columns[name]
        tensor, data = written(name, _datatype(values[0]), values, binary=binary)
        tensors.append(tensor)
        packed.append(data)
    return tensors, b"".join(packed)


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of each output, one for each row."""
    first = rows[0]
    columns: dict[str, list[Any]] = {"prediction": [row["prediction"] for row in rows]}
    for name in first.get("probabilities", ()):
        columns[f"probability.{name}"] = [row["probabilities"][name] for row in rows]
    columns["prediction_id"] = [row["prediction_id"] for row in rows]
    if "explanation" in first:
        why = [row["explanation"] for row in rows]
        columns |= {part: [one[part] for one in why] for part in ("base", "score")}
        for name in first["explanation"]["contributions"]:
            columns[f"contribution.{name}"] = [one["contributions"][name] for one in why]
    return columns


def _unknown(name: str, known: Iterable[str]) -> ServiceError:
    listed = ", ".join(map(shown, list(known)[:20]))
    return ServiceError("bad_request", f"the model has no output {shown(name)!r}, only {listed}")


def _datatype(value: object) -> str:
    return next(datatype for kind, datatype in _PREDICTIONS if isinstance(value, kind))
