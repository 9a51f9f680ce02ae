"""Rows to fit and to ask, and the comparison that every test of a converter ends with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from trainyard.model import Predictor, decode, encode
from trainyard.schema import Column, Schema
from trainyard_convert import Converted, Parity, bare_model, model_of

SCHEMA = Schema(
    [
        Column("id", "int", "key"),
        Column("width", "float"),
        Column("height", "float"),
        Column("count", "int"),
        Column("member", "bool"),
        Column("colour", "category", categories=("red", "green", "blue", "grey", "ivory")),
        Column("town", "text"),
        Column("born", "date"),
        Column("late", "bool", "label"),
    ]
)
NUMBERS = ["width", "height", "count", "member"]
CATEGORIES = ["colour", "town"]
_TOWNS = ("Riga", "Oslo", "Bern", "Graz")


def frame(rows: int = 300, seed: int = 0, *, missing: bool = True, strangers: bool = False) -> pd.DataFrame:
    """Return rows with every kind of column; some values missing, some levels that a fit without them never saw."""
    rng = np.random.default_rng(seed)
    colours = ["red", "green", "blue", "grey", *(["mauve"] if strangers else [])]
    out = pd.DataFrame(
        {
            "width": rng.normal(size=rows),
            "height": np.round(rng.gamma(2.0, 2.0, rows), 1),
            "count": rng.integers(0, 9, rows).astype(float),
            "member": rng.integers(0, 2, rows).astype(float),
            "colour": rng.choice(colours, rows),
            "town": rng.choice(_TOWNS, rows),
        }
    ).astype({"colour": object, "town": object})
    if missing:
        for index, name in enumerate(("width", "count", "colour", "town")):
            out.loc[rng.permutation(rows)[: rows // 9 + index], name] = np.nan
    return out


def score(table: pd.DataFrame) -> np.ndarray:
    """Return what the labels are made of."""
    return (
        np.nan_to_num(table["width"].to_numpy())
        + 0.3 * np.nan_to_num(table["count"].to_numpy())
        + np.where(table["colour"] == "red", 1.5, 0.0)
        - np.where(table["town"] == "Oslo", 1.0, 0.0)
        + 0.2 * table["height"].to_numpy()
    )


def labels(table: pd.DataFrame, classes: int = 2) -> np.ndarray:
    """Return class numbers of about equal counts."""
    values = score(table)
    return np.digitize(values, np.quantile(values, np.arange(1, classes) / classes))


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return clean rows, as the schema gives them."""
    return [{name: _clean(name, value) for name, value in row.items()} for row in table.to_dict("records")]


def _clean(name: str, value: Any) -> Any:
    if pd.isna(value):
        return None
    if name == "member":
        return bool(value)
    return int(value) if name == "count" else value


def alike(converted: Converted, table: pd.DataFrame) -> Parity:
    """Make the whole model, write and read it, and hold it against its library."""
    imported = model_of(converted, "imported", "things", rows_of(table))
    assert imported.model.metrics == {"parity": imported.parity.largest}
    again = decode(encode(imported.model))
    Predictor(again).self_test()
    assert encode(again) == encode(imported.model)
    return imported.parity


def answers(converted: Converted, table: pd.DataFrame) -> np.ndarray:
    """Return what the converted model answers."""
    rows = rows_of(table)
    return Predictor(bare_model(converted, "imported", "things")).predict_columns(
        {c.name: [r[c.name] for r in rows] for c in converted.schema.features}
    )
