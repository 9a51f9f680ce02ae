"""What more rows bring: the chosen configuration, fitted on parts of the rows that grow, measured on the test rows.

The configuration of the member with the largest weight is fitted again, at the length that was chosen, on a sixteenth,
an eighth, a quarter and half of the fit part; the last point is the member as it was published. Each part holds the one
before it, and a row of every class. A line that still falls at its end says that more rows would help.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ServiceError
from trainyard.metrics.measures import LOSS_NAMES, row_losses
from trainyard.metrics.plain import number
from trainyard.model import Predictor
from trainyard_trainer.learning.refit import ALL, described

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from trainyard.model import Blend, Model, Pipeline
    from trainyard_trainer.learning.budget import Budget
    from trainyard_trainer.learning.refit import Ground, Known

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
#: Rows below which a part says nothing, and how many of those learnt from are asked about.
_LEAST_ROWS, _MOST_ASKED = 30, 2_000
#: How much longer the fit on twice the rows may take.
_LONGER = 2.5


def learning_curve(
    pipeline: Pipeline | Blend,
    members: Sequence[Mapping[str, Any]],
    ground: Ground,
    fit: Known,
    test: Known,
    *,
    budget: Budget,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Return the curve as the report has it.

    ``points`` are ``{"rows", "loss", "learnt"}``: how many rows were learnt from, the loss on the test rows, and on (at
    most 2,000 of) those learnt from. ``cut`` says in words why there are fewer points than there should be, else None.

    Args:
        pipeline, members: what was chosen, and the lineage's description of it.
        ground: what every fit of the run shares.
        fit, test: all rows that are learnt from, and those that the model is measured on.
        budget: for all fits together. A fit that it cuts off is no point.
        progress: told of every point.
    """
    main = int(np.argmax([member["weight"] for member in members]))
    published = ground.shell(ground.shell(pipeline).members[main])
    found: dict[str, Any] = {"kind": members[main]["kind"], "loss": LOSS_NAMES[published.task], "points": []}
    if not test.table.rows:
        return found | {"cut": "there are no test rows"}
    order = _order(fit.labels, published)
    needed = max(_LEAST_ROWS, 2 * len(published.classes))
    sizes = [size for size in (int(share * len(order)) for share in SHARES) if size >= needed]
    expected = 0.0
    for done, size in enumerate(sizes):
        if not budget.allows(expected):
            break
        progress("learning curve", done, len(sizes))
        part, left = fit.take(np.sort(order[:size])), budget.left
        fitted = described(members[main]).fit(ground.learning(part), budget, lambda _done, _total: None)
        if budget.spent:
            break
        expected = _LONGER * (left - budget.left)
        found["points"].append(_point(ground.shell(fitted.pipeline), part, test))
    done = len(found["points"])
    found["cut"] = f"the time was up after {done} of {len(sizes)} fits on fewer rows" if done < len(sizes) else None
    if members[main]["rows"] == ALL:
        found["points"].append(_point(published, fit, test))
    return found


def _order(labels: npt.NDArray[Any], model: Model) -> npt.NDArray[np.int64]:
    """Return the rows in the order in which they are added: one of each class, then as they are dealt."""
    order = np.random.Generator(np.random.PCG64(model.lineage.seed)).permutation(len(labels))
    if model.task == "regression":
        return order
    _, firsts = np.unique(labels[order], return_index=True)
    rest = np.ones(len(order), dtype=np.bool_)
    rest[firsts] = False
    return np.concatenate([order[firsts], order[rest]])


def _point(model: Model, learnt: Known, test: Known) -> dict[str, Any]:
    """Return the losses of a model on the test rows and on some that it has learnt from."""
    count = learnt.table.rows
    asked = learnt.take(np.linspace(0, count - 1, min(count, _MOST_ASKED)).astype(np.int64))
    return {"rows": count, "loss": _loss(model, test), "learnt": _loss(model, asked)}


def _loss(model: Model, rows: Known) -> float | None:
    try:
        answers = Predictor(model).predict_columns(rows.table.columns)
    except ServiceError:  # values that the few rows did not show: the answer is not a finite number
        return None
    with np.errstate(over="ignore"):
        return number(float(row_losses(model.task, rows.labels, answers).mean()))
