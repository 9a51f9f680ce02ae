"""Model files whose trees are none are refused before their library walks along them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm as lgb
import numpy as np
import pytest
import skops.io
import xgboost as xgb
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor
from tests.unit.convert.tables import NUMBERS, SCHEMA, alike, frame, score

from trainyard.model.ensembles import preorder
from trainyard_convert import ConversionError, from_file, from_lightgbm, from_xgboost

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_DAMAGED = "a damaged tree"
_TABLE = frame(missing=False)[NUMBERS]
_Y = score(frame(missing=False))


def _lightgbm(line: str, words: Callable[[list[str]], list[str]]) -> bytes:
    """Return a file with one line of its first tree changed."""
    text = lgb.train({"num_leaves": 4, "verbose": -1, "num_threads": 1}, lgb.Dataset(_TABLE, _Y), 1).model_to_string()
    lines = [row for row in text.split("\n") if not row.startswith("tree_sizes")]
    at = next(i for i, row in enumerate(lines) if row.startswith(f"{line}="))
    lines[at] = f"{line}=" + " ".join(words(lines[at].partition("=")[2].split()))
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("split_feature", "4"),
        ("split_feature", "99999"),
        ("split_feature", "-1"),
        ("left_child", "0"),
        ("left_child", "77"),
        ("left_child", "3"),
        ("left_child", "-5"),
        ("right_child", "-1"),
    ],
)
def test_lightgbm(line: str, first: str) -> None:
    with pytest.raises(ConversionError, match=f"LightGBM: {_DAMAGED}"):
        from_file("m.txt", _lightgbm(line, lambda words: [first, *words[1:]]), SCHEMA)


def test_lightgbm_children_that_share_a_subtree() -> None:
    inner = range(40)
    zeros = " ".join("0" for _ in inner)
    tree = {
        "num_leaves": 41, "split_feature": zeros, "threshold": zeros, "decision_type": " ".join("2" for _ in inner),
        "left_child": " ".join(map(str, [*inner[1:], -1])), "right_child": " ".join(map(str, [*inner[1:], -2])),
        "leaf_value": f"{zeros} 0",
    }  # fmt: skip
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nobjective=regression\nfeature_names=width\n\n"
    text = head + "Tree=0\n" + "\n".join(f"{name}={value}" for name, value in tree.items()) + "\n\nend of trees\n"
    with pytest.raises(ConversionError, match=_DAMAGED):
        from_lightgbm(text, SCHEMA)


@pytest.mark.parametrize("line", ["num_leaves", "leaf_value", "left_child", "split_feature", "threshold", "leaf_count"])
def test_lightgbm_lists_of_another_length(line: str) -> None:
    data = _lightgbm(line, lambda words: ["3000000000"] if line == "num_leaves" else words[1:])
    with pytest.raises(ConversionError, match=_DAMAGED):
        from_file("m.txt", data, SCHEMA)


@pytest.mark.parametrize("count", ["0", "-1", "3", "1000000000"])
@pytest.mark.parametrize("name", ["num_tree_per_iteration", "num_class"])
def test_lightgbm_scores_that_it_does_not_have(name: str, count: str) -> None:
    data = _lightgbm("num_leaves", lambda words: words).replace(f"{name}=1\n".encode(), f"{name}={count}\n".encode())
    with pytest.raises(ConversionError, match=r"LightGBM file: it claims -?\d+ scores"):
        from_file("m.txt", data, SCHEMA)


def test_lightgbm_trees_of_one_leaf() -> None:
    y = np.where(np.arange(len(_TABLE)) < 1, 1.0, 0.0)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 200}
    text = lgb.train(params, lgb.Dataset(_TABLE, y), 1).model_to_string()
    assert "num_leaves=1\n" in text
    alike(from_file("m.txt", text.encode(), SCHEMA, columns=NUMBERS), frame(seed=1))


def _xgboost(**changes: tuple[int, Any]) -> bytes:
    booster = xgb.train({"max_depth": 2, "nthread": 1}, xgb.DMatrix(_TABLE, _Y), 1)
    document = json.loads(bytes(booster.save_raw("json")))
    tree = document["learner"]["gradient_booster"]["model"]["trees"][0]
    for name, (at, value) in changes.items():
        tree[name][at] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"split_indices": (0, 4)},
        {"left_children": (0, 55)},
        {"left_children": (0, 0)},
        {"left_children": (1, 0)},
        {"left_children": (0, -2)},
        {"right_children": (0, 1)},
    ],
    ids=str,
)
def test_xgboost(change: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(ConversionError, match=f"XGBoost: {_DAMAGED}"):
        from_file("m.json", _xgboost(**change), SCHEMA)


@pytest.mark.parametrize(
    ("node", "at", "size", "code"), [(99, 0, 1, 1), (-1, 0, 1, 1), (0, 7, 1, 1), (0, 0, 1, 1 << 40)]
)
def test_xgboost_sets_of_categories(node: int, at: int, size: int, code: int) -> None:
    document = json.loads(_xgboost())
    document["learner"]["gradient_booster"]["model"]["trees"][0].update(
        categories_nodes=[node], categories_segments=[at], categories_sizes=[size], categories=[code]
    )
    with pytest.raises(ConversionError, match=f"XGBoost: {_DAMAGED}"):
        from_xgboost(json.dumps(document).encode(), SCHEMA)


@pytest.mark.parametrize(
    "changes",
    [
        {"iteration_indptr": [], "gbtree_model_param": {"num_trees": str(10**10), "num_parallel_tree": "1"}},
        {"gbtree_model_param": {"num_trees": "2", "num_parallel_tree": "1"}},
        {"iteration_indptr": [0, 9]},
        {"iteration_indptr": [0, -1, 1]},
        {"tree_info": [7]},
        {"tree_info": [-1]},
    ],
    ids=str,
)
def test_xgboost_trees_that_it_does_not_have(changes: dict[str, Any]) -> None:
    document = json.loads(_xgboost())
    document["learner"]["gradient_booster"]["model"].update(changes)
    with pytest.raises(
        ConversionError, match=r"XGBoost file: (it claims \d+ trees and has 1|its rounds|its trees belong)"
    ):
        from_file("m.json", json.dumps(document).encode(), SCHEMA)


def test_xgboost_classes_that_it_does_not_have() -> None:
    document = json.loads(_xgboost())
    document["learner"]["objective"]["name"] = "multi:softprob"
    document["learner"]["learner_model_param"]["num_class"] = str(10**9)
    with pytest.raises(ConversionError, match="XGBoost file: it claims 1000000000 classes"):
        from_file("m.json", json.dumps(document).encode(), SCHEMA)


def test_xgboost_keeps_the_places_of_leaves_that_it_has_pruned() -> None:
    params = {"tree_method": "exact", "gamma": 20.0, "nthread": 1}
    booster = xgb.train(params, xgb.DMatrix(_TABLE, _Y), 3)
    trees = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]["model"]["trees"]
    assert any(int(tree["tree_param"]["num_deleted"]) for tree in trees)
    alike(from_xgboost(booster, SCHEMA), frame(seed=1))


def _catboost(folder: Path) -> Any:
    params = {"iterations": 1, "depth": 2, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
    catboost.CatBoostRegressor(**params).fit(_TABLE, _Y).save_model(str(folder / "c.json"), format="json")
    return json.loads((folder / "c.json").read_bytes())


@pytest.mark.parametrize("name", ["float_feature_index", "split_index"])
@pytest.mark.parametrize("value", [-1, 10_000])
def test_catboost(name: str, value: int, tmp_path: Path) -> None:
    document = _catboost(tmp_path)
    document["oblivious_trees"][0]["splits"][0][name] = value
    with pytest.raises(ConversionError, match=f"CatBoost: {_DAMAGED}"):
        from_file("m.json", json.dumps(document).encode(), SCHEMA)


@pytest.mark.parametrize(("splits", "leaves"), [(40, 0), (64, 4), (17, 1 << 17), (2, 3), (2, 8)])
def test_catboost_leaves_that_it_does_not_have(splits: int, leaves: int, tmp_path: Path) -> None:
    document = _catboost(tmp_path)
    tree = document["oblivious_trees"][0]
    tree.update(splits=tree["splits"][:1] * splits, leaf_values=[1.0] * leaves, leaf_weights=[])
    with pytest.raises(ConversionError, match=f"CatBoost: {_DAMAGED}"):
        from_file("m.json", json.dumps(document).encode(), SCHEMA)


def _skops(model: Any, field: str, value: int) -> bytes:
    """Return a file in which the first node of the first tree has another number."""
    whole, out, changed = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))), io.BytesIO(), False
    with zipfile.ZipFile(out, "w") as written:
        for name in whole.namelist():
            data = whole.read(name)
            nodes: Any = np.load(io.BytesIO(data)) if name.endswith(".npy") and not changed else np.zeros(0)
            if field in (nodes.dtype.names or ()):
                nodes[field][0], changed = value, True
                buffer = io.BytesIO()
                np.save(buffer, nodes)
                data = buffer.getvalue()
            written.writestr(name, data)
    assert changed
    return out.getvalue()


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (DecisionTreeRegressor(max_depth=2), {"left_child": 77, "right_child": 0, "feature": 4}),
        (RandomForestRegressor(2, max_depth=2), {"left_child": -3, "right_child": 1, "feature": -1}),
        (GradientBoostingRegressor(n_estimators=1), {"left_child": 0, "right_child": 1 << 40, "feature": 1 << 40}),
        (
            HistGradientBoostingRegressor(max_iter=1),
            {"left": 77, "right": 0, "feature_idx": 4, "is_categorical": 1},
        ),
    ],
    ids=lambda given: type(given).__name__,
)
def test_scikit_learn(model: Any, fields: dict[str, int]) -> None:
    model.fit(_TABLE, _Y)
    for field, value in fields.items():
        with pytest.raises(ConversionError, match=f"scikit-learn {type(model).__name__}: {_DAMAGED}"):
            from_file("m.skops", _skops(model, field, value), SCHEMA)


def test_boosting_with_more_trees_a_round_than_scores() -> None:
    model = GradientBoostingRegressor(n_estimators=1).fit(_TABLE, _Y)
    model.estimators_ = np.repeat(model.estimators_, 3, axis=1)
    with pytest.raises(ConversionError, match=_DAMAGED):
        from_file("m.skops", skops.io.dumps(model), SCHEMA)


def test_preorder_ends_where_nodes_go_in_circles() -> None:
    left, right = np.array([0, -1, -1]), np.array([2, -1, -1])
    with pytest.raises(ValueError, match="one is reached twice"):
        preorder(np.array([0]), np.array([0, -1, -1]), left, right)
