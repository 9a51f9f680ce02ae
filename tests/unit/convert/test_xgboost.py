"""XGBoost models answer as they did; what the format cannot say is refused by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, answers, frame, labels, rows_of, score

from trainyard.model import Predictor
from trainyard_convert import ConversionError, bare_model, from_xgboost

_SMALL = {"max_depth": 4, "nthread": 1, "eta": 0.4, "verbosity": 0}


def _table(**options: Any) -> Any:
    return frame(**options).astype(dict.fromkeys(CATEGORIES, "category"))


def _booster(params: dict[str, Any], y: Any, table: Any, rounds: int = 12) -> xgb.Booster:
    return xgb.train({**_SMALL, **params}, xgb.DMatrix(table, y, enable_categorical=True), rounds)


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "binary:logistic"},
        {"objective": "binary:logistic", "base_score": 0.2},
        {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.4, "seed": 3},
        {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.7},
        {"objective": "multi:softprob", "num_class": 3},
        {"objective": "multi:softmax", "num_class": 3},
        {"objective": "reg:squarederror"},
        {"objective": "reg:absoluteerror"},
        {"objective": "reg:pseudohubererror"},
        {"objective": "reg:quantileerror", "quantile_alpha": 0.3},
        {"objective": "count:poisson"},
        {"objective": "reg:gamma"},
        {"objective": "reg:tweedie"},
    ],
    ids=str,
)
def test_every_objective_and_booster(params: dict[str, Any]) -> None:
    table = _table()
    number = params["objective"].startswith("reg:")
    y = score(table) + 5 if number else labels(table, params.get("num_class", 2))
    parity = alike(from_xgboost(_booster(params, y, table), SCHEMA), frame(seed=1))
    assert parity.exact is not None
    assert parity.exact < 1e-9


def test_values_at_the_thresholds_and_beside_them_in_float32_and_float64() -> None:
    booster = _booster({"objective": "reg:squarederror"}, score(frame()), frame()[["width"]], rounds=4)
    tests = booster.trees_to_dataframe()["Split"].dropna().to_numpy().astype(np.float32)
    near = [tests, np.nextafter(tests, np.float32(-np.inf)), np.nextafter(tests, np.float32(np.inf))]
    singles = np.concatenate(near).astype(np.float64)
    middles = np.concatenate([(near[0].astype(np.float64) + n.astype(np.float64)) / 2 for n in near[1:]])
    values = np.concatenate(
        [f for v in (singles, middles) for f in (v, np.nextafter(v, -np.inf), np.nextafter(v, np.inf))]
    )
    asked = frame(len(values), missing=False)
    asked["width"] = values
    parity = alike(from_xgboost(booster, SCHEMA), asked)
    assert parity.exact is not None
    assert parity.exact < 1e-12


@pytest.mark.parametrize("params", [{"objective": "binary:logistic"}, {"objective": "multi:softprob", "num_class": 3}])
def test_columns_contribute_as_xgboost_says(params: dict[str, Any]) -> None:
    """But for its single precision; missing values and categories included."""
    table, classes = _table(), params.get("num_class", 2)
    booster = _booster(params, labels(table, classes), table)
    predictor = Predictor(bare_model(from_xgboost(booster, SCHEMA), "imported", "things"))
    found = predictor.explain(rows_of(table))
    theirs = booster.predict(xgb.DMatrix(table, enable_categorical=True), pred_contribs=True)
    theirs = theirs.reshape(len(table), -1, len(table.columns) + 1)
    order = [found.columns.index(name) for name in table.columns]
    np.testing.assert_allclose(found.contributions[:, :, order], theirs[:, :, :-1], atol=2e-6)
    np.testing.assert_allclose(found.base, theirs[0, :, -1], atol=1e-6)


def test_early_stopping_counts_the_best_rounds_as_the_scikit_learn_model_does() -> None:
    table, asked = _table(), _table(seed=5)
    model = xgb.XGBClassifier(n_estimators=80, early_stopping_rounds=2, n_jobs=1, enable_categorical=True)
    model.fit(table, labels(table), eval_set=[(asked, labels(asked))], verbose=False)
    assert model.best_iteration < 79
    converted = from_xgboost(model, SCHEMA, label="late")
    assert converted.classes == (False, True)
    assert converted.notes == ((f"rounds 1 to {model.best_iteration + 1} of {model.get_booster().num_boosted_rounds()},"
                               " where early stopping was best"),)  # fmt: skip
    alike(converted, frame(seed=6))


@pytest.mark.parametrize("kind", ["json", "ubj"])
def test_a_file_alone_is_converted_to_the_same(kind: str) -> None:
    table = _table()
    booster = _booster({"objective": "multi:softprob", "num_class": 3}, labels(table, 3), table)
    found = from_xgboost(bytes(booster.save_raw(kind)), SCHEMA, classes=["a", "b", "c"])
    assert found.native is None
    assert found.classes == ("a", "b", "c")
    asked = frame(seed=7, strangers=True)  # a level that XGBoost itself refuses: as one that is missing
    assert np.array_equal(answers(found, asked), answers(from_xgboost(booster, SCHEMA), asked))
    without = asked.copy()
    without.loc[asked["colour"] == "mauve", "colour"] = None
    assert np.array_equal(answers(found, asked), answers(found, without))


def test_columns_may_be_named() -> None:
    booster = _booster({"objective": "reg:squarederror"}, score(frame()), frame()[NUMBERS].to_numpy())
    with pytest.raises(ConversionError, match="the model does not name its 4 inputs; name them in order with --col"):
        from_xgboost(booster, SCHEMA)
    alike(from_xgboost(booster, SCHEMA, columns=NUMBERS), frame(seed=8))


@pytest.mark.parametrize(
    ("params", "refused"),
    [
        ({"booster": "gblinear"}, "XGBoost gblinear"),
        ({"objective": "reg:logistic"}, "XGBoost objective reg:logistic"),
        ({"objective": "binary:hinge"}, "XGBoost objective binary:hinge"),
        ({"objective": "rank:pairwise"}, "XGBoost objective rank:pairwise"),
    ],
    ids=str,
)
def test_refused_by_name(params: dict[str, Any], refused: str) -> None:
    with pytest.raises(ConversionError, match=refused) as caught:
        from_xgboost(_booster(params, labels(frame()), frame()[NUMBERS]), SCHEMA)
    assert caught.value.step


def test_several_labels_are_refused() -> None:
    y = np.column_stack([score(frame()), score(frame())])
    for strategy in ("one_output_per_tree", "multi_output_tree"):
        booster = _booster({"multi_strategy": strategy, "tree_method": "hist"}, y, frame()[NUMBERS])
        with pytest.raises(ConversionError, match="XGBoost multi-output: a model answers for one label"):
            from_xgboost(booster, SCHEMA)


def test_levels_that_the_file_does_not_name_are_refused() -> None:
    table = _table()
    document = json.loads(bytes(_booster({}, score(table), table).save_raw("json")))
    document["learner"]["gradient_booster"]["model"]["cats"]["enc"] = []
    with pytest.raises(ConversionError, match="XGBoost category 'colour': the model does not say which code each"):
        from_xgboost(json.dumps(document).encode(), SCHEMA)


@pytest.mark.parametrize("data", [b"", b"hello", b"{}", b'{"learner": {}}', b"{L\x00", b"{i\x01a[$d#L\x7f"])
def test_no_model_file(data: bytes) -> None:
    with pytest.raises(ConversionError, match="XGBoost"):
        from_xgboost(data, SCHEMA)
