"""Models as data: their parts (dto), their file (codec, docs/model-format.md) and their answers (inference)."""

from trainyard.model.codec import decode, encode, fingerprint
from trainyard.model.dto import (
    ACTIVATIONS,
    DATE_PARTS,
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
from trainyard.model.inference import Prediction, Predictor, class_name, self_test, with_golden

__all__ = [
    "ACTIVATIONS",
    "DATE_PARTS",
    "Blend",
    "DateParts",
    "Dense",
    "Golden",
    "IsMissing",
    "Lineage",
    "Linear",
    "Model",
    "NeuralNetwork",
    "Number",
    "OneHot",
    "Pipeline",
    "Prediction",
    "Predictor",
    "TableEncoding",
    "TreeEnsemble",
    "class_name",
    "decode",
    "encode",
    "fingerprint",
    "self_test",
    "with_golden",
]
