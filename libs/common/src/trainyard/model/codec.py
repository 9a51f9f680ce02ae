"""The model format as a table, and the two functions on it: ``encode`` and ``decode``.

Read together with docs/model-format.md, which is normative. The order of the fields here is the order in the file.
"""

from __future__ import annotations

import hashlib

from trainyard.errors import ArtifactError
from trainyard.model import wire
from trainyard.model.checks import check
from trainyard.model.dto import (
    Blend,
    DateParts,
    Dense,
    Golden,
    IsMissing,
    Lineage,
    Linear,
    Model,
    NeuralNetwork,
    Number,
    OneHot,
    Pipeline,
    TableEncoding,
    TreeEnsemble,
)
from trainyard.model.records import (
    BOOL,
    FLOAT,
    INT,
    STR,
    Array,
    Json,
    Label,
    ListOf,
    MapOf,
    OneOf,
    Optional,
    Record,
    SchemaForm,
)

_F1, _F2, _I1 = Array("float64", 1), Array("float64", 2), Array("int32", 1)

_STEP = OneOf(
    (
        Record(
            Number,
            {"column": STR, "impute": Optional(FLOAT), "center": FLOAT, "scale": FLOAT, "clip": Optional(FLOAT)},
            "number",
        ),
        Record(IsMissing, {"column": STR}, "is_missing"),
        Record(OneHot, {"column": STR, "levels": ListOf(STR), "other": BOOL, "missing": BOOL}, "one_hot"),
        Record(
            TableEncoding,
            {"column": STR, "levels": ListOf(STR), "table": _F2, "unknown": _F1, "missing": _F1},
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
        Record(Linear, {"weights": _F2, "bias": _F1, "output": STR}, "linear"),
        Record(NeuralNetwork, {"layers": ListOf(_DENSE), "output": STR}, "neural_network"),
        Record(
            TreeEnsemble,
            {
                "tree_start": _I1,
                "feature": _I1,
                "threshold": _F1,
                "left": _I1,
                "right": _I1,
                "default_left": Array("uint8", 1),
                "value": _F2,
                "tree_output": _I1,
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
_MODEL = Record(
    Model,
    {
        "name": STR,
        "task": STR,
        "schema": SchemaForm(),
        "pipeline": OneOf((_PIPELINE, _BLEND)),
        "classes": ListOf(Label()),
        "temperature": Optional(FLOAT),
        "threshold": FLOAT,
        "metrics": MapOf(FLOAT),
        "lineage": _LINEAGE,
        "golden": Record(Golden, {"rows": ListOf(MapOf(Json())), "expected": _F2}),
    },
)


def encode(model: Model) -> bytes:
    """Return the model's file; the same model gives the same bytes, always and everywhere.

    Raises:
        ArtifactError: the model breaks a rule of the format; ``code`` names it.
    """
    if model.golden is None:
        raise ArtifactError("bad_golden", "the model has no golden rows; make them with with_golden()")
    tree = _MODEL.pack(model)  # first: it refuses values of wrong types, which check() relies on
    check(model)
    return wire.seal(tree)


def decode(data: bytes) -> Model:
    """Return the model that ``data`` holds. Total: any bytes give a model or an ArtifactError.

    The golden rows are not run here; whoever is going to serve the model calls ``self_test``.

    Raises:
        ArtifactError: ``code`` names the first rule that the bytes break (docs/model-format.md).
    """
    model: Model = _MODEL.unpack(wire.unseal(data), "model")
    check(model)
    return model


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of a model file in hex, as it stands in its key on S3."""
    return hashlib.sha256(data).hexdigest()
