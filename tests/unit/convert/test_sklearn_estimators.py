"""scikit-learn's estimators answer as they did, alone and wrapped; what the format cannot say is refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import catboost
import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from sklearn import ensemble, linear_model, neural_network, svm, tree
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, frame, labels, score

from trainyard.model import Blend, Isotonic
from trainyard_convert import ConversionError, from_sklearn


def _logistic() -> Any:
    return linear_model.LogisticRegression(max_iter=2000)


def _fit(estimator: Any, *, classes: int = 2, scale: bool = False) -> Any:
    """Fit behind an encoding of every column; ``scale``: on scaled columns."""
    table = frame()
    parts = [
        ("n", SimpleImputer(add_indicator=True), NUMBERS),
        ("l", OneHotEncoder(handle_unknown="ignore", sparse_output=False), CATEGORIES),
    ]
    steps = [ColumnTransformer(parts), *([StandardScaler()] if scale else []), estimator]
    y = labels(table, classes) if classes else score(table) + 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(*steps).fit(table, y)


def _alike(fitted: Any, **options: Any) -> Any:
    converted = from_sklearn(fitted, SCHEMA, **options)
    alike(converted, frame(seed=1, strangers=True))
    return converted


@pytest.mark.parametrize(
    "estimator",
    [
        _logistic(),
        linear_model.LogisticRegression(solver="liblinear", l1_ratio=1),
        linear_model.SGDClassifier(loss="log_loss", random_state=0),
        neural_network.MLPClassifier((7, 4), max_iter=30, random_state=0),
        neural_network.MLPClassifier((5,), activation="logistic", max_iter=30, random_state=0),
        neural_network.MLPClassifier((5, 3), activation="tanh", max_iter=30, random_state=0),
        tree.DecisionTreeClassifier(random_state=0),
        ensemble.RandomForestClassifier(9, random_state=0),
        ensemble.ExtraTreesClassifier(9, random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=9, random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=9, init="zero", random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=9, loss="exponential", random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=9),
        lgb.LGBMClassifier(n_estimators=9, verbose=-1, n_jobs=1),
        xgb.XGBClassifier(n_estimators=9, n_jobs=1),
        catboost.CatBoostClassifier(iterations=9, verbose=0, allow_writing_files=False, thread_count=1),
    ],
)
def test_binary(estimator: Any) -> None:
    assert _alike(_fit(estimator, scale=True), label="late").classes == (False, True)


@pytest.mark.parametrize(
    "estimator",
    [
        _logistic(),
        neural_network.MLPClassifier((5,), max_iter=30, random_state=0),
        tree.DecisionTreeClassifier(random_state=0),
        ensemble.RandomForestClassifier(9, random_state=0),
        ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0),
        ensemble.HistGradientBoostingClassifier(max_iter=5),
        lgb.LGBMClassifier(n_estimators=5, verbose=-1, n_jobs=1),
        xgb.XGBClassifier(n_estimators=5, n_jobs=1),
        catboost.CatBoostClassifier(iterations=5, verbose=0, allow_writing_files=False, thread_count=1),
    ],
)
def test_multiclass(estimator: Any) -> None:
    assert _alike(_fit(estimator, classes=4)).classes == (0, 1, 2, 3)


@pytest.mark.parametrize(
    "estimator",
    [
        linear_model.LinearRegression(),
        linear_model.Ridge(),
        linear_model.RidgeCV(),
        linear_model.Lasso(0.1),
        linear_model.ElasticNet(0.1),
        linear_model.SGDRegressor(random_state=0),
        linear_model.PoissonRegressor(),
        neural_network.MLPRegressor(hidden_layer_sizes=(6,), max_iter=30, random_state=0),
        tree.DecisionTreeRegressor(random_state=0),
        ensemble.RandomForestRegressor(9, random_state=0),
        ensemble.ExtraTreesRegressor(9, random_state=0),
        ensemble.GradientBoostingRegressor(n_estimators=9, loss="huber", random_state=0),
        ensemble.HistGradientBoostingRegressor(max_iter=9),
        ensemble.HistGradientBoostingRegressor(max_iter=9, loss="poisson"),
        lgb.LGBMRegressor(n_estimators=9, verbose=-1, n_jobs=1),
        xgb.XGBRegressor(n_estimators=9, n_jobs=1),
        catboost.CatBoostRegressor(iterations=9, verbose=0, allow_writing_files=False, thread_count=1),
    ],
)
def test_regression(estimator: Any) -> None:
    assert _alike(_fit(estimator, classes=0, scale=True)).task == "regression"


@pytest.mark.parametrize("kind", [ensemble.RandomForestRegressor, ensemble.HistGradientBoostingRegressor])
def test_values_at_the_thresholds_and_beside_them_in_float32_and_float64(kind: Any) -> None:
    table = frame()[["width"]]
    fitted = kind(5, random_state=0) if kind is ensemble.RandomForestRegressor else kind(max_iter=5)
    fitted.fit(table, score(frame()))
    if kind is ensemble.RandomForestRegressor:
        tests = np.concatenate([t.tree_.threshold[t.tree_.feature >= 0] for t in fitted.estimators_])
    else:
        tests = np.concatenate([p[0].nodes["num_threshold"] for p in fitted._predictors])
    tests = tests[np.isfinite(tests)]
    singles = tests.astype(np.float32)
    near = [singles, np.nextafter(singles, np.float32(-9)), np.nextafter(singles, np.float32(9))]
    middles = [(near[0].astype(np.float64) + n.astype(np.float64)) / 2 for n in near[1:]]
    found = np.concatenate([tests, *(n.astype(np.float64) for n in near), *middles])
    asked = frame(3 * len(found), missing=False)
    asked["width"] = np.concatenate([found, np.nextafter(found, -9), np.nextafter(found, 9)])
    alike(from_sklearn(fitted, SCHEMA), asked)


def test_histogram_boosting_keeps_categories_and_missing_values() -> None:
    table = frame().astype(dict.fromkeys(CATEGORIES, "category"))
    for model, y in (
        (ensemble.HistGradientBoostingRegressor(max_iter=12, min_samples_leaf=5), score(table)),
        (ensemble.HistGradientBoostingClassifier(max_iter=12, min_samples_leaf=5), labels(table, 3)),
    ):
        model.fit(table, y)
        assert any(p.nodes["is_categorical"].any() for stage in model._predictors for p in stage)
        _alike(model)


def test_histogram_boosting_behind_an_encoder() -> None:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    first = ColumnTransformer([("l", codes, CATEGORIES), ("n", "passthrough", NUMBERS)])
    model = ensemble.HistGradientBoostingClassifier(max_iter=12, min_samples_leaf=5, categorical_features=[0, 1])
    _alike(make_pipeline(first, model).fit(frame(), labels(frame())))


@pytest.mark.parametrize(
    ("estimator", "options"),
    [
        (_logistic(), {"method": "sigmoid", "ensemble": False}),
        (_logistic(), {"method": "sigmoid", "cv": 3}),
        (_logistic(), {"method": "temperature", "ensemble": False}),
        (svm.LinearSVC(), {"method": "sigmoid", "ensemble": False}),
        (linear_model.RidgeClassifier(), {"method": "sigmoid", "cv": 2}),
        (linear_model.SGDClassifier(random_state=0), {"method": "sigmoid", "ensemble": False}),
        (ensemble.RandomForestClassifier(7, random_state=0), {"method": "sigmoid", "cv": 2}),
        (ensemble.RandomForestClassifier(7, random_state=0), {"method": "isotonic", "ensemble": False}),
        (ensemble.GradientBoostingClassifier(n_estimators=5), {"method": "sigmoid", "ensemble": False}),
        (ensemble.HistGradientBoostingClassifier(max_iter=5), {"method": "temperature", "ensemble": False}),
        (neural_network.MLPClassifier((4,), max_iter=20, random_state=0), {"method": "sigmoid", "ensemble": False}),
        (tree.DecisionTreeClassifier(max_depth=4), {"method": "isotonic", "ensemble": False}),
    ],
)
def test_calibrated(estimator: Any, options: dict[str, Any]) -> None:
    converted = _alike(_fit(CalibratedClassifierCV(estimator, **options), scale=True))
    assert isinstance(converted.calibration, Isotonic) == (options["method"] == "isotonic")
    assert isinstance(converted.pipeline, Blend) == ("cv" in options)


def test_calibrated_afterwards() -> None:
    table, y = frame(missing=False)[NUMBERS], labels(frame(missing=False))
    fitted = FrozenEstimator(_logistic().fit(table, y))
    _alike(CalibratedClassifierCV(fitted, method="sigmoid").fit(table, y))


def test_temperature_of_many_classes() -> None:
    _alike(
        _fit(
            CalibratedClassifierCV(_logistic(), method="temperature", cv=2),
            classes=3,
        )
    )


def test_votes_are_a_blend() -> None:
    members = [
        ("a", _logistic()),
        ("b", make_pipeline(StandardScaler(), ensemble.RandomForestClassifier(5, random_state=0))),
        ("c", ensemble.HistGradientBoostingClassifier(max_iter=4)),
    ]
    for classes in (2, 3):
        vote = ensemble.VotingClassifier(members, voting="soft", weights=[2, 3, 1])
        converted = _alike(_fit(vote, classes=classes))
        assert np.asarray(converted.pipeline.weights) == pytest.approx([1 / 3, 1 / 2, 1 / 6])
    numbers = [("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3)), ("c", "drop")]
    assert len(_alike(_fit(ensemble.VotingRegressor(numbers), classes=0)).pipeline.members) == 2


def test_a_vote_that_does_not_count_is_refused() -> None:
    members = [("a", linear_model.Ridge()), ("b", linear_model.Lasso())]
    with pytest.raises(ConversionError, match="VotingRegressor with a weight of 0: each member of a blend counts"):
        from_sklearn(_fit(ensemble.VotingRegressor(members, weights=[1, 0]), classes=0), SCHEMA)


def test_thresholds() -> None:
    logistic = _logistic()
    fixed = _alike(_fit(FixedThresholdClassifier(logistic, threshold=0.3)))
    assert fixed.threshold == 0.3
    scores = FixedThresholdClassifier(logistic, threshold=1.0, response_method="decision_function")
    assert _alike(_fit(scores)).threshold == pytest.approx(1 / (1 + np.exp(-1)))
    tuned = _fit(TunedThresholdClassifierCV(logistic, scoring="f1", cv=3))
    assert _alike(tuned).threshold == tuned[-1].best_threshold_
    with pytest.raises(ConversionError, match="FixedThresholdClassifier for 0: the positive class is the second"):
        from_sklearn(_fit(FixedThresholdClassifier(logistic, threshold=0.3, pos_label=0)), SCHEMA)


def test_a_search_is_its_best_model() -> None:
    table = frame(missing=False)
    search = GridSearchCV(linear_model.Ridge(), {"alpha": [0.1, 9.0]}, cv=2).fit(table[NUMBERS], score(table))
    _alike(search)


class _Own(ClassifierMixin, BaseEstimator):
    def fit(self, x: Any, y: Any) -> _Own:
        self.classes_, self.n_features_in_ = np.unique(y), x.shape[1]
        return self


def _stacked() -> Any:
    return ensemble.StackingClassifier([("a", _logistic())], cv=2)


@pytest.mark.parametrize(
    ("estimator", "classes", "refused"),
    [
        (GaussianNB(), 2, "scikit-learn GaussianNB: the format has no such estimator"),
        (svm.SVC(), 2, "scikit-learn SVC"),
        (_stacked(), 2, "scikit-learn StackingClassifier"),
        (_Own(), 2, "tests _Own"),
        (svm.LinearSVC(), 2, "scikit-learn Pipeline: it gives scores and no probabilities"),
        (linear_model.SGDClassifier(loss="hinge"), 2, "it gives scores and no probabilities"),
        (linear_model.SGDClassifier(loss="log_loss"), 3, "SGDClassifier of 3 classes"),
        (ensemble.VotingClassifier([("a", _logistic())]), 2, r"VotingClassifier\(voting='hard'\)"),
        (ensemble.GradientBoostingRegressor(init=linear_model.Ridge(), n_estimators=2), 0, r"\(init=Ridge\)"),
        (CalibratedClassifierCV(_logistic(), method="isotonic"), 2, "learnt on the decision func"),
        (CalibratedClassifierCV(_logistic()), 3, r"CalibratedClassifierCV\(sigmoid\) of 3 classes"),
        (CalibratedClassifierCV(tree.DecisionTreeClassifier(), method="isotonic"), 2, r"\(isotonic\) of several fits"),
        (CalibratedClassifierCV(tree.DecisionTreeClassifier(), method="temperature"), 2, "scikit-learn adds 1e-12"),
        (CalibratedClassifierCV(lgb.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1), cv=2), 2,
         "on probabilities of boosted trees"),
    ],
)  # fmt: skip
def test_refused_by_name(estimator: Any, classes: int, refused: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of feature names that LightGBM misses
        fitted = _fit(estimator, classes=classes)
    with pytest.raises(ConversionError, match=refused):
        from_sklearn(fitted, SCHEMA)


def test_more_labels_and_no_fit_are_refused() -> None:
    table = frame(missing=False)
    two = np.column_stack([score(table), score(table)])
    for model in (linear_model.Ridge(), ensemble.RandomForestRegressor(2)):
        with pytest.raises(ConversionError, match="with 2 labels: a model answers for one"):
            from_sklearn(model.fit(table[NUMBERS], two), SCHEMA)
    with pytest.raises(ConversionError, match="Ridge: it is not fitted"):
        from_sklearn(linear_model.Ridge(), SCHEMA)
    levels = frame(missing=False)[["width", "colour"]].assign(colour=1.0)
    with pytest.raises(ConversionError, match="Ridge: it reads the category 'colour', which it takes for a number"):
        from_sklearn(linear_model.Ridge().fit(levels, score(table)), SCHEMA)
