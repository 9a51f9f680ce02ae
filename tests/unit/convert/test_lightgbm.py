"""LightGBM models answer as they did; what the format cannot say is refused by name."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, answers, frame, labels, score

from trainyard_convert import ConversionError, from_lightgbm

_SMALL = {"verbose": -1, "num_leaves": 9, "min_data_in_leaf": 5, "num_threads": 1, "min_data_per_group": 5}


def _table(**options: Any) -> Any:
    return frame(**options).astype(dict.fromkeys(CATEGORIES, "category"))


def _booster(params: dict[str, Any], y: Any, table: Any, rounds: int = 12) -> lgb.Booster:
    return lgb.train({**_SMALL, **params}, lgb.Dataset(table, y), rounds)


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "binary"},
        {"objective": "binary", "sigmoid": 0.7},
        {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
        {"objective": "binary", "boosting": "dart"},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "regression"},
        {"objective": "regression_l1"},
        {"objective": "poisson"},
        {"objective": "gamma"},
        {"objective": "regression", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    ],
    ids=str,
)
def test_every_objective_and_boosting(params: dict[str, Any]) -> None:
    table = _table()
    classes = params.get("num_class", 2)
    y = score(table) + 5 if params["objective"] in ("regression", "regression_l1", "gamma") else labels(table, classes)
    parity = alike(from_lightgbm(_booster(params, y, table), SCHEMA), frame(seed=1, strangers=True))
    assert parity.rows == 600


def test_values_at_the_thresholds_and_beside_them() -> None:
    table = frame()[NUMBERS]
    booster = _booster({"objective": "regression"}, score(frame()), table)
    text = booster.model_to_string()
    thresholds = np.array(
        [float(w) for line in text.split("\n") if line.startswith("threshold=") for w in line[10:].split()]
    )
    asked = frame(len(thresholds) * 3, seed=2)
    asked["width"] = np.concatenate([np.nextafter(thresholds, -np.inf), thresholds, np.nextafter(thresholds, np.inf)])
    alike(from_lightgbm(booster, SCHEMA), asked)


def test_a_missing_value_where_training_saw_none_is_taken_for_zero() -> None:
    booster = _booster({"objective": "regression"}, score(frame(missing=False)), frame(missing=False)[NUMBERS])
    alike(from_lightgbm(booster, SCHEMA), frame(seed=3))


def test_whole_numbers_as_categories() -> None:
    table = frame(missing=False)[["count", "width"]]
    y = np.where(table["count"].isin([2, 5, 7]), 1.0, 0.0) + 0.1 * table["width"]
    booster = lgb.train({**_SMALL, "objective": "regression"}, lgb.Dataset(table, y, categorical_feature=["count"]), 10)
    assert "num_cat=0" not in booster.model_to_string()
    alike(from_lightgbm(booster, SCHEMA), frame(seed=4))
    by_level = table.astype({"count": "int"}).astype({"count": "category"})
    alike(from_lightgbm(_booster({"objective": "regression"}, y, by_level), SCHEMA), frame(seed=4))


def test_early_stopping_counts_the_best_rounds() -> None:
    table, asked = _table(), _table(seed=5)
    model = lgb.LGBMClassifier(n_estimators=200, learning_rate=0.3, n_jobs=1, verbose=-1)
    stopping = lgb.early_stopping(2, verbose=False)
    model.fit(table, labels(table), eval_X=asked, eval_y=labels(asked), callbacks=[stopping])
    assert model.best_iteration_ < 200
    converted = from_lightgbm(model, SCHEMA)
    assert f"{model.best_iteration_} trees" in converted.kind
    alike(converted, frame(seed=6))


def test_classes_are_those_of_the_scikit_learn_model() -> None:
    table = _table()
    model = lgb.LGBMClassifier(n_estimators=4, num_leaves=5, n_jobs=1, verbose=-1)
    converted = from_lightgbm(model.fit(table, np.array(["late", "early"])[labels(table)]), SCHEMA)
    assert converted.classes == ("early", "late")
    alike(converted, frame(seed=6))
    with pytest.raises(ConversionError, match="class 'early': it is no value of the dataset's label, a bool"):
        from_lightgbm(model, SCHEMA, label="late")


def test_a_text_alone_is_converted_to_the_same() -> None:
    table = _table()
    booster = _booster({"objective": "binary"}, labels(table), table)
    text = from_lightgbm(booster.model_to_string(), SCHEMA, label="late")
    assert text.native is None
    assert text.classes == (False, True)
    asked = frame(seed=7)
    assert np.array_equal(answers(text, asked), answers(from_lightgbm(booster, SCHEMA), asked))


def test_columns_may_be_named() -> None:
    table = frame()[NUMBERS]
    booster = _booster({"objective": "regression"}, score(frame()), table.to_numpy())
    with pytest.raises(ConversionError, match=r"column 'Column_0': the dataset has no such column.*--columns"):
        from_lightgbm(booster, SCHEMA)
    alike(from_lightgbm(booster, SCHEMA, columns=NUMBERS), frame(seed=8))
    with pytest.raises(ConversionError, match="the model has 4 inputs, not 2"):
        from_lightgbm(booster, SCHEMA, columns=NUMBERS[:2])


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"objective": "multiclassova", "num_class": 3}, "LightGBM objective multiclassova"),
        ({"objective": "cross_entropy"}, "LightGBM objective cross_entropy"),
        ({"objective": "regression", "reg_sqrt": True}, "LightGBM objective regression reg_sqrt"),
        ({"objective": "regression", "linear_tree": True}, "LightGBM linear_tree"),
        ({"objective": "regression", "zero_as_missing": True}, "LightGBM zero_as_missing"),
    ],
    ids=str,
)
def test_refused_by_name(params: dict[str, Any], refused: str) -> None:
    table = frame()[NUMBERS]
    y = labels(frame(), 3) if "num_class" in params else labels(frame())
    with pytest.raises(ConversionError, match=refused) as caught:
        from_lightgbm(_booster(params, y, table), SCHEMA)
    assert caught.value.step


def test_refused_columns() -> None:
    table = frame()[["height", "width"]]
    y = score(frame())
    for name, why in (("born", "it is a date"), ("late", "it is the dataset's label"), ("colour", "as a category")):
        renamed = table.rename(columns={"width": name})
        with pytest.raises(ConversionError, match=f"{name}.*{why}"):
            from_lightgbm(_booster({"objective": "regression"}, y, renamed), SCHEMA)
    by_level = frame(missing=False)[["height", "width"]].round(0).astype({"height": "category"})
    with pytest.raises(ConversionError, match="LightGBM category 'height': the dataset has it as float"):
        from_lightgbm(_booster({"objective": "regression"}, y, by_level), SCHEMA)


def test_no_model_file() -> None:
    with pytest.raises(ConversionError, match="LightGBM file: it is not a text model"):
        from_lightgbm("hello", SCHEMA)
