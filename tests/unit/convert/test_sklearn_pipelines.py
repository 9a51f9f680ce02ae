"""scikit-learn's pipelines answer as they did, column by column; what the format cannot say is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.tree import DecisionTreeClassifier
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, answers, frame, labels, score

from trainyard.model import IsMissing, Number, OneHot
from trainyard_convert import ConversionError, from_sklearn

_ONE_HOT = {"handle_unknown": "ignore"}


def _fitted(numbers: Any, levels: Any, estimator: Any, *, classes: int = 2, **options: Any) -> Any:
    parts = [("numbers", numbers, NUMBERS), ("levels", levels, CATEGORIES)]
    table = frame()
    model = make_pipeline(ColumnTransformer(parts, **options), estimator)
    return model.fit(table, labels(table, classes) if hasattr(estimator, "predict_proba") else score(table))


@pytest.mark.parametrize(
    "numbers",
    [
        SimpleImputer(),
        SimpleImputer(strategy="median", add_indicator=True),
        make_pipeline(SimpleImputer(strategy="constant", fill_value=-3), StandardScaler()),
        make_pipeline(StandardScaler(), SimpleImputer(strategy="most_frequent")),
        make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
        make_pipeline(RobustScaler(), SimpleImputer(), MinMaxScaler((-1, 2))),
        make_pipeline(MaxAbsScaler(), SimpleImputer(), StandardScaler(with_mean=False)),
        make_pipeline(SimpleImputer(), MinMaxScaler(clip=True)),
        make_pipeline(SimpleImputer(), MaxAbsScaler(clip=True)),
        make_pipeline(SimpleImputer(), QuantileTransformer(n_quantiles=20)),
        make_pipeline(QuantileTransformer(n_quantiles=300), SimpleImputer(), StandardScaler()),
        make_pipeline(SimpleImputer(), FunctionTransformer(), SelectKBest(k=2)),
    ],
)
def test_numbers(numbers: Any) -> None:
    levels = OneHotEncoder(**_ONE_HOT)
    for estimator in (LogisticRegression(max_iter=2000), DecisionTreeClassifier(max_depth=6)):
        alike(from_sklearn(_fitted(numbers, levels, estimator), SCHEMA), frame(seed=1, strangers=True))


@pytest.mark.parametrize(
    "levels",
    [
        OneHotEncoder(**_ONE_HOT),
        OneHotEncoder(**_ONE_HOT, sparse_output=False, drop="first"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=80),
        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(**_ONE_HOT), MaxAbsScaler()),
        make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), OneHotEncoder(**_ONE_HOT)),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        make_pipeline(SimpleImputer(strategy="most_frequent"), TargetEncoder()),
        make_pipeline(TargetEncoder(), StandardScaler()),
    ],
)
def test_categories(levels: Any) -> None:
    for estimator in (LogisticRegression(max_iter=2000), RandomForestClassifier(5, max_depth=5, random_state=0)):
        for classes in (2, 3):
            fitted = _fitted(SimpleImputer(), levels, estimator, classes=classes)
            alike(from_sklearn(fitted, SCHEMA), frame(seed=2, strangers=True))


def test_missing_numbers_and_unknown_levels_stay_missing_for_trees() -> None:
    levels = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    fitted = _fitted("passthrough", levels, RandomForestClassifier(5, random_state=0))
    alike(from_sklearn(fitted, SCHEMA), frame(seed=3, strangers=True))
    table = frame()
    filled = make_pipeline(ColumnTransformer([("levels", levels, CATEGORIES)]), SimpleImputer(), Ridge())
    filled.fit(table, score(table)).steps.pop(1)
    with pytest.raises(ConversionError, match="Ridge: it would meet a missing value where 'colour' has a level"):
        from_sklearn(filled, SCHEMA)


def test_what_is_dropped_need_not_be_in_the_dataset() -> None:
    table = frame().assign(nonsense=1.0, more="x")
    chosen = ColumnTransformer(
        [("a", SimpleImputer(), ["count", "width"]), ("b", "passthrough", [1]), ("c", "drop", ["more"])],
        remainder="drop",
    )
    fitted = make_pipeline(chosen, LogisticRegression(max_iter=2000)).fit(table, labels(table))
    converted = from_sklearn(fitted, SCHEMA)
    assert [c.name for c in converted.schema.columns] == ["width", "height", "count"]
    alike(converted, frame(seed=4))


def test_the_remainder_is_passed_through() -> None:
    table = frame(missing=False)[["height", "width", "count", "member"]]
    fitted = make_pipeline(ColumnTransformer([("a", StandardScaler(), ["width"])], remainder="passthrough"), Ridge())
    alike(from_sklearn(fitted.fit(table, score(frame(missing=False))), SCHEMA), frame(seed=5))


def test_without_an_imputer_a_value_must_be_there() -> None:
    table = frame(missing=False)[NUMBERS]
    converted = from_sklearn(make_pipeline(StandardScaler(), Ridge()).fit(table, score(frame(missing=False))), SCHEMA)
    assert not any(c.nullable for c in converted.schema.columns)
    assert alike(converted, frame(seed=6)).without == 0


def test_columns_of_an_array_are_named() -> None:
    table = frame(missing=False)
    fitted = Ridge().fit(table[NUMBERS].to_numpy(), score(table))
    with pytest.raises(ConversionError, match="the model does not name its 4 inputs; name them in order"):
        from_sklearn(fitted, SCHEMA)
    alike(from_sklearn(fitted, SCHEMA, columns=NUMBERS), frame(seed=7, missing=False))
    with pytest.raises(ConversionError, match="column 'depth': the dataset has no such column"):
        from_sklearn(fitted, SCHEMA, columns=["depth", *NUMBERS[1:]])


def test_the_plainest_steps_are_chosen() -> None:
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    converted = from_sklearn(_fitted(numbers, OneHotEncoder(**_ONE_HOT), LogisticRegression(max_iter=2000)), SCHEMA)
    kinds = [type(step) for step in converted.pipeline.steps]
    assert kinds == [Number] * 4 + [IsMissing] * 2 + [OneHot] * 2


def test_levels_beyond_the_encoder_are_as_unknown_ones() -> None:
    fitted = _fitted(SimpleImputer(), OneHotEncoder(**_ONE_HOT), LogisticRegression(max_iter=2000))
    asked = frame(seed=8, strangers=True)
    x = asked.fillna(dict.fromkeys(CATEGORIES, np.nan))
    assert np.abs(answers(from_sklearn(fitted, SCHEMA), asked) - fitted.predict_proba(x)).max() < 1e-12


@pytest.mark.parametrize(
    ("numbers", "levels", "refused"),
    [
        (KNNImputer(), OneHotEncoder(**_ONE_HOT), "scikit-learn KNNImputer"),
        (make_pipeline(SimpleImputer(), PCA(2)), OneHotEncoder(**_ONE_HOT), "scikit-learn PCA"),
        (make_pipeline(SimpleImputer(), PolynomialFeatures()), OneHotEncoder(**_ONE_HOT), "scikit-learn PolynomialF"),
        (FunctionTransformer(np.nan_to_num), OneHotEncoder(**_ONE_HOT), r"FunctionTransformer\(nan_to_num\)"),
        (make_pipeline(SimpleImputer(), QuantileTransformer(n_quantiles=9, output_distribution="normal")),
         OneHotEncoder(**_ONE_HOT), r"QuantileTransformer\(normal\)"),
        (SimpleImputer(), OneHotEncoder(), r"scikit-learn OneHotEncoder\(handle_unknown='error'\)"),
        (SimpleImputer(), make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()),
         r"scikit-learn OrdinalEncoder\(handle_unknown='error'\)"),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
         OneHotEncoder(**_ONE_HOT), "OrdinalEncoder: it reads the number 'width' as a category"),
    ],
)  # fmt: skip
def test_refused_by_name(numbers: Any, levels: Any, refused: str) -> None:
    with pytest.raises(ConversionError, match=refused) as caught:
        from_sklearn(_fitted(numbers, levels, LogisticRegression(max_iter=2000)), SCHEMA)
    assert caught.value.step


def test_other_markers_of_missing_values_are_refused() -> None:
    table = frame(missing=False)
    fitted = make_pipeline(SimpleImputer(missing_values=0), Ridge()).fit(table[NUMBERS], score(table))
    with pytest.raises(ConversionError, match="SimpleImputer: it takes 0 for a missing value"):
        from_sklearn(fitted, SCHEMA)
