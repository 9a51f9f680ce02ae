"""The model format as a table, and the two functions on it: ``encode`` and ``decode``.

Read together with docs/model-format.md, which is normative. The order of the fields here is the order in the file.
"""

from __future__ import annotations

import functools
import hashlib

from trainyard.errors import ArtifactError
from trainyard.frozen import replace
from trainyard.model import wire
from trainyard.model.checks import check
from trainyard.model.converters import FLOAT, STR, ListOf, Optional
from trainyard.model.dto import (
    FORMAT_VERSION,
    Blend,
    Isotonic,
    Linear,
    Model,
    NeuralNetwork,
    Pipeline,
    Platt,
    Temperature,
)
from trainyard.model.ensembles import TreeEnsemble
from trainyard.model.forms import DATE_PARTS, DENSE, F1, F2, IS_MISSING, LEVELS, ONE_HOT, SETTLED, model_fields
from trainyard.model.records import ArrayOf, OneOf, Record
from trainyard.model.steps import Number, Pair, Quantile, TableEncoding

_STEP = OneOf(
    (
        Record(Number, {"column": STR, "transform": STR, **SETTLED}, "number", at_once=True),
        Record(Quantile, {"column": STR, "at": F1, "to": F1, "impute": Optional(FLOAT)}, "quantile"),
        Record(Pair, {"left": STR, "right": STR, "operation": STR, **SETTLED}, "pair", at_once=True),
        IS_MISSING,
        ONE_HOT,
        Record(
            TableEncoding, {**LEVELS, "table": F2, "unknown": Optional(F1), "missing": Optional(F1)}, "table_encoding"
        ),
        DATE_PARTS,
    )
)
_ESTIMATOR = OneOf(
    (
        Record(Linear, {"weights": F2, "bias": F1, "baseline": Optional(F1), "output": STR}, "linear"),
        Record(
            NeuralNetwork,
            {"layers": ListOf(DENSE), "baseline": Optional(F1), "output": STR},
            "neural_network",
        ),
        Record(
            TreeEnsemble,
            {
                "node": ArrayOf("uint8", 1),
                "feature": ArrayOf("uint16", 1),
                "threshold": F1,
                "category_start": ArrayOf("int32", 1),
                "category": ArrayOf("int32", 1),
                "value": F2,
                "cover": Optional(ArrayOf("float32", 1)),
                "tree_output": ArrayOf("uint16", 1),
                "base": F1,
                "aggregation": STR,
                "output": STR,
            },
            "tree_ensemble",
        ),
    )
)
_PIPELINE = Record(Pipeline, {"steps": ListOf(_STEP), "estimator": _ESTIMATOR}, "pipeline")
_BLEND = Record(Blend, {"members": ListOf(_PIPELINE), "weights": F1}, "blend")
_CALIBRATION = OneOf(
    (
        Record(Temperature, {"temperature": FLOAT}, "temperature"),
        Record(Platt, {"slope": FLOAT, "intercept": FLOAT}, "platt"),
        Record(Isotonic, {"at": F1, "to": F1}, "isotonic"),
    )
)
BODY = Record(Model, model_fields(OneOf((_PIPELINE, _BLEND)), {"calibration": Optional(_CALIBRATION)}))


@functools.cache
def _form(version: int) -> Record:
    """Return the form of the body in that version of the format."""
    if version == 1:
        from trainyard.model import version1  # noqa: PLC0415 - a cold start has no time for what few files are

        return version1.form()
    return {FORMAT_VERSION: BODY}[version]


def encode(model: Model) -> bytes:
    """Return the model's file; the same model gives the same bytes, always and everywhere.

    Raises:
        ArtifactError: the model breaks a rule of the format; ``code`` names it.
    """
    if model.golden is None:
        raise ArtifactError("bad_golden", "the model has no golden rows; make them with with_golden()")
    tree = _form(model.format_version).pack(model)  # first: it refuses values of wrong types, which check() relies on
    check(model)
    return wire.seal(tree, model.format_version)


def decode(data: bytes) -> Model:
    """Return the model that ``data`` holds. Total: any bytes give a model or an ArtifactError.

    The golden rows are not run here; whoever is going to serve the model calls ``self_test``.

    Raises:
        ArtifactError: ``code`` names the first rule that the bytes break (docs/model-format.md).
    """
    version, tree = wire.unseal(data)
    model: Model = _form(version).unpack(tree, "model")
    check(model)
    return model if version == FORMAT_VERSION else replace(model, format_version=version)


def fingerprint(data: bytes) -> str:
    """Return the SHA-256 of a model file in hex, as it stands in its key on S3."""
    return hashlib.sha256(data).hexdigest()
