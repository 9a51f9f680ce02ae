"""Rows as they occur, for what is said about drift: missing values, heavy tails, ties, rare values, many levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from trainyard.schema import Column

Columns = dict[str, npt.NDArray[Any]]
TYPES = {
    "normal": "float",
    "heavy": "float",
    "lognormal": "float",
    "cauchy": "float",
    "zeros": "int",
    "weekday": "int",
    "rare": "int",
    "carrier": "category",
    "origin": "category",
    "flag": "bool",
}
FEATURES = [Column(name, type_, "feature", nullable=True) for name, type_ in TYPES.items()]


def sample(rng: np.random.Generator, rows: int) -> Columns:
    """Return ``rows`` rows by column; every call draws from the same distribution."""
    shares = 1 / np.arange(1, 301) ** 1.2
    found: Columns = {
        "normal": np.where(rng.random(rows) < 0.05, np.nan, rng.normal(size=rows)),
        "heavy": rng.standard_t(2.5, size=rows),
        "lognormal": rng.lognormal(0, 1.5, size=rows),
        "cauchy": rng.standard_cauchy(size=rows),
        "zeros": np.where(rng.random(rows) < 0.8, 0.0, rng.poisson(5, rows)),
        "weekday": rng.integers(1, 8, rows).astype(float),
        "rare": (rng.random(rows) < 0.01).astype(float),
        "carrier": np.array(["AA", "UA"], object)[(rng.random(rows) < 0.3).astype(int)],
        "origin": np.array([f"a{i}" for i in rng.choice(300, rows, p=shares / shares.sum())], object),
        "flag": (rng.random(rows) < 0.5).astype(float),
    }
    return found


def logged(columns: Columns) -> list[dict[str, Any]]:
    """Return the columns as the prediction log holds them: a row is an object, a missing value null."""
    cells = {
        name: [
            None if value is None or (isinstance(value, float) and math.isnan(value)) else value
            for value in (values.astype(bool).tolist() if TYPES.get(name) == "bool" else values.tolist())
        ]
        for name, values in columns.items()
    }
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]
