"""Models as data: their parts (dto), their file (codec, docs/model-format.md) and their answers (inference)."""

from trainyard.model.arrays import Array
from trainyard.model.codec import decode, encode, fingerprint
from trainyard.model.dto import (
    ACTIVATIONS,
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
from trainyard.model.inference import Prediction, Predictor, class_name, self_test, with_golden
from trainyard.model.steps import (
    DATE_PARTS,
    DateParts,
    IsMissing,
    Number,
    OneHot,
    Pair,
    Quantile,
    TableEncoding,
)

__all__ = [
    "ACTIVATIONS",
    "DATE_PARTS",
    "Array",
    "Blend",
    "DateParts",
    "Dense",
    "Golden",
    "IsMissing",
    "Isotonic",
    "Lineage",
    "Linear",
    "Model",
    "NeuralNetwork",
    "Number",
    "OneHot",
    "Pair",
    "Pipeline",
    "Platt",
    "Prediction",
    "Predictor",
    "Quantile",
    "TableEncoding",
    "Temperature",
    "TreeEnsemble",
    "class_name",
    "decode",
    "encode",
    "fingerprint",
    "self_test",
    "with_golden",
]
