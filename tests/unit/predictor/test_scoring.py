"""`/invocations` as MLflow and SageMaker speak it: which model is meant, what comes back, what is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.config import load
from trainyard.model import Predictor
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import publish_model, publish_version
from trainyard_predictor import bootstrap, serve
from trainyard_predictor.handler import MAX_BODY_BYTES, Request
from trainyard_predictor.protocols.scoring import MOST_IDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import World

    from trainyard_predictor.handler import Response

ROWS = sample_rows(3)
RECORDS = {"dataframe_records": ROWS}
SAGEMAKER = {"x-amzn-sagemaker-inference-id": "abc"}


def send(world: World, body: Any, query: str = "", path: str = "/invocations", **headers: str) -> Response:
    """POST with a good key; ``headers`` replace or add (underscores are hyphens)."""
    sent = {"host": "localhost", "authorization": f"Bearer {world.key}", "content-type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return world.service.handler.handle(Request("POST", path, query, sent, data))


def configured(world: World, **settings: str) -> World:
    """Give the world another predictor over the same bucket, with these settings."""
    world.service.spool.close()
    config = load({"TRAINYARD_SPOOL_DIR": str(world.config.spool_dir), **settings})
    world.service = bootstrap.build(config, blobs=world.blobs, queue=world.queue, clock=world.clock)
    world.service.background.refresh()
    return world


@pytest.fixture
def two_models(world: World) -> Iterator[World]:
    """`flights` with versions 1 and 2, and `trains` beside it."""
    world.publish(2)
    world.publish(1, name="trains")
    return world


def version_of(response: Response) -> str:
    """Return which version answered."""
    assert response.status == 200, response.body
    return response.headers["x-trainyard-version"]


def test_the_only_model_is_meant(world: World) -> None:
    """Nobody needs to name it; its predictions are a list of values, their ids in a header and in the log."""
    response = send(world, RECORDS)
    expected = Predictor(sample_model(seed=1)).predict(ROWS)
    assert json.loads(response.body) == {"predictions": [one.prediction for one in expected]}
    ids = response.headers["x-trainyard-prediction-ids"].split(",")
    assert [record["id"] for record in world.logged()] == ids
    assert version_of(response) == "1"


def test_another_model_is_named_by_header_or_query(two_models: World) -> None:
    """With its alias or version; of several models none is meant by itself."""
    assert version_of(send(two_models, RECORDS, x_trainyard_model="flights")) == "2"
    assert version_of(send(two_models, RECORDS, x_trainyard_model="flights@1")) == "1"
    assert version_of(send(two_models, RECORDS, query="model=trains")) == "1"
    refused = send(two_models, RECORDS)
    assert (refused.status, json.loads(refused.body)["error_code"]) == (400, "BAD_REQUEST")
    assert "TRAINYARD_DEFAULT_MODEL" in json.loads(refused.body)["message"]


def test_a_default_can_be_set(two_models: World) -> None:
    """The setting takes a version too; a request that names a model goes before it."""
    world = configured(two_models, TRAINYARD_DEFAULT_MODEL="flights@1")
    assert version_of(send(world, RECORDS)) == "1"
    assert version_of(send(world, RECORDS, x_trainyard_model="flights")) == "2"


def test_records_have_all_that_is_known(world: World) -> None:
    """With params a prediction is a record, as /v1/predict has it."""
    asked = {**RECORDS, "params": {"probabilities": True, "explain": True}}
    rows = json.loads(send(world, asked).body)["predictions"]
    assert all(set(row) == {"prediction", "probabilities", "prediction_id", "explanation"} for row in rows)


def test_many_ids_are_in_no_header(world: World) -> None:
    """A header line of many kilobytes breaks proxies; whoever wants the ids asks for records."""
    rows = sample_rows(MOST_IDS + 1)
    assert "x-trainyard-prediction-ids" not in send(world, {"dataframe_records": rows}).headers
    assert "x-trainyard-prediction-ids" in send(world, {"dataframe_records": rows[:-1]}).headers


def test_sagemaker_gets_bare_answers(world: World) -> None:
    """An array for an array or for CSV, lines where Accept asks for them; the caller's attributes come back."""
    lists = [list(row.values()) for row in ROWS]
    expected = [one.prediction for one in Predictor(sample_model(seed=1)).predict(ROWS)]
    response = send(world, lists, **SAGEMAKER, x_amzn_sagemaker_custom_attributes="trace=1")
    assert json.loads(response.body) == expected
    assert response.headers["X-Amzn-SageMaker-Custom-Attributes"] == "trace=1"
    response = send(world, lists, **SAGEMAKER, accept="text/csv")
    assert response.headers["Content-Type"].startswith("text/csv")
    assert response.body.decode() == "".join(f"{json.dumps(one)}\n" for one in expected)
    assert json.loads(send(world, RECORDS, **SAGEMAKER).body) == {"predictions": expected}


def test_sagemakers_inference_id_makes_ids_repeatable(world: World) -> None:
    """It stands for an Idempotency-Key, unless there is one."""
    ids = [send(world, RECORDS, **SAGEMAKER, **more).headers["x-trainyard-prediction-ids"] for more in
           ({}, {}, {"idempotency_key": "other"})]  # fmt: skip
    assert ids[0] == ids[1] != ids[2]


def test_in_a_sagemaker_container_no_header_is_needed(world: World) -> None:
    """The setting says it: arrays are taken from everybody."""
    lists = [list(row.values()) for row in ROWS]
    assert send(world, lists).status == 400
    assert send(configured(world, TRAINYARD_SAGEMAKER="1"), lists).status == 200


def test_a_key_is_needed_unless_the_setting_says_otherwise(world: World) -> None:
    """Where SageMaker has asked IAM no key arrives; the log then names none. Other routes stay closed."""
    assert send(world, RECORDS, authorization="").status == 401
    world = configured(world, TRAINYARD_INVOCATIONS_KEYLESS="1")
    assert send(world, RECORDS, authorization="").status == 200
    assert [record["key_id"] for record in world.logged()] == [None] * 3
    assert send(world, {"rows": ROWS}, path="/v1/predict/flights", authorization="").status == 401


def test_any_host_is_taken_where_the_setting_says_so(world: World) -> None:
    """Only SageMaker knows which Host it sends."""
    assert send(world, RECORDS, host="model.aws.local:8080").status == 400
    assert send(configured(world, TRAINYARD_ALLOWED_HOSTS="*"), RECORDS, host="model.aws.local:8080").status == 200


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_ping_says_whether_there_is_a_model(bare_world: World, path: str) -> None:
    """404 without a model or while it has no champion, 200 with one, or with several of which each can be named."""
    get = bare_world.get
    assert get(path).status == 404
    publish_model(bare_world.blobs, "flights")
    bare_world.clock.advance(6)
    assert get(path).status == 404
    bare_world.publish(1)
    bare_world.clock.advance(6)
    assert (get(path).status, get(path).body) == (200, b"\n")
    publish_model(bare_world.blobs, "trains")
    bare_world.clock.advance(6)
    assert get(path).status == 200
    assert (configured(bare_world, TRAINYARD_SAGEMAKER="1").get(path).body) == b""


def test_release_and_limits_are_told(world: World) -> None:
    """`/version` to whoever has a key, `/execution-parameters` to SageMaker's batch transform."""
    sent = {"host": "localhost", "authorization": f"Bearer {world.key}"}
    response = world.service.handler.handle(Request("GET", "/version", "", sent))
    assert response.body.decode().strip() == json.loads(world.get("/openapi.json").body)["info"]["version"]
    assert json.loads(world.get("/execution-parameters").body)["BatchStrategy"] == "MULTI_RECORD"


def test_csv_is_read_with_and_without_a_header(world: World) -> None:
    """The parameter decides; without it a first line of column names is one. A byte order mark says nothing."""
    head, line = b"seats,distance\n", b"100,1.5\n"
    for body, kind in (
        (head + line, "text/csv"),
        (b"\xef\xbb\xbf" + head + line, "text/csv; charset=utf-8"),
        (head + line, "text/csv; header=present"),
        (b"1.5,100,,,,,\n", "text/csv"),
        (b"1.5,100,,,,,\r\n", "text/csv; header=absent"),
    ):
        response = send(world, body, content_type=kind)
        assert response.status == 200, (body, response.body)
        record = world.logged()[0]["inputs"]
        assert (record["distance"], record["seats"]) == (1.5, 100)
    assert send(world, head + line, content_type="text/csv; header=absent").status == 400


def test_unlogged_predictions_say_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a header, where the body has no place for it."""

    def full(_records: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(world.service.spool, "append", full)
    assert send(world, RECORDS).headers["x-trainyard-logged"] == "false"


@dataclass(frozen=True)
class Bad:
    """One request that must be refused, and how."""

    name: str
    refusal: str
    body: Any = field(default_factory=lambda: RECORDS)
    headers: dict[str, str] = field(default_factory=dict)


CSV = {"content_type": "text/csv"}
BAD = [
    Bad("not JSON", "400 BAD_REQUEST", b"{"),
    Bad("empty", "400 BAD_REQUEST", b""),
    Bad("a bare list", "400 BAD_REQUEST", ROWS),
    Bad("no shape", "400 BAD_REQUEST", {}),
    Bad("two shapes", "400 BAD_REQUEST", {"instances": [], "inputs": []}),
    Bad("another key", "400 BAD_REQUEST", {**RECORDS, "rows": []}),
    Bad("signature", "400 BAD_REQUEST", {**RECORDS, "signature_name": "x"}),
    Bad("messages", "400 BAD_REQUEST", {"messages": []}),
    Bad("prompt", "400 BAD_REQUEST", {"prompt": "tell me"}),
    Bad("unknown params", "400 BAD_REQUEST", {**RECORDS, "params": {"temperature": True}}),
    Bad("params no flags", "400 BAD_REQUEST", {**RECORDS, "params": {"explain": 1}}),
    Bad("records an object", "400 BAD_REQUEST", {"dataframe_records": {}}),
    Bad("no records", "400 INVALID_PARAMETER_VALUE", {"dataframe_records": []}),
    Bad("split without columns", "400 BAD_REQUEST", {"dataframe_split": {"data": []}}),
    Bad("split of other width", "400 BAD_REQUEST", {"dataframe_split": {"columns": ["seats"], "data": [[1, 2]]}}),
    Bad("split twice", "400 BAD_REQUEST", {"dataframe_split": {"columns": ["seats"] * 2, "data": [[1, 2]]}}),
    Bad("instances an object", "400 BAD_REQUEST", {"instances": {}}),
    Bad("instances of other width", "400 BAD_REQUEST", {"instances": [[1, 2]]}),
    Bad("instances of values", "400 INVALID_PARAMETER_VALUE", {"instances": [1, 2]}),
    Bad("inputs of lengths", "400 BAD_REQUEST", {"inputs": {"seats": [1], "distance": [1, 2]}}),
    Bad("inputs of values", "400 BAD_REQUEST", {"inputs": {"seats": 1}}),
    Bad("wrong type", "400 INVALID_PARAMETER_VALUE", {"inputs": {"seats": ["many"]}}),
    Bad("unknown column", "400 INVALID_PARAMETER_VALUE", {"inputs": {"wings": [2]}}),
    Bad("too many rows", "413 INVALID_PARAMETER_VALUE", {"dataframe_records": [{}] * 1001}),
    Bad("too many bytes", "413 INVALID_PARAMETER_VALUE", b" " * (MAX_BODY_BYTES + 1)),
    Bad("ragged CSV", "400 BAD_REQUEST", b"seats,distance\n1\n", CSV),
    Bad("open quote", "400 BAD_REQUEST", b'seats\n"1\n', CSV),
    Bad("CSV not UTF-8", "400 BAD_REQUEST", b"seats\n\xff\n", CSV),
    Bad("empty CSV", "400 BAD_REQUEST", b"\n", CSV),
    Bad("CSV without rows", "400 INVALID_PARAMETER_VALUE", b"seats\n", CSV),
    Bad("bad cell", "400 INVALID_PARAMETER_VALUE", b"seats\nmany\n", CSV),
    Bad("unknown model", "404 RESOURCE_DOES_NOT_EXIST", headers={"x_trainyard_model": "trains"}),
    Bad("unknown version", "404 RESOURCE_DOES_NOT_EXIST", headers={"x_trainyard_model": "flights@99"}),
    Bad("no key", "401 UNAUTHENTICATED", headers={"authorization": ""}),
    Bad("other host", "400 BAD_REQUEST", headers={"host": "evil.example"}),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_what_is_wrong_is_refused_in_mlflows_form(world: World, bad: Bad) -> None:
    """A code of MLflow's and a message, without a stack trace; nothing is logged."""
    response = send(world, bad.body, **bad.headers)
    told = json.loads(response.body)
    assert f"{response.status} {told['error_code']}" == bad.refusal
    assert told["message"]
    assert "stack_trace" not in told
    assert world.logged() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "application/x-npy"},
        {"content_type": "application/json; charset=latin-1"},
        {"content_type": "application/json; format=pandas-split"},
        {"content_type": "text/csv; header=maybe"},
        {"content_encoding": "gzip"},
    ],
)
def test_other_media_are_refused_in_plain_text(world: World, headers: dict[str, str]) -> None:
    """415, as MLflow's scoring server does."""
    response = send(world, RECORDS, **headers)
    assert (response.status, response.headers["Content-Type"].partition(";")[0]) == (415, "text/plain")


def test_all_problems_are_in_the_details(world: World) -> None:
    """Every problem of every row, as in our own protocol."""
    told = json.loads(send(world, b"seats,holiday\nmany,maybe\n2,true\n1.5,\n", content_type="text/csv").body)
    assert [(problem["row"], problem["column"]) for problem in told["details"]] == [
        (1, "seats"),
        (1, "holiday"),
        (3, "seats"),
    ]


def test_serve_is_gunicorn_on_sagemakers_port() -> None:
    """8080 unless SageMaker names another; a port that is none stops it."""
    assert "0.0.0.0:8080" in serve.command({}, cpus=2)
    line = serve.command({"SAGEMAKER_BIND_TO_PORT": "9000"}, cpus=3)
    assert "0.0.0.0:9000" in line
    assert line[line.index("--workers") + 1] == "3"
    line = serve.command({"SAGEMAKER_MODEL_SERVER_WORKERS": "5"}, cpus=3)
    assert line[line.index("--workers") + 1] == "5"
    with pytest.raises(ValueError, match="many"):
        serve.command({"SAGEMAKER_BIND_TO_PORT": "many"}, cpus=1)


def test_a_model_that_comes_is_found(world: World) -> None:
    """The list of models is read again after some seconds; one that the store does not tell is still known."""
    send(world, RECORDS)
    publish_version(world.blobs, sample_model(name="trains"), 1)
    assert send(world, RECORDS).status == 200
    world.clock.advance(6)
    assert send(world, RECORDS).status == 400
