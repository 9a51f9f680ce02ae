"""Explanations of whole models: they sum to the score, by the columns of the schema, for every kind and task."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.errors import ServiceError
from trainyard.model import (
    Blend,
    Dense,
    IsMissing,
    Linear,
    NeuralNetwork,
    Number,
    Pair,
    Pipeline,
    Predictor,
    TreeEnsemble,
    decode,
    encode,
)
from trainyard.model.explaining.outputs import through_output
from trainyard.schema import Column, Schema
from trainyard.testing.models import ESTIMATORS, TASKS, sample_model, sample_rows, without_covers

if TYPE_CHECKING:
    from trainyard.model.dto import Estimator, Model

UNITS = {"binary": "log-odds", "multiclass": "logit", "regression": "value"}


def logistic(z: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-z))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_base_and_contributions_are_the_score(estimator, task):
    """To 1e-9, for rows with missing values and unknown levels, from the file as from memory."""
    model = decode(encode(sample_model(estimator, task, seed=3)))
    rows = sample_rows(60, seed=9)
    found = Predictor(model).explain(rows)
    k = 3 if task == "multiclass" else 1
    assert found.columns == tuple(column.name for column in model.schema.features)
    assert found.contributions.shape == (60, k, len(found.columns))
    total = found.base + found.contributions.sum(axis=2)
    np.testing.assert_allclose(total, found.score, rtol=1e-9, atol=1e-9)
    plain = {"regression": "value"}.get(task, "probability")
    assert found.unit == (plain if estimator == "blend" else UNITS[task])
    assert found.classes == {"binary": (True,), "multiclass": model.classes, "regression": ()}[task]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("task", TASKS)
def test_the_score_is_what_the_model_answers_before_calibration(estimator, task):
    """Through the output for a single estimator, itself for a blend."""
    model = replace(sample_model(estimator, task, seed=3), calibration=None)
    rows = sample_rows(20, seed=9)
    found, answers = Predictor(model).explain(rows), Predictor(model).predict(rows)
    for row, answer in enumerate(answers):
        score = found.score[row]
        if estimator != "blend" and task == "binary":
            score = logistic(score)
        if estimator != "blend" and task == "multiclass":
            score = np.exp(score - score.max()) / np.exp(score - score.max()).sum()
        if answer.probabilities is None:
            expected = [answer.prediction]
        else:
            expected = list(answer.probabilities.values())[1 if task == "binary" else 0 :]
        np.testing.assert_allclose(score, expected, atol=1e-12)


def test_a_row_is_told_of_the_predicted_class():
    """Of two classes always the positive one, whose score it is."""
    rows = sample_rows(30, seed=4)
    for task in ("binary", "multiclass"):
        predictor = Predictor(sample_model("linear", task, seed=1))
        found = predictor.explain(rows)
        predictions = [answer.prediction for answer in predictor.predict(rows)]
        assert len(set(predictions)) > 1
        told = [found.row(index, predicted) for index, predicted in enumerate(predictions)]
        assert [one["class"] for one in told] == ([True] * 30 if task == "binary" else predictions)
        for one in told:
            assert one["base"] + sum(one["contributions"].values()) == pytest.approx(one["score"], abs=1e-9)
    assert "class" not in Predictor(sample_model("linear", "regression")).explain(rows).row(0, 1.0)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("task", TASKS)
def test_the_predicted_class_alone_is_told_as_among_all(estimator, task):
    """Nothing else is made then: one output for each row."""
    predictor, rows = Predictor(sample_model(estimator, task, seed=1)), sample_rows(30, seed=4)
    clean, _ = predictor.model.schema.check_rows(rows, columns=predictor.model.schema.features)
    columns = {c.name: [row[c.name] for row in clean] for c in predictor.model.schema.features}
    predicted = [answer.prediction for answer in predictor.predict_clean(columns, 30)]
    whole, alone = predictor.explain_columns(columns), predictor.explain_columns(columns, predicted)
    assert alone.contributions.shape == (30, 1, len(columns))
    for index, one in enumerate(predicted):
        expected, told = whole.row(index, one), alone.row(index, one)
        assert told["contributions"] == pytest.approx(expected["contributions"], abs=1e-12)
        assert told | {"contributions": 0} == expected | {"contributions": 0}
    if task == "multiclass":
        other = next(label for label in alone.classes if label != predicted[0])
        with pytest.raises(ValueError, match="row 0 is explained for output"):
            alone.row(0, other)


def test_linear_contributions_are_weights_times_distances_from_the_baseline():
    """All matrix columns of a step belong to its column; a pair belongs to both of its columns, half each."""
    steps = (
        Number("distance", impute=0.0),
        IsMissing("distance"),
        Pair("distance", "seats", "difference", impute=0.0),
        Number("seats", impute=1.0),
    )
    weights, baseline = np.array([[2.0], [-5.0], [3.0], [0.5]]), np.array([100.0, 0.25, -3.0, 200.0])
    linear = Linear(weights, np.array([7.0]), "identity", baseline)
    model = replace(sample_model("linear", "regression"), pipeline=Pipeline(steps, linear))
    row = dict.fromkeys(column.name for column in model.schema.features) | {"distance": 150.0, "seats": 180}
    found = Predictor(model).explain([row])
    got = dict(zip(found.columns, found.contributions[0, 0].tolist(), strict=True))
    pair = 3.0 * (150.0 - 180.0 + 3.0)
    assert got.pop("distance") == pytest.approx(2.0 * 50.0 - 5.0 * -0.25 + pair / 2)
    assert got.pop("seats") == pytest.approx(0.5 * -20.0 + pair / 2)
    assert not any(got.values())
    assert found.base[0] == pytest.approx(7.0 + 200.0 - 1.25 - 9.0 + 100.0)


@pytest.mark.parametrize("output", ["sigmoid", "exp", "identity"])
def test_one_score_through_an_output_keeps_the_proportions(output):
    """The rescale rule; where the score is the base the slope there, beside it nearly the same."""
    task = "regression" if output == "exp" else "binary"
    f = {"sigmoid": logistic, "exp": np.exp, "identity": lambda z: np.clip(z, 0.0, 1.0)}[output]
    base = np.array([0.3])
    contributions = np.array([[[0.5, 1.0, 1e-9, -3.0], [0.2, -1.0, 1e-9, 1.0]]])
    score = base[:, None] + contributions.sum(axis=1)
    after, found = through_output(output, task, base, score, contributions)
    np.testing.assert_allclose(after, f(score), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), f(score) - f(base[:, None]), atol=1e-12)
    slope = (f(base[0] + 1e-6) - f(base[0] - 1e-6)) / 2e-6
    np.testing.assert_allclose(found[0, :, 1], slope * contributions[0, :, 1], rtol=1e-6)
    np.testing.assert_allclose(found[0, :, 2], slope * contributions[0, :, 2], rtol=1e-6)
    np.testing.assert_allclose(found[0, 0, 0] / found[0, 1, 0], 2.5)


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_several_scores_through_an_output_follow_its_slopes(output):
    """Against small steps along the line, each with the quotients of differences at its place."""
    rng = np.random.default_rng(2)
    base = rng.dirichlet(np.ones(3)) if output == "identity" else rng.normal(size=3)
    score = rng.dirichlet(np.ones(3), 4).T if output == "identity" else rng.normal(size=(3, 4)) * 2
    contributions = rng.normal(size=(3, 2, 4))
    contributions[:, 1] = score - base[:, None] - contributions[:, 0]
    after, found = through_output(output, "multiclass", base, score, contributions)

    def f(z: Any) -> Any:
        e = np.exp(z) if output == "softmax" else np.clip(z, 0.0, 1.0)
        return e / e.sum(axis=0)

    expected = np.zeros_like(found)
    for step in (np.arange(500) + 0.5) / 500:
        at = base[:, None] + step * (score - base[:, None])
        for of, way in zip(contributions, np.eye(3)[:, :, None] * 1e-6, strict=True):
            expected += (f(at + way) - f(at - way))[:, None] / 2e-6 * of / 500
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), after - f(base[:, None]), atol=1e-12)


def test_many_scores_through_an_output_take_little_memory():
    """A thousand classes: no matrix of classes by classes for each row."""
    rng = np.random.default_rng(3)
    base, contributions = rng.normal(size=1000), rng.normal(size=(1000, 2, 20))
    for output in ("softmax", "identity"):
        tracemalloc.start()
        try:
            through_output(output, "multiclass", base, base[:, None] + contributions.sum(axis=1), contributions)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 << 20


def test_a_blend_weighs_its_members_probabilities():
    """Each member's contributions through its own output, and the base too."""
    model = sample_model("blend", "binary", seed=5)
    rows = sample_rows(25, seed=2)
    whole = Predictor(model).explain(rows)
    assert isinstance(model.pipeline, Blend)
    base, contributions = 0.0, np.zeros_like(whole.contributions)
    for member, weight in zip(model.pipeline.members, model.pipeline.weights.tolist(), strict=True):
        part = Predictor(replace(model, pipeline=member)).explain(rows)
        low, high = logistic(part.base), logistic(part.score)
        base += weight * low
        contributions += (weight * (high - low) / (part.score - part.base))[:, :, None] * part.contributions
    np.testing.assert_allclose(whole.base, base, atol=1e-12)
    np.testing.assert_allclose(whole.contributions, contributions, atol=1e-9)


def over(model: Model, estimator: Estimator, names: tuple[str, ...] = ("distance", "delay")) -> Model:
    """Return the model with another estimator of some numbers as they are."""
    schema = Schema(tuple(Column(name, "float") for name in names))
    return replace(
        model, schema=schema, pipeline=Pipeline(tuple(Number(name, impute=0.0) for name in names), estimator)
    )


def contributions_of(model: Model, **values: float) -> tuple[Any, dict[str, list[float]]]:
    """Return what is explained of one row of numbers, and the contributions that are not 0 for every output."""
    row = dict.fromkeys(column.name for column in model.schema.features) | values
    found = Predictor(model).explain([row])
    by_column = zip(found.columns, found.contributions[0].T.tolist(), strict=True)
    return found, {name: each for name, each in by_column if any(each)}


def test_a_step_between_the_points_of_the_integral_is_shared_by_the_distances():
    """The derivative is 0 at all of them, the score's change is 2."""
    step = (Dense([[1e9], [1e9]], [-0.5e9], "tanh"), Dense([[1.0]], [0.0], "identity"))
    model = over(sample_model("linear", "regression"), NeuralNetwork(step, "identity", [0.0, 0.0]))
    found, each = contributions_of(model, distance=3.0, delay=-1.0)
    assert (found.base.tolist(), found.score.tolist()) == ([-1.0], [[1.0]])
    assert each == {"distance": [1.5], "delay": [0.5]}


@pytest.mark.parametrize("output", ["softmax", "identity"])
def test_probabilities_that_jump_between_the_points_are_shared_by_the_rescale_rule(output):
    """Each by its own score, so that base and contributions still are the score."""
    linear = Linear([[-3e5, 0.0, 3e5], [1e5, 0.0, -1e5]], [1e5, 0.0, -1e5], output)
    model = over(sample_model("linear", "multiclass"), linear)
    model = replace(model, pipeline=Blend((model.pipeline, model.pipeline), [0.5, 0.5]))
    found, each = contributions_of(model, distance=1.0, delay=1.0)
    np.testing.assert_allclose(found.base + found.contributions[0].sum(axis=1), found.score[0], atol=1e-12)
    assert found.base.tolist() != found.score[0].tolist()
    np.testing.assert_allclose(each["distance"], [-1.5, 0.0, 1.5], atol=1e-12)
    np.testing.assert_allclose(each["delay"], [0.5, 0.0, -0.5], atol=1e-12)


def test_rounding_of_trees_that_read_nothing_is_finite():
    """Ten times 0.1 in two orders, and nothing known of the row."""
    trees = TreeEnsemble.from_nodes(
        tree_start=np.arange(10),
        feature=np.full(10, -1),
        threshold=np.zeros(10),
        left=np.full(10, -1),
        right=np.full(10, -1),
        default_left=np.zeros(10, dtype=bool),
        value=np.full((10, 1), 0.1),
        tree_output=np.zeros(10, dtype=int),
        base=[0.3],
        aggregation="sum",
        output="identity",
        cover=np.ones(10),
    )
    steps = (Number("distance"), Number("delay"))
    model = replace(over(sample_model("linear", "regression"), trees), pipeline=Pipeline(steps, trees))
    found, _ = contributions_of(model)
    np.testing.assert_allclose(found.base + found.contributions[0].sum(axis=1), found.score[0], rtol=1e-15)


def test_the_base_is_added_up_as_the_score_is():
    """Of sums that cancel the order decides; the base is the model's own answer to the baseline."""
    names = tuple(f"c{number}" for number in range(64))
    linear = Linear([[1e308], [-1e308]] * 32, [0.0], "identity", [1.0] * 64)
    found, each = contributions_of(over(sample_model("linear", "regression"), linear, names), **dict.fromkeys(names, 1))
    assert (found.base.tolist(), found.score.tolist(), each) == ([0.0], [[0.0]], {})


@pytest.mark.parametrize("blended", [False, True])
def test_a_base_that_is_not_finite_cannot_be_explained(blended):
    """Rows that are away from it are answered all the same."""
    model = over(sample_model("linear", "binary"), Linear([[1e308], [1e308]], [0.0], "sigmoid", [1.0, 1.0]))
    if blended:
        model = replace(model, pipeline=Blend((model.pipeline, model.pipeline), [0.5, 0.5]))
    row = dict.fromkeys(column.name for column in model.schema.features) | {"distance": 1.0, "delay": -1.0}
    assert Predictor(model).predict([row])[0].probabilities == {"false": 0.5, "true": 0.5}
    with pytest.raises(ServiceError, match="not a finite number") as refused:
        Predictor(model).explain([row])
    assert refused.value.code == "cannot_explain"


@pytest.mark.parametrize("estimator", ["tree_ensemble", "blend"])
def test_trees_that_do_not_know_their_covers_cannot_be_explained(estimator):
    """They still predict; the error says what to do."""
    model = without_covers(sample_model(estimator, "binary"))
    predictor, rows = Predictor(model), sample_rows(2)
    assert len(predictor.predict(rows)) == 2
    with pytest.raises(ServiceError, match="train the model again") as refused:
        predictor.explain(rows)
    assert refused.value.code == "cannot_explain"


def test_rows_that_do_not_fit_are_refused_as_for_predictions():
    """A wrong type, a missing column, and values whose score is no finite number."""
    predictor = Predictor(sample_model("linear", "binary"))
    rows = sample_rows(3)
    for bad in ({**rows[1], "seats": "many"}, {}):
        refused = []
        for ask in (predictor.predict, predictor.explain):
            with pytest.raises(ServiceError) as answer:
                ask([rows[0], bad])
            refused.append((answer.value.code, answer.value.details))
        assert refused[0] == refused[1]
    huge = NeuralNetwork((Dense(np.full((1, 1), 1e308), np.zeros(1), "identity"),), "identity")
    pipeline = Pipeline((Number("distance", impute=0.0),), huge)
    model = replace(sample_model("linear", "regression"), pipeline=pipeline)
    with pytest.raises(ServiceError) as answer:
        Predictor(model).explain([{**rows[0], "distance": 1.0}, {**rows[0], "distance": 1e10}])
    assert (answer.value.code, [d.row for d in answer.value.details]) == ("invalid_rows", [2])


def test_blocks_of_rows_give_the_same():
    """Columns as arrays and as lists, many rows and few."""
    predictor = Predictor(sample_model("blend", "multiclass", seed=8))
    rows = sample_rows(400, seed=1)
    whole = predictor.explain(rows)
    few = predictor.explain(rows[100:103])
    np.testing.assert_allclose(whole.contributions[100:103], few.contributions, atol=1e-12)
