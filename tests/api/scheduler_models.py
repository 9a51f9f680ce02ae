"""The scheduler's models under test, and their files."""

from __future__ import annotations

import numpy as np

from trainyard.model import Lineage, Linear, Model, Number, Pipeline, encode, with_golden
from trainyard.schema import Column, Schema

MODELS = ("late", "late_soon", "late_often")
ARTIFACT = "application/vnd.trainyard.model"


def imported_model(name: str, weight: float = 2.0) -> bytes:
    """Return the file of a model that was fitted elsewhere; another ``weight`` is another file."""
    lineage = Lineage("flights", 0, 0, "0" * 64, {"imported": {"library": "xgboost"}}, "0", 0, {})
    pipeline = Pipeline((Number("x", 0.0),), Linear(np.array([[weight]]), np.array([0.5]), "sigmoid"))
    bare = Model(name, "binary", Schema([Column("x", "float")]), pipeline, (False, True), lineage)
    return encode(with_golden(bare, [{"x": 1.0}, {"x": None}]))
