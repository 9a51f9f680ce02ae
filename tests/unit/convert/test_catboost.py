"""CatBoost models answer as they did; what the format cannot say is refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import catboost
import numpy as np
import pytest
from tests.unit.convert.tables import CATEGORIES, NUMBERS, SCHEMA, alike, answers, frame, labels, score

from trainyard_convert import ConversionError, from_catboost, from_file

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = {"iterations": 15, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": 1}
_TOWNS = {"town": ["Riga", "Oslo", "Bern", "Graz"]}


def _table(**options: Any) -> Any:
    return frame(**options).fillna(dict.fromkeys(CATEGORIES, "none"))


def _model(y: Any, table: Any, **params: Any) -> Any:
    levels = [c for c in CATEGORIES if c in getattr(table, "columns", ())]
    return catboost.CatBoost({**_SMALL, "one_hot_max_size": 10, **params}).fit(table, y, cat_features=levels)


@pytest.mark.parametrize(
    "params",
    [
        {"loss_function": "Logloss"},
        {"loss_function": "Logloss", "grow_policy": "Lossguide"},
        {"loss_function": "Logloss", "grow_policy": "Depthwise", "nan_mode": "Max"},
        {"loss_function": "CrossEntropy"},
        {"loss_function": "MultiClass"},
        {"loss_function": "MultiClass", "grow_policy": "Lossguide"},
        {"loss_function": "RMSE"},
        {"loss_function": "RMSE", "nan_mode": "Max"},
        {"loss_function": "MAE"},
        {"loss_function": "Poisson"},
        {"loss_function": "Tweedie:variance_power=1.5"},
    ],
    ids=str,
)
def test_every_loss_and_shape_of_tree(params: dict[str, Any]) -> None:
    table = _table()
    loss = params["loss_function"]
    y = labels(table, 3 if loss == "MultiClass" else 2) if loss in ("Logloss", "MultiClass") else score(table) + 5
    y = labels(table) * 0.8 + 0.1 if loss == "CrossEntropy" else y
    converted = from_catboost(_model(y, table, **params), SCHEMA, levels=_TOWNS, missing_level="none")
    alike(converted, frame(seed=1, strangers=True))


@pytest.mark.parametrize("depth", [2, 4])
def test_models_fitted_on_an_array_have_inputs_without_names(depth: int, tmp_path: Path) -> None:
    model = _model(score(frame()), frame()[NUMBERS].to_numpy(), depth=depth)
    alike(from_catboost(model, SCHEMA, columns=NUMBERS), frame(seed=1))
    model.save_model(str(tmp_path / "m.json"), format="json")
    data = (tmp_path / "m.json").read_bytes()
    alike(from_file("m.json", data, SCHEMA, columns=NUMBERS), frame(seed=1))
    with pytest.raises(ConversionError, match=r"column '0': the dataset has no such column; .* with --columns a,b,c"):
        from_file("m.json", data, SCHEMA)


def test_values_at_the_borders_and_beside_them_in_float32_and_float64() -> None:
    model = _model(score(frame()), frame()[["width"]])
    borders = np.array(model.get_borders()[0], dtype=np.float32)
    singles = np.concatenate([borders, np.nextafter(borders, np.float32(9)), np.nextafter(borders, np.float32(-9))])
    above = np.nextafter(borders, np.float32(np.inf)).astype(np.float64)
    middles = (borders.astype(np.float64) + above) / 2
    values = np.concatenate([singles.astype(np.float64), middles, np.nextafter(middles, -9), np.nextafter(middles, 9)])
    asked = frame(len(values), missing=False)
    asked["width"] = values
    alike(from_catboost(model, SCHEMA), asked)


def test_without_a_word_for_it_a_category_must_not_be_missing() -> None:
    table = _table()
    converted = from_catboost(
        _model(score(table), table), SCHEMA, levels={"town": [*_TOWNS["town"], "none"], "colour": ["none"]}
    )
    assert [c.name for c in converted.schema.columns if not c.nullable] == CATEGORIES
    alike(converted, frame(seed=2))


def test_classes_are_those_of_the_model() -> None:
    table = _table()[NUMBERS]
    words = np.array(["late", "early"])[labels(table.assign(colour="", town=""))]
    model = catboost.CatBoostClassifier(**_SMALL).fit(table, words)
    assert from_catboost(model, SCHEMA).classes == ("early", "late")
    alike(from_catboost(model, SCHEMA), frame(seed=3))


def test_a_file_alone_is_converted_to_the_same(tmp_path: Any) -> None:
    table = _table()
    model = _model(labels(table), table, loss_function="Logloss")
    model.save_model(str(tmp_path / "m.json"), format="json")
    text = from_catboost((tmp_path / "m.json").read_text(), SCHEMA, levels=_TOWNS, missing_level="none", label="late")
    assert (text.native, text.classes) == (None, (False, True))
    asked = frame(seed=4)
    own = from_catboost(model, SCHEMA, levels=_TOWNS, missing_level="none")
    assert np.array_equal(answers(text, asked), answers(own, asked))


def test_refused_by_name() -> None:
    table = _table()
    y = labels(table)
    with pytest.raises(ConversionError, match=r"CatBoost CTR features.*one_hot_max_size"):
        from_catboost(_model(y, table, loss_function="Logloss", one_hot_max_size=2), SCHEMA)
    with pytest.raises(ConversionError, match="CatBoost loss MultiClassOneVsAll"):
        from_catboost(_model(labels(table, 3), table, loss_function="MultiClassOneVsAll"), SCHEMA)
    with pytest.raises(ConversionError, match=r"CatBoost category 'town': it tests \d level\(s\) that are none"):
        from_catboost(_model(y, table), SCHEMA, missing_level="none")
    whole = table[["width", "count"]].fillna(0).astype({"count": int}).rename(columns={"count": "colour"})
    with pytest.raises(ConversionError, match="CatBoost input 'colour': the dataset has it as a category"):
        from_catboost(catboost.CatBoost(_SMALL).fit(whole, y), SCHEMA)
    texts = table[["width", "town"]].rename(columns={"town": "count"})
    model = catboost.CatBoost({**_SMALL, "one_hot_max_size": 9}).fit(texts, y, cat_features=["count"])
    with pytest.raises(ConversionError, match="CatBoost category 'count': the dataset has it as a number"):
        from_catboost(model, SCHEMA)
    with pytest.raises(ConversionError, match="CatBoost file: it is not JSON; save it"):
        from_catboost("tree", SCHEMA)
    with pytest.raises(ConversionError, match="CatBoost file: its document lacks"):
        from_catboost("{}", SCHEMA)
