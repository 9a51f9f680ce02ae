"""The forms of records that no version of the format has changed, so that versions 1 and 2 share them."""

from __future__ import annotations

from trainyard.model.converters import BOOL, FLOAT, INT, STR, Converter, Json, Label, ListOf, MapOf, Optional
from trainyard.model.dto import Dense, Golden, Lineage
from trainyard.model.records import ArrayOf, Record, SchemaForm
from trainyard.model.steps import DateParts, IsMissing, OneHot

F1, F2 = ArrayOf("float64", 1), ArrayOf("float64", 2)
#: What numbers have after their column: how they are imputed, scaled and cut.
SETTLED: dict[str, Converter] = {
    "impute": Optional(FLOAT),
    "center": FLOAT,
    "scale": FLOAT,
    "clip": Optional(FLOAT),
}
LEVELS: dict[str, Converter] = {"column": STR, "levels": ListOf(STR)}
IS_MISSING = Record(IsMissing, {"column": STR}, "is_missing")
ONE_HOT = Record(OneHot, {**LEVELS, "other": BOOL, "missing": BOOL}, "one_hot")
DATE_PARTS = Record(
    DateParts,
    {"column": STR, "parts": ListOf(STR), "impute": Optional(F1), "center": Optional(F1), "scale": Optional(F1)},
    "date_parts",
)
DENSE = Record(Dense, {"weights": F2, "bias": F1, "activation": STR})
LINEAGE = Record(
    Lineage,
    {
        "dataset": STR,
        "snapshot_upto_seq": INT,
        "snapshot_rows": INT,
        "snapshot_sha256": STR,
        "configuration": MapOf(Json()),
        "code_version": STR,
        "seed": INT,
        "libraries": MapOf(STR),
    },
)
GOLDEN = Record(Golden, {"rows": ListOf(MapOf(Json())), "expected": F2})


def model_fields(pipeline: Converter, calibration: dict[str, Converter]) -> dict[str, Converter]:
    """Return the fields of a model in their order; how it is calibrated is what versions differ in."""
    return {
        "name": STR,
        "task": STR,
        "schema": SchemaForm(),
        "pipeline": pipeline,
        "classes": ListOf(Label()),
        **calibration,
        "threshold": FLOAT,
        "metrics": MapOf(FLOAT),
        "lineage": LINEAGE,
        "golden": GOLDEN,
    }
