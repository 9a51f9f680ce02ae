"""Permutation importance: how much worse the model gets when one column's values are dealt out anew among the rows.

Breiman, "Random forests" (2001), for any model as Fisher, Rudin and Dominici (2019) have it. Of columns that say the
same each looks unimportant, because the other one is still there: the figures tell what the model *uses*, not what
the label depends on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ServiceError
from trainyard.metrics.measures import LOSS_NAMES, row_losses
from trainyard.metrics.plain import name, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy.typing as npt

    from trainyard.evaluation.sample import FloatArray, Sample

MOST_ROWS = 2_000
MOST_SHOWN = 100
REPEATS = 5


def importance(
    sample: Sample,
    ask: Callable[[Mapping[str, npt.NDArray[Any]]], FloatArray],
    time_left: Callable[[], bool],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the rise of the loss per feature, the largest first.

    Every feature has its turn before any has a second, up to :data:`REPEATS`; ``time_left`` is asked before each.
    ``cut`` says in words when it was cut short, else it is None. A feature's ``rise`` is the mean over its turns and
    ``spread`` their standard deviation (None: it had one turn).

    Args:
        sample: the rows; at most :data:`MOST_ROWS` of them are used.
        ask: answers columns as the model does.
        time_left: False when there is no time for more.
        seed: of rows and deals; the same for the same rows, whatever the time allowed.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    rows = np.arange(sample.rows)
    if sample.rows > MOST_ROWS:
        rows = np.sort(generator.choice(sample.rows, MOST_ROWS, replace=False))
    columns = {feature: values[rows] for feature, values in sample.columns.items()}
    labels = sample.labels[rows]
    rises: dict[str, list[float]] = {feature: [] for feature in columns}
    found: dict[str, Any] = {"loss": LOSS_NAMES[sample.task], "rows": len(rows), "features": [], "cut": None}
    if len(rows) < 2:
        return found | {"cut": "two rows are needed at least"}
    before = float(sample.losses[rows].mean())
    turns = [(turn, place, feature) for turn in range(REPEATS) for place, feature in enumerate(columns)]
    for done, (turn, place, feature) in enumerate(turns):
        if not time_left():
            found["cut"] = f"the time was up after {done} of {len(turns)} turns ({REPEATS} for each feature)"
            break
        deal = np.random.Generator(np.random.PCG64((seed, turn, place))).permutation(len(rows))
        try:
            answers = ask({**columns, feature: columns[feature][deal]})
        except ServiceError:  # values that never met in a row: the answer is not a finite number
            continue
        rises[feature].append(float(row_losses(sample.task, labels, answers).mean()) - before)
    shown = sorted(((np.mean(r), feature, r) for feature, r in rises.items() if r), key=lambda one: (-one[0], one[1]))
    found["features"] = [
        {
            "feature": name(feature),
            "rise": number(float(mean)),
            "spread": number(float(np.std(of, ddof=1))) if len(of) > 1 else None,
        }
        for mean, feature, of in shown[:MOST_SHOWN]
    ]
    return found | {"loss_before": number(before), "features_total": len(columns)}
