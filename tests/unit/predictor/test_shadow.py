"""A shadow scores what was answered, after it was answered; it changes no answer, and what is too much is dropped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from trainyard.errors import TransientError
from trainyard.model.inference import Prediction
from trainyard.testing.models import sample_rows
from trainyard_predictor.edges.shadow import ShadowScorer, compared

if TYPE_CHECKING:
    from conftest import World

ROWS = sample_rows(5, seed=3)


def shadowed(world: World, **kind: object) -> None:
    """Give `flights` version 2 as shadow."""
    assert world.ask("flights", {"rows": ROWS}).status == 200
    world.publish(2, alias="shadow", **kind)
    world.pass_seconds(2)
    assert world.logged()


def test_the_difference_is_what_the_two_versions_answer(world: World) -> None:
    """Each record has the id of its prediction, both versions, and the difference that asking both would show."""
    shadowed(world)
    given = json.loads(world.ask("flights", {"rows": ROWS}).body)
    own = json.loads(world.ask("flights@2", {"rows": ROWS}).body)
    records = world.compared()
    assert given["version"] == 1
    assert [record["id"] for record in records] == [row["prediction_id"] for row in given["rows"]]
    for record, was, mine in zip(records, given["rows"], own["rows"], strict=True):
        name = next(n for n in was["probabilities"] if n == str(was["prediction"]).lower())
        assert record["difference"] == pytest.approx(
            mine["probabilities"][name] - was["probabilities"][name], abs=1e-12
        )
        assert record["changed"] == (mine["prediction"] != was["prediction"])
        assert (record["model"], record["version"], record["shadow_version"]) == ("flights", 1, 2)
    assert any(record["difference"] for record in records)


def test_nothing_is_scored_before_the_answer(world: World) -> None:
    """The answer is there while the comparison still waits."""
    shadowed(world)
    assert world.ask("flights", {"rows": ROWS}).status == 200
    assert world.service.background._shadow.counts["scored"] == 0
    assert len(world.compared()) == len(ROWS)


def test_a_share_of_nothing_scores_nothing(world: World) -> None:
    """The weight of the alias is the share of requests that are compared; other aliases are not compared at all."""
    shadowed(world, weight=0.0)
    assert world.ask("flights", {"rows": ROWS}).status == 200
    assert world.compared() == []


def test_only_the_champions_answers_are_compared(world: World) -> None:
    """Whoever asks for a version gets it, and nothing else is done."""
    shadowed(world)
    assert world.ask("flights@1", {"rows": ROWS}).status == 200
    assert world.compared() == []


def test_rows_that_the_shadow_does_not_take_are_counted(world: World) -> None:
    """A shadow that reads other columns fails no answer."""
    shadowed(world, gate=True)
    assert world.ask("flights", {"rows": ROWS}).status == 200
    assert world.compared() == []
    world.pass_seconds(1)
    assert f'trainyard_shadow_rows_total{{outcome="failed"}} {len(ROWS)}\n' in world.metrics()


def test_what_is_too_much_or_cannot_be_sent_is_dropped_and_counted(world: World) -> None:
    """Beyond the room nothing waits; while the queue is away comparisons are lost, predictions are not."""
    shadowed(world)
    for _ in range(4_000 // len(ROWS) + 3):
        assert world.ask("flights", {"rows": ROWS}).status == 200
    scorer: ShadowScorer = world.service.background._shadow
    assert scorer.counts["dropped"] == 3 * len(ROWS)
    world.queue.outage = TransientError("no route to SQS")
    scorer.step()
    assert scorer.counts["dropped"] == 4_000 + 3 * len(ROWS)
    world.queue.outage = None
    assert world.ask("flights", {"rows": ROWS}).status == 200
    scorer.step()
    assert scorer.counts["scored"] == len(ROWS)


def test_the_difference_in_regression_is_of_the_values() -> None:
    """There no decision can change."""
    found = compared({"prediction": 2.0, "prediction_id": "pr_1"}, Prediction(2.5, None))
    assert found == {"difference": 0.5, "changed": False}


def test_a_class_that_the_shadow_does_not_know_has_no_probability() -> None:
    """The whole probability of the answered class is the difference."""
    given = {"prediction": "c", "probabilities": {"a": 0.25, "c": 0.75}, "prediction_id": "pr_1"}
    assert compared(given, Prediction("a", {"a": 0.9, "b": 0.1})) == {"difference": -0.75, "changed": True}
