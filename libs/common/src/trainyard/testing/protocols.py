"""The same rows in every form in which the predictor takes them, and what is read from each answer.

For tests that ask one predictor in all of its protocols. Written from the protocols' own documents, with nothing of the
predictor in it: docs/protocols.md names them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trainyard.schema import Column

    Rows = Sequence[Mapping[str, Any]]

_JSON = {"content-type": "application/json"}
_DATATYPES = {"bool": "BOOL", "int": "INT64", "float": "FP64"}


@dataclass(frozen=True)
class Asked:
    """One request, with headers in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answered:
    """What an answer says: ``probabilities`` by class, where the form gives them and the model has them."""

    predictions: list[Any]
    probabilities: list[dict[str, float]] | None


@dataclass(frozen=True)
class Form:
    """One way to ask.

    Attributes:
        name: for the name of a test.
        ask: the request for rows of a model's columns, at a model (``name`` or ``name@reference``).
        read: an answer of status 200 from its headers (in lower case) and its body.
        empty_is_missing: an empty string cannot be told from a missing value.
    """

    name: str
    ask: Callable[[str, Sequence[Column], Rows], Asked]
    read: Callable[[Mapping[str, str], bytes], Answered]
    empty_is_missing: bool = False


# --- our own ---------------------------------------------------------------------------------------------------------


def _own(model: str, _columns: Sequence[Column], rows: Rows) -> Asked:
    return Asked(f"/v1/predict/{model}", _JSON, json.dumps({"rows": rows}).encode())


def _read_own(_headers: Mapping[str, str], body: bytes) -> Answered:
    rows = json.loads(body)["rows"]
    return Answered([row["prediction"] for row in rows], _probabilities(rows))


def _probabilities(rows: Rows) -> list[dict[str, float]] | None:
    return [row["probabilities"] for row in rows] if "probabilities" in rows[0] else None


# --- the Open Inference Protocol -------------------------------------------------------------------------------------


def _infer_path(model: str) -> str:
    name, at, reference = model.partition("@")
    return f"/v2/models/{name}/versions/{reference}/infer" if at else f"/v2/models/{name}/infer"


def _tensors(columns: Sequence[Column], rows: Rows) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "shape": [len(rows)],
            "datatype": _DATATYPES.get(column.type, "BYTES"),
            "data": [row[column.name] for row in rows],
        }
        for column in columns
    ]


def _columns_flat(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    return Asked(_infer_path(model), _JSON, json.dumps({"id": "7", "inputs": _tensors(columns, rows)}).encode())


def _columns_gzip(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    asked = _columns_flat(model, columns, rows)
    return Asked(asked.path, {**_JSON, "content-encoding": "gzip"}, gzip.compress(asked.body))


def _columns_pandas(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    """As MLServer's pandas codec: shape [n, 1], columns of more than strings as JSON texts."""
    tensors = _tensors(columns, rows)
    for tensor in tensors:
        tensor["shape"] = [len(rows), 1]
        if tensor["datatype"] != "BYTES":
            tensor["data"] = [[value] for value in tensor["data"]]
        elif None in tensor["data"]:
            tensor["data"] = [json.dumps(value) for value in tensor["data"]]
            tensor["parameters"] = {"content_type": "pd_json"}
        else:
            tensor["parameters"] = {"content_type": "str"}
    body = {"parameters": {"content_type": "pd"}, "inputs": tensors}
    return Asked(_infer_path(model), _JSON, json.dumps(body).encode())


def _columns_binary(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    """The binary extension both ways; in it only floating-point numbers can be missing, so other columns stay JSON."""
    tensors = _tensors(columns, rows)
    behind = b""
    for tensor in tensors:
        values = tensor["data"]
        if tensor["datatype"] in ("INT64", "FP64") and None in values:
            tensor["datatype"] = "FP64"
            values = [math.nan if value is None else value for value in values]
        if None in values:
            continue
        del tensor["data"]
        packed = _packed(tensor["datatype"], values)
        tensor["parameters"] = {"binary_data_size": len(packed)}
        behind += packed
    head = json.dumps({"parameters": {"binary_data_output": True}, "inputs": tensors}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return Asked(_infer_path(model), headers, head + behind)


def _table_of_texts(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    """One tensor for the whole table, its columns backwards."""
    names = [column.name for column in reversed(columns)]
    tensor = {
        "name": "table",
        "shape": [len(rows), len(names)],
        "datatype": "BYTES",
        "parameters": {"columns": json.dumps(names)},
        "data": [["" if row[name] is None else str(row[name]) for name in names] for row in rows],
    }
    return Asked(_infer_path(model), _JSON, json.dumps({"inputs": [tensor]}).encode())


def _packed(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)
    return struct.pack(f"<{len(values)}{ {'BOOL': '?', 'INT64': 'q', 'FP64': 'd'}[datatype] }", *values)


def _unpacked(datatype: str, data: bytes, count: int) -> list[Any]:
    if datatype != "BYTES":
        return list(struct.unpack(f"<{count}{ {'BOOL': '?', 'INT64': 'q', 'FP64': 'd'}[datatype] }", data))
    values, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        values.append(data[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return values


def _read_tensors(headers: Mapping[str, str], body: bytes) -> Answered:
    at = int(headers.get("inference-header-content-length", len(body)))
    outputs = {}
    for tensor in json.loads(body[:at])["outputs"]:
        size = tensor.get("parameters", {}).get("binary_data_size", 0)
        binary = "data" not in tensor
        outputs[tensor["name"]] = (
            _unpacked(tensor["datatype"], body[at : at + size], tensor["shape"][0]) if binary else tensor["data"]
        )
        at += size
    begin = "probability."
    classes = {name.removeprefix(begin): values for name, values in outputs.items() if name.startswith(begin)}
    rows = [dict(zip(classes, values, strict=True)) for values in zip(*classes.values(), strict=True)]
    return Answered(outputs["prediction"], rows if classes else None)


# --- MLflow and SageMaker --------------------------------------------------------------------------------------------


def _scored(shape: str, of: Callable[[Sequence[Column], Rows], Any], **params: bool) -> Any:
    def ask(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
        body = {shape: of(columns, rows)} | ({"params": params} if params else {})
        return Asked("/invocations", {**_JSON, "x-trainyard-model": model}, json.dumps(body).encode())

    return ask


def _lists(columns: Sequence[Column], rows: Rows) -> list[list[Any]]:
    return [[row[column.name] for column in columns] for row in rows]


def _split(columns: Sequence[Column], rows: Rows) -> dict[str, Any]:
    names = [column.name for column in columns]
    return {"columns": names, "index": list(range(len(rows))), "data": _lists(columns, rows)}


def _by_column(columns: Sequence[Column], rows: Rows) -> dict[str, list[Any]]:
    return {column.name: [row[column.name] for row in rows] for column in columns}


def _csv(columns: Sequence[Column], rows: Rows, *, header: bool) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow([column.name for column in columns])
    writer.writerows([["" if value is None else value for value in row] for row in _lists(columns, rows)])
    return out.getvalue().encode()


def _csv_with_header(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    headers = {"content-type": "text/csv", "x-trainyard-model": model}
    return Asked("/invocations", headers, _csv(columns, rows, header=True))


def _csv_of_sagemaker(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    headers = {"content-type": "text/csv", "x-amzn-sagemaker-inference-id": "i1", "x-trainyard-model": model}
    return Asked("/invocations", headers, _csv(columns, rows, header=False))


def _array_of_sagemaker(model: str, columns: Sequence[Column], rows: Rows) -> Asked:
    headers = {**_JSON, "x-amzn-sagemaker-custom-attributes": "a", "x-trainyard-model": model}
    return Asked("/invocations", headers, json.dumps(_lists(columns, rows)).encode())


def _read_predictions(_headers: Mapping[str, str], body: bytes) -> Answered:
    return Answered(json.loads(body)["predictions"], None)


def _read_records(_headers: Mapping[str, str], body: bytes) -> Answered:
    rows = json.loads(body)["predictions"]
    return Answered([row["prediction"] for row in rows], _probabilities(rows))


def _read_array(_headers: Mapping[str, str], body: bytes) -> Answered:
    return Answered(json.loads(body), None)


def _records(_columns: Sequence[Column], rows: Rows) -> Rows:
    return rows


FORMS = (
    Form("own", _own, _read_own),
    Form("v2 columns", _columns_flat, _read_tensors),
    Form("v2 gzip", _columns_gzip, _read_tensors),
    Form("v2 pandas", _columns_pandas, _read_tensors),
    Form("v2 binary", _columns_binary, _read_tensors),
    Form("v2 table", _table_of_texts, _read_tensors, empty_is_missing=True),
    Form("MLflow split", _scored("dataframe_split", _split, probabilities=True), _read_records),
    Form("MLflow records", _scored("dataframe_records", _records), _read_predictions),
    Form("MLflow instances of objects", _scored("instances", _records), _read_predictions),
    Form("MLflow instances of lists", _scored("instances", _lists, probabilities=True), _read_records),
    Form("MLflow inputs by column", _scored("inputs", _by_column, probabilities=True), _read_records),
    Form("MLflow inputs as one array", _scored("inputs", _lists), _read_predictions),
    Form("MLflow CSV", _csv_with_header, _read_predictions, empty_is_missing=True),
    Form("SageMaker array", _array_of_sagemaker, _read_array),
    Form("SageMaker CSV", _csv_of_sagemaker, _read_array, empty_is_missing=True),
)
