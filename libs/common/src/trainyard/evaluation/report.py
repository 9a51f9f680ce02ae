"""The report of a version on its hold-out, as one JSON object (docs/model-cards.md lists its keys)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.evaluation.curves import curves
from trainyard.evaluation.importance import importance
from trainyard.evaluation.scores import CONFIDENCE, scores
from trainyard.evaluation.slices import slices
from trainyard.evaluation.tables import confusion, residuals
from trainyard.metrics.bootstrap import draws_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from trainyard.evaluation.sample import FloatArray, Sample

#: The form of the report; readers look at it first.
FORM = 1


def evaluate(
    sample: Sample,
    ask: Callable[[Mapping[str, npt.NDArray[Any]]], FloatArray],
    time_left: Callable[[], bool],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the report: finite numbers, names and lists only, some tens of KB whatever the hold-out's size.

    Args:
        sample: the hold-out's rows.
        ask: answers columns as the model does.
        time_left: False when the permutation importance has to stop.
        seed: of all that is drawn; the same rows give the same report, except where time cut it short.
    """
    with np.errstate(all="ignore"):  # labels near the end of the floats: what overflows is left out as not finite
        return {
            "form": FORM,
            "task": sample.task,
            "rows": sample.rows,
            "confidence": CONFIDENCE,
            "samples": draws_for(sample.rows),
            "metrics": scores(sample, seed=seed),
            "curves": curves(sample),
            "confusion": confusion(sample),
            "residuals": residuals(sample),
            "importance": importance(sample, ask, time_left, seed=seed),
            "slices": slices(sample),
        }
