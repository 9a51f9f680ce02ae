"""The Open Inference Protocol v2: what it tells of models, what it refuses, and what else it takes."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.model import Linear, Number, Pipeline, Predictor, with_golden
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_model, publish_version
from trainyard_predictor.handler import MAX_BODY_BYTES, Request

if TYPE_CHECKING:
    from conftest import World

    from trainyard_predictor.handler import Response

ROW = sample_rows(1)[0]
DISTANCE = {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1.5, None]}


def ask(world: World, path: str, body: Any = None, **headers: str) -> Response:
    """GET, or POST a body, under /v2 with a good key."""
    sent = {"host": "localhost", "authorization": f"Bearer {world.key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    method, data = ("GET", b"") if body is None else ("POST", data)
    return world.service.handler.handle(Request(method, f"/v2{path}", "", sent, data))


def infer(world: World, *inputs: dict[str, Any], path: str = "/models/flights/infer", **more: Any) -> dict[str, Any]:
    """Return the answer to an inference of tensors that must succeed."""
    response = ask(world, path, {"inputs": list(inputs), **more})
    assert response.status == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


def outputs(answer: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the data of each output by name."""
    return {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}


def test_the_server_says_what_it_is(world: World) -> None:
    """Name, release and extensions; a slash at the end of the path says nothing."""
    told = json.loads(ask(world, "").body)
    assert set(told) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in told["extensions"]
    assert json.loads(ask(world, "/").body) == told


def test_health_needs_no_key(world: World) -> None:
    """Live is 200; ready says with its status whether keys and spool are there."""
    for path, body in (("/health/live", {"live": True}), ("/health/ready", {"ready": True})):
        response = world.service.handler.handle(Request("GET", f"/v2{path}", "", {"host": "localhost"}))
        assert (response.status, json.loads(response.body)) == (200, body)


def test_a_model_tells_its_tensors_and_versions(world: World) -> None:
    """One input for each feature, with the type of its column; outputs are what an answer then has."""
    world.publish(2, task="multiclass")
    world.pass_seconds(6)
    told = json.loads(ask(world, "/models/flights").body)
    assert (told["name"], told["versions"], told["platform"]) == ("flights", ["1", "2"], "trainyard_msgpack")
    types = {tensor["name"]: tensor["datatype"] for tensor in told["inputs"]}
    assert types == {
        "distance": "FP64",
        "seats": "INT64",
        "holiday": "BOOL",
        "carrier": "BYTES",
        "remark": "BYTES",
        "day": "BYTES",
        "planned": "BYTES",
    }
    answer = infer(world, DISTANCE)
    assert [(t["name"], t["datatype"]) for t in told["outputs"]] == [
        (t["name"], t["datatype"]) for t in answer["outputs"]
    ]
    assert ask(world, "/models/flights/versions/1/ready").status == 200


def test_every_version_and_alias_can_be_asked(world: World) -> None:
    """By number or alias in the place of the version; the answer says which version it was, as text."""
    world.publish(2)
    world.publish(3, alias="shadow")
    world.pass_seconds(1)
    for path, version in (("", "2"), ("/versions/1", "1"), ("/versions/shadow", "3"), ("/versions/champion", "2")):
        answer = infer(world, DISTANCE, path=f"/models/flights{path}/infer")
        assert (answer["model_name"], answer["model_version"]) == ("flights", version)


def test_the_repository_lists_models(world: World) -> None:
    """A model without a champion is there and not ready; clients may ask for the ready ones only."""
    publish_model(world.blobs, "trains")
    flights = {"name": "flights", "state": "READY", "reason": ""}
    trains = {"name": "trains", "state": "UNAVAILABLE", "reason": "no champion yet"}
    assert json.loads(ask(world, "/repository/index", b"").body) == [flights, trains]
    assert json.loads(ask(world, "/repository/index", {"ready": True}).body) == [flights]
    assert json.loads(ask(world, "/models").body) == {"models": ["flights", "trains"]}


def test_id_parameters_and_wanted_outputs(world: World) -> None:
    """The id comes back, and only the outputs that were asked for, in their order."""
    answer = infer(
        world, DISTANCE, id="mine", outputs=[{"name": "probability.true"}, {"name": "prediction"}], parameters={"x": 1}
    )
    assert answer["id"] == "mine"
    assert [tensor["name"] for tensor in answer["outputs"]] == ["probability.true", "prediction"]
    assert "id" not in infer(world, DISTANCE)


def test_rows_are_explained_where_the_parameter_asks(world: World) -> None:
    """Base and contributions sum to the score of each row."""
    told = outputs(infer(world, DISTANCE, parameters={"explain": True}))
    parts = [values for name, values in told.items() if name.startswith("contribution.")]
    for row in range(2):
        assert told["base"][row] + sum(part[row] for part in parts) == pytest.approx(told["score"][row], abs=1e-9)


def test_predictions_are_logged_with_their_ids(world: World) -> None:
    """Each row under the id in the answer; an Idempotency-Key makes the ids repeatable here too."""
    ids = outputs(infer(world, DISTANCE))["prediction_id"]
    logged = world.logged()
    assert [record["id"] for record in logged] == ids
    assert [record["inputs"] for record in logged] == [{"distance": 1.5}, {"distance": None}]
    bodies = {ask(world, "/models/flights/infer", {"inputs": [DISTANCE]}, idempotency_key="k").body for _ in range(2)}
    assert len(bodies) == 1


def test_one_table_of_numbers_is_bound_by_position_or_name(world: World) -> None:
    """Without names the columns are the model's, in its order; 0 and 1 are a bool's values, NaN is missing."""
    pipeline = Pipeline(
        (Number("distance", impute=9.0), Number("holiday", impute=0.5)), Linear([[0.01], [2.0]], [0.1], "sigmoid")
    )
    whole = sample_model()
    schema = type(whole.schema)([whole.schema.column(name) for name in ("distance", "holiday", "late")])
    bare = type(whole)(**{**vars(whole), "schema": schema, "pipeline": pipeline, "golden": None})
    model = with_golden(bare, [{"distance": 1.0, "holiday": True}])
    point_alias(world.blobs, publish_version(world.blobs, model, 2), seq=2)
    world.pass_seconds(1)
    rows = [{"distance": 3.0, "holiday": True}, {"distance": None, "holiday": False}]
    expected = [one.probabilities["true"] for one in Predictor(model).predict(rows)]  # type: ignore[index]
    plain = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[3.0, 1], [None, 0]]}
    assert outputs(infer(world, plain))["probability.true"] == expected
    named = {**plain, "data": [1, 3.0, 0, None], "parameters": {"columns": '["holiday","distance"]'}}
    assert outputs(infer(world, named))["probability.true"] == expected
    packed = struct.pack("<4f", 3.0, 1.0, float("nan"), 0.0)
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    sent = ask(world, "/models/flights/infer", head + packed, inference_header_content_length=str(len(head)))
    assert outputs(json.loads(sent.body))["probability.true"] == expected


def test_compressed_bodies_are_unpacked(world: World) -> None:
    """gzip and deflate, as tritonclient offers them; what unpacks to too much is refused before it has."""
    body = json.dumps({"inputs": [DISTANCE]}).encode()
    for name, data in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        assert ask(world, "/models/flights/infer", data, content_encoding=name).status == 200
    bomb = gzip.compress(b" " * (50 * MAX_BODY_BYTES))
    assert ask(world, "/models/flights/infer", bomb, content_encoding="gzip").status == 413
    cut = gzip.compress(body)[:-4]
    assert ask(world, "/models/flights/infer", cut, content_encoding="gzip").status == 400


def test_unlogged_predictions_say_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The response's parameters are where the protocol has a place for it."""

    def full(_records: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(world.service.spool, "append", full)
    assert infer(world, DISTANCE)["parameters"] == {"logged": False}


def test_a_model_without_champion_is_not_ready(bare_world: World) -> None:
    """503 where the model exists and has no version in use, 404 where nobody has made it."""
    publish_model(bare_world.blobs, "flights")
    for path in ("/models/flights", "/models/flights/ready", "/models/trains/ready"):
        response = ask(bare_world, path)
        assert response.status == (404 if "trains" in path else 503)
        assert list(json.loads(response.body)) == ["error"]
    assert ask(bare_world, "/models/flights/infer", {"inputs": [DISTANCE]}).status == 503
