"""Answers: checked against plain Python, equal for any batch, refused with all problems for bad rows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from trainyard.errors import ArtifactError, ServiceError
from trainyard.model import (
    DATE_PARTS,
    Blend,
    DateParts,
    Golden,
    IsMissing,
    Linear,
    Model,
    Number,
    OneHot,
    Pipeline,
    Predictor,
    TableEncoding,
    Temperature,
    self_test,
    with_golden,
)
from trainyard.model.batches import Batches
from trainyard.testing.models import ESTIMATORS, SCHEMA, TASKS, sample_model, sample_rows

KINDS = [(estimator, task) for estimator in ESTIMATORS for task in TASKS]


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the clean columns of rows."""
    clean, problems = SCHEMA.check_rows(rows, columns=SCHEMA.features)
    assert not problems
    return {c.name: [row[c.name] for row in clean if row is not None] for c in SCHEMA.features}


@pytest.mark.parametrize(("estimator", "task"), KINDS)
def test_rows_columns_and_single_rows_give_the_same_bits(estimator: str, task: str) -> None:
    """Serving rows, evaluating columns and asking one row at a time agree exactly."""
    model = sample_model(estimator, task)
    predictor = Predictor(model)
    rows = sample_rows(150, seed=5)
    whole = predictor.predict_columns(columns_of(rows))
    answers = predictor.predict(rows)
    alone = [predictor.predict([row])[0] for row in rows]
    assert alone == answers
    if task == "regression":
        assert [a.prediction for a in answers] == whole.tolist()
    else:
        assert [list((a.probabilities or {}).values()) for a in answers] == whole.tolist()
        assert whole.shape == (150, len(model.classes))
        np.testing.assert_allclose(whole.sum(axis=1), 1.0, atol=1e-12)


def test_many_rows_are_answered_in_chunks() -> None:
    """A table of several chunks gives what its parts give."""
    model = sample_model("blend", "multiclass")
    batches = Batches(model)
    batches._chunk = 64
    columns = columns_of(sample_rows(300, seed=6))
    whole = Predictor(model).predict_columns(columns)
    assert np.array_equal(batches.outputs(columns, 300), whole)


def test_numpy_columns_are_as_good_as_lists() -> None:
    """Float, object and datetime64 arrays with NaN and NaT give what lists with None give."""
    columns = columns_of(sample_rows(80, seed=8))
    arrays: dict[str, Any] = {
        "distance": np.array([math.nan if v is None else v for v in columns["distance"]]),
        "seats": np.array(columns["seats"], dtype=object),
        "holiday": np.array([math.nan if v is None else v for v in columns["holiday"]]),
        "carrier": np.array([math.nan if v is None else v for v in columns["carrier"]], dtype=object),
        "remark": columns["remark"],
        "day": np.array(columns["day"], dtype="datetime64[D]"),
        "planned": np.array([v and v.replace(tzinfo=None) for v in columns["planned"]], dtype="datetime64[us]"),
    }
    for estimator in ESTIMATORS:
        predictor = Predictor(sample_model(estimator, "binary"))
        assert np.array_equal(predictor.predict_columns(arrays), predictor.predict_columns(columns))


def regression(*steps: Any, weights: list[float]) -> Predictor:
    """Return a linear regression with the given steps."""
    linear = Linear(np.array(weights).reshape(-1, 1), np.zeros(1), "identity")
    return Predictor(replace(sample_model("linear", "regression"), pipeline=Pipeline(steps, linear), golden=None))


def answer(predictor: Predictor, **values: Any) -> Any:
    """Return the answer to a row in which everything else is missing."""
    row = {c.name: None for c in SCHEMA.features} | values
    return predictor.predict([row])[0].prediction


def test_numbers_are_imputed_scaled_and_cut() -> None:
    """((value or impute) - center) / scale, cut to +-clip."""
    predictor = regression(Number("distance", impute=7.0, center=1.0, scale=2.0, clip=10.0), weights=[1.0])
    assert answer(predictor, distance=5.0) == 2.0
    assert answer(predictor) == 3.0
    assert answer(predictor, distance=1e300) == 10.0


def test_levels_unknown_and_missing_have_their_own_places() -> None:
    """One-hot columns come in the order levels, other, missing; without them such values are zeros."""
    full = regression(OneHot("carrier", ("AA", "UA")), weights=[1.0, 2.0, 3.0, 4.0])
    assert [answer(full, carrier=c) for c in ("AA", "UA", "ZZ", None)] == [1.0, 2.0, 3.0, 4.0]
    bare = regression(OneHot("carrier", ("AA",), other=False, missing=False), weights=[1.0])
    assert [answer(bare, carrier=c) for c in ("AA", "ZZ", None)] == [1.0, 0.0, 0.0]
    table = TableEncoding("carrier", ("AA", "UA"), np.array([[1.0], [2.0]]), np.array([3.0]), np.array([4.0]))
    encoded = regression(table, weights=[1.0])
    assert [answer(encoded, carrier=c) for c in ("AA", "UA", "ZZ", None)] == [1.0, 2.0, 3.0, 4.0]


def test_missing_is_told_for_any_type() -> None:
    """IsMissing reads numbers, texts and times alike."""
    for name, value in (("seats", 3), ("remark", ""), ("planned", "2024-01-01T00:00:00Z")):
        predictor = regression(IsMissing(name), weights=[1.0])
        assert answer(predictor, **{name: value}) == 0.0
        assert answer(predictor) == 1.0


def test_every_date_part_is_right() -> None:
    """All parts of a Thursday at noon, UTC, whatever the zone it was written in; a date counts from midnight."""
    wanted = {
        "year": 2024,
        "month": 2,
        "day": 29,
        "weekday": 3,
        "day_of_year": 60,
        "hour": 12,
        "minute": 30,
        "month_sin": math.sin(2 * math.pi / 12),
        "month_cos": math.cos(2 * math.pi / 12),
        "weekday_sin": math.sin(2 * math.pi * 3 / 7),
        "weekday_cos": math.cos(2 * math.pi * 3 / 7),
        "hour_sin": math.sin(2 * math.pi * 12.5 / 24),
        "hour_cos": math.cos(2 * math.pi * 12.5 / 24),
        "epoch_days": 19782 + 12.5 / 24,
    }
    assert set(wanted) == set(DATE_PARTS)
    for part, value in wanted.items():
        predictor = regression(DateParts("planned", (part,), impute=np.array([-1.0])), weights=[1.0])
        assert answer(predictor, planned="2024-02-29T13:30:00+01:00") == pytest.approx(value, abs=1e-12)
        assert answer(predictor) == -1.0
    before_1970 = regression(DateParts("day", ("weekday",), impute=np.zeros(1)), weights=[1.0])
    assert answer(before_1970, day="1969-12-31") == 2.0


def test_the_threshold_decides_for_binary_models() -> None:
    """classes[1] is answered from the threshold on; the probabilities stay what they are."""
    model = sample_model("linear", "binary")
    rows = sample_rows(40)
    for threshold in (0.0, 0.3, 1.0):
        for given in Predictor(replace(model, threshold=threshold)).predict(rows):
            assert given.probabilities is not None
            assert given.prediction is (given.probabilities["true"] >= threshold)


def test_temperature_softens_and_keeps_the_order() -> None:
    """A temperature above 1 pulls probabilities to the middle and never changes which is larger."""
    for task in ("binary", "multiclass"):
        model = sample_model("linear", task)
        columns = columns_of(sample_rows(60))
        plain = Predictor(replace(model, calibration=None)).predict_columns(columns)
        soft = Predictor(replace(model, calibration=Temperature(3.0))).predict_columns(columns)
        assert (plain.argmax(axis=1) == soft.argmax(axis=1)).all()
        assert (soft.max(axis=1) <= plain.max(axis=1) + 1e-12).all()
        one = Predictor(replace(model, calibration=Temperature(1.0))).predict_columns(columns)
        np.testing.assert_allclose(one, plain, atol=1e-12)


def test_a_blend_is_the_weighted_mean_of_its_members() -> None:
    """Probabilities of the members are averaged, before calibration."""
    model = replace(sample_model("blend", "multiclass"), calibration=None)
    assert isinstance(model.pipeline, Blend)
    columns = columns_of(sample_rows(30))
    parts = [Predictor(replace(model, pipeline=p)).predict_columns(columns) for p in model.pipeline.members]
    mean = 0.75 * parts[0] + 0.25 * parts[1]
    np.testing.assert_allclose(Predictor(model).predict_columns(columns), mean, atol=1e-15)


def test_all_problems_of_all_rows_come_at_once() -> None:
    """A missing column, a wrong type and an unknown column, in different rows, are one answer."""
    predictor = Predictor(sample_model())
    good = sample_rows(1)[0]
    absent = {k: v for k, v in good.items() if k != "seats"}
    with pytest.raises(ServiceError) as caught:
        predictor.predict([good, absent, good | {"distance": math.nan}, good | {"gate": 1}, 3])
    assert caught.value.code == "invalid_rows"
    assert [(p.row, p.column) for p in caught.value.details] == [(2, "seats"), (3, "distance"), (4, "gate"), (5, None)]


def test_columns_that_are_no_features_are_accepted_and_not_read() -> None:
    """A row with its key and label is as good as one without, even with nonsense in them."""
    predictor = Predictor(sample_model())
    row = sample_rows(1)[0]
    assert predictor.predict([row | {"late": 7, "flight": "x"}]) == predictor.predict([row])


def test_no_rows_give_no_answers() -> None:
    """An empty list is answered by an empty list."""
    assert Predictor(sample_model("blend", "multiclass")).predict([]) == []


def test_an_answer_that_is_not_finite_is_an_error_of_the_row() -> None:
    """Values near the limits of float64 are refused with their row, not answered with NaN."""
    predictor = regression(
        Number("distance", impute=0.0, scale=1e-300), Number("seats", impute=0.0), weights=[1.0, 1.0]
    )
    row = sample_rows(1)[0]
    with pytest.raises(ServiceError) as caught:
        predictor.predict([row, row | {"distance": 1e300}])
    assert [p.row for p in caught.value.details] == [2]


def test_a_score_that_is_not_a_number_is_no_uniform_answer() -> None:
    """Scores that are probabilities already: inf - inf is an error of the row, 0 everywhere is uniform."""
    model = sample_model("linear", "multiclass")
    steps = (Number("distance", impute=0.0), Number("seats", impute=0.0))
    linear = Linear(np.full((2, 3), 1e308), np.zeros(3), "identity")
    predictor = Predictor(replace(model, pipeline=Pipeline(steps, linear), calibration=None, golden=None))
    row = sample_rows(1)[0]
    (even,) = predictor.predict([row | {"distance": 0.0, "seats": 0}])
    assert list((even.probabilities or {}).values()) == [1 / 3] * 3
    with pytest.raises(ServiceError):
        predictor.predict([row | {"distance": 10.0, "seats": -10}])


def test_columns_of_different_lengths_are_refused() -> None:
    """A programming error is named, not broadcast."""
    columns = columns_of(sample_rows(3))
    with pytest.raises(ValueError, match="lengths"):
        Predictor(sample_model()).predict_columns(columns | {"seats": [1]})


def test_the_self_test_notices_another_answer() -> None:
    """A golden answer that is off by more than 1e-9 raises golden_mismatch, a smaller difference does not."""
    model = sample_model()
    assert model.golden is not None
    for difference, fails in ((1e-10, False), (1e-8, True)):
        changed: Model = replace(model, golden=Golden(model.golden.rows, model.golden.expected.numpy + difference))
        if fails:
            with pytest.raises(ArtifactError) as caught:
                self_test(changed)
            assert caught.value.code == "golden_mismatch"
        else:
            self_test(changed)


def test_golden_rows_may_be_clean_values() -> None:
    """Rows as the trainer has them (Python dates, numpy numbers) become JSON; bad rows are refused."""
    model = sample_model()
    clean, _ = SCHEMA.check_rows(sample_rows(3), columns=SCHEMA.features)
    rows = [row | {"distance": np.float64(3.5)} for row in clean if row is not None]
    self_test(with_golden(model, rows))
    with pytest.raises(ArtifactError) as caught:
        with_golden(model, [{"seats": "many"}])
    assert caught.value.code == "bad_golden"
