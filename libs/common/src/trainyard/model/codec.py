"""The model format as a table, and the two functions on it: ``encode`` and ``decode``.

Read together with docs/model-format.md, which is normative. The order of the fields here is the order in the file.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from trainyard.errors import ArtifactError
from trainyard.model import version1, wire
from trainyard.model.checks import check
from trainyard.model.dto import (
    FORMAT_VERSION,
    Blend,
    Dense,
    Golden,
    Isotonic,
    Lineage,
    Linear,
    Model,
    NeuralNetwork,
    Pipeline,
    Platt,
    Temperature,
)
from trainyard.model.ensembles import TreeEnsemble
from trainyard.model.records import (
    BOOL,
    FLOAT,
    INT,
    STR,
    ArrayOf,
    Converter,
    Json,
    Label,
    ListOf,
    MapOf,
    OneOf,
    Optional,
    Record,
    SchemaForm,
)
from trainyard.model.steps import DateParts, IsMissing, Number, OneHot, Pair, Quantile, TableEncoding

_F1, _F2 = ArrayOf("float64", 1), ArrayOf("float64", 2)
_AFTERWARDS: dict[str, Converter] = {
    "impute": Optional(FLOAT),
    "center": FLOAT,
    "scale": FLOAT,
    "clip": Optional(FLOAT),
}
_LEVELS: dict[str, Converter] = {"column": STR, "levels": ListOf(STR)}

_STEP = OneOf(
    (
        Record(Number, {"column": STR, "transform": STR, **_AFTERWARDS}, "number"),
        Record(Quantile, {"column": STR, "at": _F1, "to": _F1, "impute": Optional(FLOAT)}, "quantile"),
        Record(Pair, {"left": STR, "right": STR, "operation": STR, **_AFTERWARDS}, "pair"),
        Record(IsMissing, {"column": STR}, "is_missing"),
        Record(OneHot, {**_LEVELS, "other": BOOL, "missing": BOOL}, "one_hot"),
        Record(
            TableEncoding,
            {**_LEVELS, "table": _F2, "unknown": Optional(_F1), "missing": Optional(_F1)},
            "table_encoding",
        ),
        Record(
            DateParts,
            {
                "column": STR,
                "parts": ListOf(STR),
                "impute": Optional(_F1),
                "center": Optional(_F1),
                "scale": Optional(_F1),
            },
            "date_parts",
        ),
    )
)
_DENSE = Record(Dense, {"weights": _F2, "bias": _F1, "activation": STR})
_ESTIMATOR = OneOf(
    (
        Record(Linear, {"weights": _F2, "bias": _F1, "baseline": Optional(_F1), "output": STR}, "linear"),
        Record(
            NeuralNetwork,
            {"layers": ListOf(_DENSE), "baseline": Optional(_F1), "output": STR},
            "neural_network",
        ),
        Record(
            TreeEnsemble,
            {
                "node": ArrayOf("uint8", 1),
                "feature": ArrayOf("uint16", 1),
                "threshold": _F1,
                "category_start": ArrayOf("int32", 1),
                "category": ArrayOf("int32", 1),
                "value": _F2,
                "cover": Optional(ArrayOf("float32", 1)),
                "tree_output": ArrayOf("uint16", 1),
                "base": _F1,
                "aggregation": STR,
                "output": STR,
            },
            "tree_ensemble",
        ),
    )
)
_PIPELINE = Record(Pipeline, {"steps": ListOf(_STEP), "estimator": _ESTIMATOR}, "pipeline")
_BLEND = Record(Blend, {"members": ListOf(_PIPELINE), "weights": _F1}, "blend")
_CALIBRATION = OneOf(
    (
        Record(Temperature, {"temperature": FLOAT}, "temperature"),
        Record(Platt, {"slope": FLOAT, "intercept": FLOAT}, "platt"),
        Record(Isotonic, {"at": _F1, "to": _F1}, "isotonic"),
    )
)
_LINEAGE = Record(
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
_GOLDEN = Record(Golden, {"rows": ListOf(MapOf(Json())), "expected": _F2})
BODY = Record(
    Model,
    {
        "name": STR,
        "task": STR,
        "schema": SchemaForm(),
        "pipeline": OneOf((_PIPELINE, _BLEND)),
        "classes": ListOf(Label()),
        "calibration": Optional(_CALIBRATION),
        "threshold": FLOAT,
        "metrics": MapOf(FLOAT),
        "lineage": _LINEAGE,
        "golden": _GOLDEN,
    },
)


#: version of the format -> the form of its body
_FORMS = {1: version1.form(_LINEAGE, _GOLDEN), FORMAT_VERSION: BODY}


def encode(model: Model) -> bytes:
    """Return the model's file; the same model gives the same bytes, always and everywhere.

    Raises:
        ArtifactError: the model breaks a rule of the format; ``code`` names it.
    """
    if model.golden is None:
        raise ArtifactError("bad_golden", "the model has no golden rows; make them with with_golden()")
    tree = _FORMS[model.format_version].pack(model)  # first: it refuses values of wrong types, which check() relies on
    check(model)
    return wire.seal(tree, model.format_version)


def decode(data: bytes) -> Model:
    """Return the model that ``data`` holds. Total: any bytes give a model or an ArtifactError.

    The golden rows are not run here; whoever is going to serve the model calls ``self_test``.

    Raises:
        ArtifactError: ``code`` names the first rule that the bytes break (docs/model-format.md).
    """
    version, tree = wire.unseal(data)
    model: Model = _FORMS[version].unpack(tree, "model")
    check(model)
    return model if version == FORMAT_VERSION else replace(model, format_version=version)


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of a model file in hex, as it stands in its key on S3."""
    return hashlib.sha256(data).hexdigest()
