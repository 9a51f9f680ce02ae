"""What the Open Inference Protocol refuses, and how: an error text with a status of the protocol."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from trainyard_predictor.handler import MAX_BODY_BYTES, Request

if TYPE_CHECKING:
    from conftest import World

    from trainyard_predictor.handler import Response

DISTANCE = {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1.5, None]}


def ask(world: World, path: str, body: Any = None, **headers: str) -> Response:
    """GET, or POST a body, under /v2 with a good key."""
    sent = {"host": "localhost", "authorization": f"Bearer {world.key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    method, data = ("GET", b"") if body is None else ("POST", data)
    return world.service.handler.handle(Request(method, f"/v2{path}", "", sent, data))


@dataclass(frozen=True)
class Bad:
    """One request that must be refused, by which status, and a word of its error."""

    name: str
    status: int
    word: str
    body: Any
    path: str = "/models/flights/infer"
    headers: dict[str, str] = field(default_factory=dict)


def bad(name: str, word: str, /, **tensor: Any) -> Bad:
    """Return a request with one wrong tensor, which is 400."""
    return Bad(name, 400, word, {"inputs": [{**DISTANCE, **tensor}]})


BAD = [
    Bad("not JSON", 400, "line 1", b"{"),
    Bad("empty", 400, "empty", b""),
    Bad("a list", 400, "inputs", []),
    Bad("no inputs", 400, "inputs", {"inputs": []}),
    Bad("no name", 400, "name", {"inputs": [{"shape": [1]}]}),
    Bad("twice", 400, "same name", {"inputs": [DISTANCE, DISTANCE]}),
    Bad("lengths", 400, "lengths", {"inputs": [DISTANCE, {**DISTANCE, "name": "seats", "shape": [1], "data": [1]}]}),
    bad("unknown datatype", "datatype", datatype="FP8"),
    bad("datatype a list", "datatype", datatype=["FP64"]),
    bad("content type a list", "content type", parameters={"content_type": ["str"]}),
    bad(
        "content type not JSON",
        "line 1",
        name="remark",
        datatype="BYTES",
        data=["{", "}"],
        parameters={"content_type": "pd_json"},
    ),
    bad(
        "two values in one text",
        "one value",
        name="remark",
        datatype="BYTES",
        data=["[1", "2],3"],
        parameters={"content_type": "pd_json"},
    ),
    bad("FP16 in JSON", "FP16", datatype="FP16"),
    bad("no shape", "shape", shape=None),
    bad("negative shape", "shape", shape=[-1]),
    bad("shape of floats", "shape", shape=[2.0]),
    bad("huge shape", "shape", shape=[10**9, 10**9]),
    bad("too many dimensions", "shape", shape=[1] * 9),
    bad("shape and data differ", "means 3", shape=[3]),
    bad("no rows", "no row", shape=[0], data=[]),
    bad("two columns for one", "shape", shape=[1, 1, 2]),
    bad("data an object", "list", data={}),
    bad("mixed depth", "mixes", data=[1, [2]]),
    bad("a string among numbers", "datatype FP64", data=[1, "x"]),
    bad("a bool among numbers", "datatype FP64", data=[1, True]),
    bad("a float among integers", "datatype INT32", datatype="INT32", data=[1, 1.5]),
    bad("out of range", "range", datatype="INT8", data=[1, 128]),
    bad("negative unsigned", "range", datatype="UINT8", data=[1, -1]),
    bad("unknown column", "a column of the schema", name="wings"),
    bad("wrong type of column", "carrier", name="carrier"),
    bad("the label", "late", name="late", datatype="BYTES", data=["yes", "no"]),
    bad("parameters a list", "parameters", parameters=[]),
    bad("shared memory", "shared memory", parameters={"shared_memory_region": "r"}),
    bad("base64", "content type", parameters={"content_type": "base64"}),
    bad("data and binary", "binary_data_size", parameters={"binary_data_size": 16}),
    Bad("id a number", 400, "id", {"id": 7, "inputs": [DISTANCE]}),
    Bad("unknown output", 400, "no output", {"inputs": [DISTANCE], "outputs": [{"name": "y"}]}),
    Bad("outputs an object", 400, "outputs", {"inputs": [DISTANCE], "outputs": {}}),
    Bad(
        "classification",
        400,
        "classification",
        {"inputs": [DISTANCE], "outputs": [{"name": "prediction", "parameters": {"classification": 2}}]},
    ),
    Bad("explain a word", 400, "explain", {"inputs": [DISTANCE], "parameters": {"explain": "yes"}}),
    Bad("too many rows", 413, "1,000", {"inputs": [{**DISTANCE, "shape": [1001], "data": [None] * 1001}]}),
    Bad("too many bytes", 413, "bytes", b" " * (MAX_BODY_BYTES + 1)),
    Bad("CSV", 415, "Content-Type", b"a", headers={"content_type": "text/csv"}),
    Bad("brotli", 415, "gzip", b"a", headers={"content_encoding": "br"}),
    Bad("not gzip", 400, "gzip", b"a", headers={"content_encoding": "gzip"}),
    Bad("JSON length no number", 400, "number", b"{}", headers={"inference_header_content_length": "two"}),
    Bad("JSON length too large", 400, "number", b"{}", headers={"inference_header_content_length": "99"}),
    Bad(
        "bytes that no tensor has",
        400,
        "follow",
        json.dumps({"inputs": [DISTANCE]}).encode() + b"xyz",
        headers={"inference_header_content_length": str(len(json.dumps({"inputs": [DISTANCE]})))},
    ),
    Bad("unknown model", 404, "trains", {"inputs": [DISTANCE]}, path="/models/trains/infer"),
    Bad("unknown version", 404, "99", {"inputs": [DISTANCE]}, path="/models/flights/versions/99/infer"),
    Bad("unknown alias", 404, "nobody", {"inputs": [DISTANCE]}, path="/models/flights/versions/nobody/infer"),
    Bad("no route", 404, "route", {}, path="/models/flights/versions/1/explain"),
    Bad("wrong method", 405, "GET", {}, path="/models/flights"),
    Bad("no key", 401, "key", {}, headers={"authorization": ""}),
    Bad("other host", 400, "Host", {}, headers={"host": "evil.example"}),
]


@pytest.mark.parametrize("wrong", BAD, ids=lambda wrong: wrong.name)
def test_what_is_wrong_is_refused_as_the_protocol_prescribes(world: World, wrong: Bad) -> None:
    """`{"error": text}` with a status of the protocol; nothing is logged."""
    response = ask(world, wrong.path, wrong.body, **wrong.headers)
    told = json.loads(response.body)
    assert (response.status, list(told)) == (wrong.status, ["error"])
    assert wrong.word in told["error"]
    assert world.logged() == []


@pytest.mark.parametrize(
    ("datatype", "data"),
    [("FP64", b"\0" * 15), ("BYTES", b"\1\0\0\0a"), ("BYTES", b"\xff\xff\xff\xffa"), ("BYTES", b"\1\0\0\0\xff" * 2)],
)
def test_broken_binary_tensors_are_refused(world: World, datatype: str, data: bytes) -> None:
    """Too few bytes, too few strings, a length beyond the end, and what is not UTF-8."""
    tensor = {"name": "carrier", "shape": [2], "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    sent = ask(world, "/models/flights/infer", head + data, inference_header_content_length=str(len(head)))
    assert (sent.status, list(json.loads(sent.body))) == (400, ["error"])


def test_every_problem_of_every_row_is_in_the_error(world: World) -> None:
    """Rows count from 1, as everywhere."""
    tensors = [
        {"name": "day", "shape": [3], "datatype": "BYTES", "data": ["2013-02-30", None, "2013-01-01"]},
        {"name": "seats", "shape": [3], "datatype": "FP64", "data": [1, 2, 3.5]},
    ]
    response = ask(world, "/models/flights/infer", {"inputs": tensors})
    said = json.loads(response.body)["error"]
    assert response.status == 400
    assert "row 1, column 'day'" in said
    assert "row 3, column 'seats'" in said
