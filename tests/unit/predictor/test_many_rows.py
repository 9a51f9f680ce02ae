"""Many rows at once: columns all the way, and nobody can tell by the answers or by the log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.model import Linear, Number, Pipeline, Predictor, with_golden
from trainyard.schema import Column, Schema
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_predictor.handler import Request
from trainyard_predictor.rows import Table

if TYPE_CHECKING:
    from conftest import World

    from trainyard.model import Model
    from trainyard_predictor.handler import Response

NAMES = ("a", "b", "c")
#: Fewer rows than are worth arrays, and more; some values are missing.
COUNTS = (5, 15, 16, 300)


def plain_model(*, nullable: bool = True) -> Model:
    """Return a model of three columns of floats."""
    whole = sample_model(task="regression")
    steps = tuple(Number(name, impute=0.5) for name in NAMES)
    pipeline = Pipeline(steps, Linear([[1.0], [-2.0], [0.25]], [3.0], "identity"))
    schema = Schema(
        [*(Column(name, "float", nullable=nullable) for name in NAMES), Column("late", "float", role="label")]
    )
    bare = type(whole)(**{**vars(whole), "schema": schema, "pipeline": pipeline, "golden": None, "calibration": None})
    return with_golden(bare, [dict.fromkeys(NAMES, 1.0)])


def publish(world: World, model: Model) -> None:
    """Let the world's champion be this model."""
    point_alias(world.blobs, publish_version(world.blobs, model, 2), seq=2)
    world.pass_seconds(1)


def table(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return values (count, 3), NaN where one is missing."""
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, len(NAMES))).round(3)
    values[rng.random(values.shape) < 0.2] = np.nan
    return values


def rows_of(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[dict[str, float | None]]:
    """Return the rows as JSON has them."""
    listed = [[None if np.isnan(value) else value for value in row] for row in values.tolist()]
    return [dict(zip(NAMES, row, strict=True)) for row in listed]


def infer(world: World, tensors: list[dict[str, Any]], data: bytes) -> Response:
    """Ask with tensors in binary."""
    head = json.dumps({"inputs": tensors}).encode()
    headers = {
        "host": "localhost", "authorization": f"Bearer {world.key}", "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }  # fmt: skip
    return world.service.handler.handle(Request("POST", "/v2/models/flights/infer", "", headers, head + data))


def tensor(name: str, values: np.ndarray[Any, Any], datatype: str = "FP64") -> tuple[dict[str, Any], bytes]:
    """Return a tensor's head and its bytes."""
    data = values.astype({"FP64": "<f8", "FP32": "<f4", "FP16": "<f2"}[datatype]).tobytes()
    parameters = {"binary_data_size": len(data)}
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "parameters": parameters}, data


def predictions(response: Response) -> tuple[list[float], list[str]]:
    """Return the values and the ids of an answer of the Open Inference Protocol."""
    assert response.status == 200, response.body
    outputs = {one["name"]: one["data"] for one in json.loads(response.body)["outputs"]}
    return outputs["prediction"], outputs["prediction_id"]


@pytest.mark.parametrize("count", COUNTS)
def test_binary_tensors_are_answered_and_logged_as_rows_are(world: World, count: int) -> None:
    """One matrix or a tensor for each column, in the order of their names."""
    publish(world, plain_model())
    values = table(count)
    rows = rows_of(values)
    expected = [one.prediction for one in Predictor(plain_model()).predict(rows)]
    said = json.loads(world.ask("flights", {"rows": rows}).body)["rows"]
    assert [row["prediction"] for row in said] == expected
    matrix, data = tensor("x", values)
    columns = [tensor(name, values[:, at]) for at, name in reversed(list(enumerate(NAMES)))]
    by_matrix = predictions(infer(world, [matrix], data))
    by_column = predictions(infer(world, [one for one, _ in columns], b"".join(part for _, part in columns)))
    assert by_matrix[0] == by_column[0] == expected
    ids = [row["prediction_id"] for row in said] + by_matrix[1] + by_column[1]
    logged = {record["id"]: record for record in world.logged()}
    assert [logged[ident]["inputs"] for ident in ids] == rows * 3
    assert [logged[ident]["output"] for ident in ids] == [{"prediction": value} for value in expected] * 3
    world.pass_seconds(1)
    assert f"\ntrainyard_prediction_log_sent_total {3 * count}\n" in world.metrics()


@pytest.mark.parametrize("datatype", ["FP32", "FP16"])
def test_less_exact_numbers_are_taken_as_they_are(world: World, datatype: str) -> None:
    """The answer is that to the numbers that were sent, not to those that were meant."""
    publish(world, plain_model())
    values = table(40)
    head, data = tensor("x", values, datatype)
    sent = values.astype({"FP32": np.float32, "FP16": np.float16}[datatype]).astype(np.float64)
    expected = [one.prediction for one in Predictor(plain_model()).predict(rows_of(sent))]
    assert predictions(infer(world, [head], data))[0] == expected


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_what_is_no_value_is_refused_wherever_it_stands(world: World, bad: float, count: int) -> None:
    """Row and column are named, few rows or many."""
    publish(world, plain_model(nullable=False))
    values = np.nan_to_num(table(count))
    values[2, 1] = bad
    head, data = tensor("x", values)
    response = infer(world, [head], data)
    assert response.status == 400
    said = json.loads(response.body)["error"]
    assert "row 3" in said
    assert "'b'" in said
    assert world.logged() == []


@pytest.mark.parametrize("count", [3, 40])
def test_columns_that_are_not_the_models(world: World, count: int) -> None:
    """One that is missing, one too many, one twice: refused, few rows or many."""
    publish(world, plain_model(nullable=False))
    values = np.ones((count, 4))
    head, data = tensor("x", values)
    for columns, status in ((["a", "b", "c", "d"], 400), (["a", "b", "c", "c"], 400)):
        named = {**head, "parameters": {**head["parameters"], "columns": json.dumps(columns)}}
        assert infer(world, [named], data).status == status
    one, part = tensor("a", values[:, 0])
    assert infer(world, [one], part).status == 400
    other, more = tensor("b", values[:-1, 0])
    assert infer(world, [one, other], part + more).status == 400


def test_rows_of_every_type_are_logged_as_they_were_sent(world: World) -> None:
    """Times as their texts, whole numbers among floats as numbers, missing values as null."""
    rows = sample_rows(200, seed=3)
    rows[7]["distance"] = 42
    said = json.loads(world.ask("flights", {"rows": rows}).body)["rows"]
    logged = {record["id"]: record for record in world.logged()}
    assert [logged[row["prediction_id"]]["inputs"] for row in said] == rows
    outputs = [{name: value for name, value in row.items() if name != "prediction_id"} for row in said]
    assert [logged[row["prediction_id"]]["output"] for row in said] == outputs


def test_a_table_is_a_sequence_of_rows() -> None:
    """For whoever wants rows."""
    values = table(20)
    made = Table(dict(zip(NAMES, values.T, strict=True)), 20)
    rows = rows_of(values)
    assert list(made) == rows
    assert (made[-1], made[3:5], len(made)) == (rows[-1], rows[3:5], 20)
    with pytest.raises(IndexError):
        made[20]
