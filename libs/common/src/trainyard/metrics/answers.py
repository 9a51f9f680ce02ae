"""What a model answers to rows, as every figure of it is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainyard.model.decision import decided

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs, and what is decided by them.

    Attributes:
        outputs: probabilities (rows, classes), or values (rows,).
        decided: shape (rows,): the index of the class that is answered, by the model's own threshold; negative for a
            class that is none of these. Not read for regression.
    """

    outputs: FloatArray
    decided: npt.NDArray[Any]

    @classmethod
    def of(cls, task: str, outputs: FloatArray, threshold: float = 0.5) -> Answers:
        """Return the answers of a model with these outputs; ``threshold`` is that of a binary one."""
        if task == "regression":
            return cls(outputs, np.zeros(len(outputs), dtype=np.intp))
        return cls(outputs, decided(task, outputs, threshold))
