"""How the model does on parts of the rows (:mod:`trainyard.metrics.slicing`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.metrics.plain import name, number
from trainyard.metrics.slicing import by_part, cuts_of

if TYPE_CHECKING:
    from trainyard.evaluation.sample import Sample

#: With fewer rows a slice shows chance, not the model.
LEAST_ROWS = 20
MOST_SHOWN = 50
_NORMAL_95 = 1.959964


def slices(sample: Sample) -> dict[str, Any]:
    """Return the slices with the highest loss first, ``shown`` of all ``found``.

    Each has ``column``, ``slice`` (in words), ``rows``, ``loss`` with a 95 % interval (``low``, ``high``: normal around
    the mean of its rows) and what else the gate measures (``metrics``). Whoever looks at many slices finds bad ones by
    chance too: an interval that lies above ``loss`` of all rows is a hint, not a proof.
    """
    losses = sample.losses
    found = []
    for cut in cuts_of(sample.kinds, sample.columns):
        rows, means, errors = by_part(cut, losses)
        found += [
            (-float(means[part]), name(cut.column), cut.levels[part], float(errors[part]), part, cut)
            for part in np.flatnonzero((rows >= LEAST_ROWS) & (rows < sample.rows)).tolist()
        ]
    found.sort(key=lambda one: one[:3])
    items = []
    for less, column, words, error, part, cut in found[:MOST_SHOWN]:
        inside = cut.parts == part
        figures = {metric: number(value) for metric, value in sample.figures(inside).items() if metric != "loss"}
        items.append(
            {
                "column": column,
                "slice": words,
                "rows": int(inside.sum()),
                "loss": number(-less),
                "low": number(max(0.0, -less - _NORMAL_95 * error)),
                "high": number(-less + _NORMAL_95 * error),
                "metrics": figures,
            }
        )
    overall = number(float(losses.mean())) if sample.rows else None
    return {"loss": overall, "items": items, "shown": len(items), "found": len(found), "least_rows": LEAST_ROWS}
