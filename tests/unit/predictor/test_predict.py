"""Predictions through the handler: right answers, and a clear refusal for everything else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.errors import ServiceError
from trainyard.model import Dense, Linear, NeuralNetwork, Number, Pipeline, Predictor, with_golden
from trainyard.testing.models import sample_model, sample_rows, without_covers
from trainyard.testing.publishing import point_alias, publish_key, publish_model, publish_version
from trainyard_predictor import domain
from trainyard_predictor.handler import MAX_BODY_BYTES, Request

if TYPE_CHECKING:
    from conftest import World

ROW = sample_rows(1)[0]


def error_of(response: Any) -> str:
    """Return the error code of an answer, after checking that it is in the one form."""
    body = json.loads(response.body)
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "details"}
    code: str = body["error"]["code"]
    return code


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_row_is_answered_as_the_model_would(world: World, task: str) -> None:
    """The answers are the model's own, in the order of the rows, each with an id of its own."""
    world.publish(2, task=task)
    rows = sample_rows(20, seed=5)
    response = world.ask("flights", {"rows": rows, "explain": False})
    assert response.status == 200
    assert response.headers["x-trainyard-version"] == "2"
    answer = json.loads(response.body)
    assert (answer["model"], answer["version"]) == ("flights", 2)
    expected = Predictor(sample_model(task=task, seed=2)).predict(rows)
    for got, wanted in zip(answer["rows"], expected, strict=True):
        assert got["prediction"] == wanted.prediction
        assert got.get("probabilities") == wanted.probabilities
        assert "logged" not in got
    assert len({row["prediction_id"] for row in answer["rows"]}) == 20


@pytest.mark.parametrize("kind", [{"estimator": "tree_ensemble"}, {"task": "multiclass"}, {"task": "regression"}])
def test_rows_are_explained_where_it_is_asked(world: World, kind: dict[str, str]) -> None:
    """Base and contributions of every feature sum to the score; the log knows nothing of it."""
    world.publish(2, **kind)
    rows = sample_rows(30, seed=5)
    told = json.loads(world.ask("flights", {"rows": rows, "explain": True}).body)["rows"]
    logged = world.logged()
    plain = json.loads(world.ask("flights", {"rows": rows}).body)["rows"]
    for got, without in zip(told, plain, strict=True):
        why = got["explanation"]
        assert set(why["contributions"]) == set(ROW)
        assert why["base"] + sum(why["contributions"].values()) == pytest.approx(why["score"], rel=1e-9, abs=1e-9)
        assert got["prediction"] == without["prediction"]
        assert why.get("class") == {"multiclass": got["prediction"], "regression": None}.get(kind.get("task", ""), True)
        assert "explanation" not in without
    assert [record["output"] for record in logged] == [record["output"] for record in world.logged()]
    assert not any("explanation" in json.dumps(record) for record in logged)


def test_a_version_that_cannot_be_explained_says_so(world: World) -> None:
    """It is refused before anything is logged; without explain it answers."""
    model = without_covers(sample_model("tree_ensemble", seed=2))
    point_alias(world.blobs, publish_version(world.blobs, model, 2), seq=2)
    world.pass_seconds(5)
    response = world.ask("flights@2", {"rows": [ROW], "explain": True})
    assert (response.status, error_of(response)) == (409, "cannot_explain")
    assert world.logged() == []
    assert world.ask("flights@2", {"rows": [ROW]}).status == 200


def test_a_version_without_a_finite_base_says_so(world: World) -> None:
    """Before anything is logged, as for trees without covers; without explain it answers."""
    linear = Linear([[1e308], [1e308]], [0.0], "sigmoid", [1.0, 1.0])
    pipeline = Pipeline((Number("distance", impute=0.0), Number("seats", impute=0.0)), linear)
    model = with_golden(replace(sample_model("linear", seed=2), pipeline=pipeline), [{"distance": 1.0, "seats": -1}])
    point_alias(world.blobs, publish_version(world.blobs, model, 2), seq=2)
    world.pass_seconds(5)
    response = world.ask("flights@2", {"rows": [{"distance": 1.0, "seats": -1}], "explain": True})
    assert (response.status, error_of(response)) == (409, "cannot_explain")
    assert world.logged() == []
    assert world.ask("flights@2", {"rows": [{}]}).status == 200


def test_a_slow_version_is_explained_in_fewer_rows(world: World) -> None:
    """The error says how many; so many are answered, and more without explain."""
    rng = np.random.default_rng(0)
    sizes = (2, 900, 900, 900, 1)
    layers = tuple(
        Dense(rng.normal(size=shape) / 30, np.zeros(shape[1]), "relu" if shape[1] > 1 else "identity")
        for shape in pairwise(sizes)
    )
    pipeline = Pipeline((Number("distance", impute=0.0), Number("seats", impute=0.0)), NeuralNetwork(layers, "sigmoid"))
    model = with_golden(replace(sample_model("linear", seed=2), pipeline=pipeline), [{}])
    point_alias(world.blobs, publish_version(world.blobs, model, 2), seq=2)
    world.pass_seconds(5)
    refused = world.ask("flights@2", {"rows": [ROW] * 40, "explain": True})
    assert (refused.status, error_of(refused)) == (413, "too_large")
    said = re.search(r"send at most (\d+) in one request", json.loads(refused.body)["error"]["message"])
    assert said
    assert 1 < int(said[1]) < 40
    assert world.ask("flights@2", {"rows": [ROW] * (int(said[1]) + 1), "explain": True}).status == 413
    assert world.logged() == []
    assert world.ask("flights@2", {"rows": [ROW], "explain": True}).status == 200
    assert world.ask("flights@2", {"rows": [ROW] * 40}).status == 200


def test_one_row_that_takes_too_long_cannot_be_explained() -> None:
    """Fewer rows than one cannot be sent, so it is the version that is refused."""
    domain.check_explained(100, 0.05)
    for rows, seconds, code in ((1, 5.1, "cannot_explain"), (2, 4.9, "too_large"), (101, 1e-6, "too_large")):
        with pytest.raises(ServiceError) as refused:
            domain.check_explained(rows, seconds)
        assert refused.value.code == code


def test_alias_and_version_can_be_named(world: World) -> None:
    """`model@alias` and `model@number` answer by exactly that version, whoever is champion."""
    world.publish(2)
    world.publish(3, alias="shadow")
    for target, version in (("flights", 2), ("flights@1", 1), ("flights@shadow", 3), ("flights@champion", 2)):
        assert json.loads(world.ask(target, {"rows": [ROW]}).body)["version"] == version


def test_absent_and_null_columns_are_missing(world: World) -> None:
    """A nullable column may be left out, which is the same as null."""
    absent = world.ask("flights", {"rows": [{}]})
    null = world.ask("flights", {"rows": [dict.fromkeys(ROW)]})
    assert absent.status == null.status == 200
    assert json.loads(absent.body)["rows"][0]["probabilities"] == json.loads(null.body)["rows"][0]["probabilities"]


def test_all_problems_of_all_rows_are_listed(world: World) -> None:
    """422 names row (from 1), column, what was expected and what came, for every problem at once."""
    rows = [ROW, {**ROW, "distance": "far", "seats": 1.5}, 7, {**ROW, "late": True, "wings": 2}]
    response = world.ask("flights", {"rows": rows})
    assert (response.status, error_of(response)) == (422, "invalid_rows")
    details = json.loads(response.body)["error"]["details"]
    assert [(d["row"], d["column"]) for d in details] == [
        (2, "distance"),
        (2, "seats"),
        (3, None),
        (4, "late"),
        (4, "wings"),
    ]
    assert details[0] == {"row": 2, "column": "distance", "expected": "a finite number", "got": "far"}
    assert world.logged() == []


@dataclass(frozen=True)
class Bad:
    """One request that must be refused, and how."""

    name: str
    refusal: str
    body: Any = field(default_factory=lambda: {"rows": [ROW]})
    target: str = "flights"
    headers: dict[str, str] = field(default_factory=dict)


BAD = [
    Bad("empty body", "400 empty_body", body=b""),
    Bad("spaces", "400 empty_body", body=b" \n"),
    Bad("not JSON", "400 bad_json", body=b"{rows:"),
    Bad("NaN", "400 bad_json", body=b'{"rows":[{"distance":NaN}]}'),
    Bad("infinity", "400 bad_json", body=b'{"rows":[{"distance":1e999}]}'),
    Bad("huge integer", "400 bad_json", body=b'{"rows":[{"seats":99999999999999999999}]}'),
    Bad("key twice", "400 bad_json", body=b'{"rows":[{"seats":1,"seats":2}]}'),
    Bad("deep", "400 bad_json", body=b"[" * 5000 + b"]" * 5000),
    Bad("half a surrogate", "400 bad_json", body=b'{"rows":[{"remark":"\\ud800"}]}'),
    Bad("not UTF-8", "400 bad_json", body=b'{"rows":[{"remark":"\xff"}]}'),
    Bad("a list", "400 bad_request", body=[ROW]),
    Bad("no rows", "400 bad_request", body={}),
    Bad("rows not a list", "400 bad_request", body={"rows": ROW}),
    Bad("another key", "400 bad_request", body={"rows": [ROW], "row": []}),
    Bad("explain not a flag", "400 bad_request", body={"rows": [ROW], "explain": "yes"}),
    Bad("too many rows to explain", "413 too_large", body={"rows": [{}] * 101, "explain": True}),
    Bad("empty rows", "422 invalid_rows", body={"rows": []}),
    Bad("row null", "422 invalid_rows", body={"rows": [None]}),
    Bad("row a list", "422 invalid_rows", body={"rows": [[1, 2]]}),
    Bad("wrong type", "422 invalid_rows", body={"rows": [{"distance": "1"}]}),
    Bad("nested value", "422 invalid_rows", body={"rows": [{"distance": {"a": [1]}}]}),
    Bad("the label", "422 invalid_rows", body={"rows": [{**ROW, "late": "yes"}]}),
    Bad("the key", "422 invalid_rows", body={"rows": [{**ROW, "flight": 1}]}),
    Bad("bad date", "422 invalid_rows", body={"rows": [{"day": "2013-02-30"}]}),
    Bad("no zone", "422 invalid_rows", body={"rows": [{"planned": "2013-02-03T10:00:00"}]}),
    Bad("too many rows", "413 too_large", body={"rows": [{}] * 1001}),
    Bad("too many bytes", "413 too_large", body=b" " * (MAX_BODY_BYTES + 1)),
    Bad("says too many bytes", "413 too_large", body=b"", headers={"content_length": "104857600"}),
    Bad("cut off", "408 request_timeout", body=b'{"rows":[]}', headers={"content_length": "500"}),
    Bad("form", "415 unsupported_media", headers={"content_type": "application/x-www-form-urlencoded"}),
    Bad("latin-1", "415 unsupported_media", headers={"content_type": "application/json; charset=latin-1"}),
    Bad("gzip", "415 unsupported_media", headers={"content_encoding": "gzip"}),
    Bad("unknown model", "404 unknown_model", target="trains"),
    Bad("unknown model's alias", "404 unknown_model", target="trains@champion"),
    Bad("not a name", "404 unknown_model", target="Flights"),
    Bad("a path", "404 unknown_model", target="..%2f.."),
    Bad("empty alias", "404 unknown_alias", target="flights@"),
    Bad("unknown alias", "404 unknown_alias", target="flights@nobody"),
    Bad("unknown version", "404 unknown_version", target="flights@99"),
    Bad("version 0", "404 unknown_version", target="flights@0"),
    Bad("huge version", "404 unknown_version", target="flights@" + "9" * 400),
    Bad("two segments", "404 not_found", target="flights/x"),
    Bad("no segment", "404 not_found", target=""),
    Bad("long path", "414 uri_too_long", target="f" * 5000),
    Bad("no key", "401 no_key", headers={"authorization": ""}),
    Bad("bad key", "401 bad_key", headers={"authorization": "Bearer ty_1_2_3"}),
    Bad("basic", "401 bad_key", headers={"authorization": "Basic eDp5"}),
    Bad("other host", "400 bad_host", headers={"host": "evil.example"}),
    Bad("long idempotency key", "400 bad_request", headers={"idempotency_key": "k" * 256}),
    Bad("empty idempotency key", "400 bad_request", headers={"idempotency_key": ""}),
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_bad_input_is_refused_by_name(world: World, bad: Bad) -> None:
    """Every kind of bad input has its 4xx and code; nothing of it is logged as a prediction."""
    response = world.ask(bad.target, bad.body, **bad.headers)
    assert f"{response.status} {error_of(response)}" == bad.refusal
    assert world.logged() == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_refused(world: World, method: str) -> None:
    """Only POST predicts; the answer says so."""
    request = Request(method, "/v1/predict/flights", "", {"host": "localhost"})
    response = world.service.handler.handle(request)
    assert (response.status, error_of(response), response.headers["Allow"]) == (405, "method_not_allowed", "POST")


def test_another_scope_is_refused(world: World) -> None:
    """A live key without the scope `predict` gets 403."""
    world.key = publish_key(world.blobs, "ingest", "read")
    world.clock.advance(3)
    assert error_of(world.ask("flights", {"rows": [ROW]})) == "wrong_scope"


def test_a_model_without_champion_is_not_an_unknown_one(bare_world: World) -> None:
    """409 `no_model` as long as nothing was trained; the first version answers as soon as it is there."""
    assert error_of(bare_world.ask("flights", {"rows": [ROW]})) == "unknown_model"
    publish_model(bare_world.blobs, "flights")
    bare_world.clock.advance(1)
    response = bare_world.ask("flights", {"rows": [ROW]})
    assert (response.status, error_of(response)) == (409, "no_model")
    bare_world.publish(1)
    bare_world.clock.advance(1)
    assert bare_world.ask("flights", {"rows": [ROW]}).status == 200


def test_open_routes_need_no_key(world: World) -> None:
    """Health, readiness, metrics and the OpenAPI document are there for whoever is on this host."""
    assert json.loads(world.get("/healthz").body) == {"alive": True}
    ready = world.get("/readyz")
    assert (ready.status, json.loads(ready.body)["ready"]) == (200, True)
    document = json.loads(world.get("/openapi.json").body)
    assert document["openapi"] == "3.1.0"


def test_metrics_count_what_happened(world: World) -> None:
    """Requests by status and rows by version can be read from /metrics."""
    world.ask("flights", {"rows": [ROW, ROW]})
    world.ask("flights", {"rows": []})
    text = world.get("/metrics").body.decode()
    assert 'trainyard_predictions_total{model="flights",version="1"} 2\n' in text
    route = 'service="predictor",method="POST",route="/v1/predict/{target}"'
    assert f'trainyard_http_requests_total{{{route},status="200"}} 1\n' in text
    assert f'trainyard_http_requests_total{{{route},status="422"}} 1\n' in text
    assert 'trainyard_model_version{model="flights",alias="champion"} 1\n' in text


def test_the_request_id_is_kept_or_made(world: World) -> None:
    """A well-formed X-Request-Id comes back and stands in the log; another one is replaced."""
    kept = world.ask("flights", {"rows": [ROW]}, x_request_id="trip-42")
    made = world.ask("flights", {"rows": [ROW]}, x_request_id="a b\n")
    assert kept.headers["X-Request-Id"] == "trip-42"
    assert len(made.headers["X-Request-Id"]) == 32
    assert world.logged()[0]["trace_id"] == "trip-42"
