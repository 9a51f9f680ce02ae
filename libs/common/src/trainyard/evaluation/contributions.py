"""How much each feature moves the score: the mean size of its contributions on rows of the hold-out.

They tell what the model does with a feature, not what it gains by it, as permutation importance does: a feature that
moves scores and helps nobody is high here and low there; of two that say the same both may be high here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ServiceError
from trainyard.evaluation.importance import MOST_SHOWN
from trainyard.metrics.plain import name, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from trainyard.evaluation.sample import Sample
    from trainyard.model.explaining import Explanation

MOST_ROWS = 500
#: Rows between two looks at the time; so many are explained at least.
BLOCK_ROWS = 50


def contributions(
    sample: Sample,
    explain: Callable[[Mapping[str, npt.NDArray[Any]]], Explanation],
    time_left: Callable[[], bool],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the mean size of each feature's contributions, the largest first; of several classes to the predicted one.

    ``cut`` says in words when there are fewer rows than there could be, else it is None.

    Args:
        sample: the rows; at most :data:`MOST_ROWS` of them are used.
        explain: explains columns as the model does.
        time_left: False when there is no time for more; asked after each :data:`BLOCK_ROWS` rows.
        seed: of the rows.
    """
    rows = np.random.Generator(np.random.PCG64(seed)).permutation(sample.rows)[:MOST_ROWS]
    found: dict[str, Any] = {
        "unit": None,
        "rows": 0,
        "features_total": len(sample.columns),
        "features": [],
        "cut": None,
    }
    total = np.zeros(len(sample.columns))
    for begin in range(0, len(rows), BLOCK_ROWS):
        block = rows[begin : begin + BLOCK_ROWS]
        try:
            explained = explain({feature: values[block] for feature, values in sample.columns.items()})
        except ServiceError as e:  # some number on the way was not finite
            return found | {"cut": e.message}
        output = sample.decided[block] if len(explained.classes) > 1 else np.zeros(len(block), dtype=np.intp)
        total += np.abs(explained.contributions[np.arange(len(block)), output]).sum(axis=0)
        found |= {"unit": explained.unit, "rows": begin + len(block)}
        if found["rows"] < len(rows) and not time_left():
            found["cut"] = f"the time was up after {found['rows']} of {len(rows)} rows"
            break
    if found["rows"]:
        means = dict(zip(explained.columns, (total / found["rows"]).tolist(), strict=True))
        shown = sorted(means.items(), key=lambda one: (-one[1], one[0]))[:MOST_SHOWN]
        found["features"] = [{"feature": name(feature), "mean": number(mean)} for feature, mean in shown]
    return found
