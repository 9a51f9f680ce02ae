"""Whatever the converters are given, mutated texts, documents and objects: a model or a refusal by name comes out."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, frame, labels, score

from trainyard_convert import ConversionError, Converted, from_catboost, from_lightgbm, from_sklearn, from_xgboost
from trainyard_convert.catboost_json import document_of

if TYPE_CHECKING:
    from collections.abc import Callable

_TABLE = frame(missing=False)
_WIDE = [*NUMBERS, *CATEGORIES]
_STRANGE: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, -1, 0, 1, 2**31, 2**64, 1e308, "", "0", "-1", "nan", "1e999", "x", [], {}, [[0]]]),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.integers(-3, 40), max_size=6),
)
_MUTATED = settings(max_examples=150, deadline=None)


def _outcome(convert: Callable[[], Any]) -> str:
    """Return ``model`` or the refusal's message; anything else that is raised, or comes out, fails the test."""
    refusal = ""
    try:
        converted = convert()
    except ConversionError as e:
        refusal = str(e) if e.name and e.reason else ""
    else:
        refusal = "model" if isinstance(converted, Converted) else ""
    assert refusal
    return refusal


def _coloured() -> Any:
    return _TABLE[_WIDE].astype(dict.fromkeys(CATEGORIES, "category"))


@cache
def _lightgbm_text() -> str:
    params = {"objective": "binary", "num_leaves": 6, "verbose": -1, "num_threads": 1, "min_data_per_group": 5}
    return lgb.train(params, lgb.Dataset(_coloured(), labels(_TABLE)), 3).model_to_string()


@cache
def _xgboost_document() -> Any:
    params = {"max_depth": 3, "nthread": 1, "objective": "multi:softprob", "num_class": 3}
    matrix = xgb.DMatrix(_coloured(), labels(_TABLE, 3), enable_categorical=True)
    return json.loads(bytes(xgb.train(params, matrix, 2).save_raw("json")))


@cache
def _catboost_document(policy: str) -> Any:
    params = {"iterations": 2, "depth": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    model = catboost.CatBoostClassifier(**params, one_hot_max_size=9, grow_policy=policy)
    return json.loads(document_of(model.fit(_TABLE[_WIDE], labels(_TABLE), cat_features=CATEGORIES)))


@cache
def _sklearn_models() -> list[Any]:
    x, classes, y = _TABLE[NUMBERS], labels(_TABLE), score(_TABLE)
    return [
        make_pipeline(StandardScaler(), LogisticRegression()).fit(x, classes),
        MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, tol=1e9, n_iter_no_change=1, random_state=0).fit(x, y),
        RandomForestClassifier(3, max_depth=3, random_state=0).fit(x, classes),
        GradientBoostingRegressor(n_estimators=3, random_state=0).fit(x, y),
        HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(_coloured(), classes),
    ]


def _children(holder: Any) -> dict[Any, Any]:
    """Return what a document or an object holds, by key, number or name."""
    if isinstance(holder, dict):
        return holder
    if isinstance(holder, list | tuple):
        return dict(enumerate(holder))
    return dict(getattr(holder, "__dict__", {}))


def _mutated(document: Any, data: st.DataObject) -> Any:
    """Return a copy in which one thing, somewhere, is gone, doubled or another."""
    document = copy.deepcopy(document)
    holder = document
    while True:
        children = _children(holder)
        place = data.draw(st.sampled_from(sorted(children, key=str)))
        child = children[place]
        if _children(child) and not isinstance(child, tuple) and data.draw(st.integers(0, 4)):
            holder = child
            continue
        change = data.draw(st.sampled_from(["strange", "gone", "other"]))
        if change == "other" and isinstance(child, np.ndarray):
            value: Any = data.draw(
                st.sampled_from([child[:-1], np.full(child.shape, np.nan), child.astype(object), child[None]])
            )
        else:
            value = data.draw(_STRANGE)
        if not isinstance(holder, dict | list):
            holder = vars(holder)
        if change == "gone":
            del holder[place]
        else:
            holder[place] = value
        return document


def test_what_is_mutated_are_models() -> None:
    assert _outcome(lambda: from_lightgbm(_lightgbm_text(), SCHEMA)) == "model"
    assert _outcome(lambda: from_xgboost(json.dumps(_xgboost_document()).encode(), SCHEMA)) == "model"
    for policy in ("SymmetricTree", "Lossguide"):
        assert _outcome(lambda policy=policy: from_catboost(json.dumps(_catboost_document(policy)), SCHEMA)) == "model"
    for model in _sklearn_models():
        assert _outcome(lambda model=model: from_sklearn(model, SCHEMA)) == "model"


@given(st.data())
@_MUTATED
def test_texts_of_lightgbm(data: st.DataObject) -> None:
    lines = _lightgbm_text().split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        name, equals, rest = lines[at].partition("=")
        words = rest.split(" ")
        change = data.draw(st.sampled_from(["word", "word", "line", "gone", "end"]))
        if change == "word":
            words[data.draw(st.integers(0, len(words) - 1))] = str(data.draw(_STRANGE))
            lines[at] = name + equals + " ".join(words)
        elif change == "line":
            lines[at] = str(data.draw(_STRANGE))
        elif change == "gone" and len(lines) > 1:
            del lines[at]
        else:
            lines[at] = lines[at][: data.draw(st.integers(0, 20))]
    _outcome(lambda: from_lightgbm("\n".join(lines), SCHEMA))


@given(st.data())
@_MUTATED
def test_documents_of_xgboost(data: st.DataObject) -> None:
    document = _mutated(_xgboost_document(), data)
    _outcome(lambda: from_xgboost(json.dumps(document).encode(), SCHEMA))


@given(st.data())
@_MUTATED
def test_bytes_of_xgboost(data: st.DataObject) -> None:
    raw = bytearray(xgb.Booster(model_file=bytearray(json.dumps(_xgboost_document()).encode())).save_raw("ubj"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    _outcome(lambda: from_xgboost(bytes(raw[: data.draw(st.integers(0, len(raw)))]), SCHEMA))


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
@given(data=st.data())
@_MUTATED
def test_documents_of_catboost(policy: str, data: st.DataObject) -> None:
    document = _mutated(_catboost_document(policy), data)
    _outcome(lambda: from_catboost(json.dumps(document), SCHEMA))


@given(st.data())
@_MUTATED
def test_objects_of_scikit_learn(data: st.DataObject) -> None:
    model = _mutated(data.draw(st.sampled_from(_sklearn_models())), data)
    _outcome(lambda: from_sklearn(model, SCHEMA))


class _Hostile:
    """Has every attribute, and raises for each."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize("convert", [from_catboost, from_lightgbm, from_sklearn, from_xgboost])
@pytest.mark.parametrize(
    "model",
    [None, 3, "", b"", "[" * 100_000, b"{" * 100_000, b'{"learner":' * 50_000, [], {}, object(), _Hostile(),
     LogisticRegression(), lgb.LGBMRegressor(), xgb.XGBRegressor(), xgb.Booster(), catboost.CatBoostRegressor()],
    ids=lambda model: f"{type(model).__name__} {str(model)[:9] if isinstance(model, str | bytes) else ''}",
)  # fmt: skip
def test_what_is_no_fitted_model(convert: Callable[..., Any], model: Any) -> None:
    assert _outcome(lambda: convert(model, SCHEMA)) != "model"


def test_a_refusal_says_what_is_wrong_and_in_which_tree() -> None:
    head, *trees = _lightgbm_text().split("\nTree=")
    trees[1] = trees[1].replace("num_leaves", "leaves")
    said = _outcome(lambda: from_lightgbm("\nTree=".join([head, *trees]), SCHEMA))
    assert said.startswith("LightGBM: a damaged tree (KeyError: 'num_leaves'), number 1 from 0; ")
    document = copy.deepcopy(_xgboost_document())
    document["learner"]["gradient_booster"]["model"]["trees"][4]["left_children"][0] = 999
    said = _outcome(lambda: from_xgboost(json.dumps(document).encode(), SCHEMA))
    assert said.startswith("XGBoost: a damaged tree, number 4 from 0; ")
