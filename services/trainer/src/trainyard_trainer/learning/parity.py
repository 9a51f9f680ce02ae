"""The exported model held against the library that trained it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from trainyard.model.features import matrix
from trainyard_trainer.domain import ParityError

if TYPE_CHECKING:
    from trainyard.model import Predictor
    from trainyard_trainer.learning.fitting import Fitted
    from trainyard_trainer.learning.table import Table

#: Largest difference between the library's answer and the exported model's.
PARITY = 1e-9


def check_parity(fitted: Fitted, predictor: Predictor, table: Table) -> float:
    """Hold the exported pipeline against the library on real rows, and on the same rows with nothing known.

    The second half of the rows has every value missing or, in turns, every category unseen.

    Returns:
        The largest difference, for values beyond 1 relative.

    Raises:
        ParityError: an answer differs by more than 1e-9 (for values beyond 1: relative).
    """
    rows = _with_strangers(table)
    ours = predictor.predict_columns(rows.columns)
    x = np.ascontiguousarray(matrix(fitted.pipeline.steps, rows.columns, rows.rows).T)
    theirs = fitted.answer(x)
    apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    if ours.shape != theirs.shape or not (apart <= PARITY).all():
        raise ParityError(
            f"the exported model differs from the trained one by {apart.max():.3g}; {PARITY:g} is allowed"
        )
    return float(apart.max())


def _with_strangers(table: Table) -> Table:
    columns = {}
    for column in table.schema.features:
        values = table.columns[column.name]
        strange = values.copy()
        if values.dtype == object:
            strange[::2], strange[1::2] = None, "\x7fa level that nobody has seen"
        elif values.dtype.kind == "M":
            strange[:] = np.datetime64("NaT", "us")
        else:
            strange[::2] = np.nan
        columns[column.name] = np.concatenate([values, strange])
    return replace(table, columns=columns)
