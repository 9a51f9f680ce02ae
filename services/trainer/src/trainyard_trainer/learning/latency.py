"""How long a model takes for one row, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainyard.model import Predictor

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.model import Model
    from trainyard_trainer.learning.table import Table

_ROWS = 50


def one_row_us(model: Model, table: Table, clock: Clock) -> float | None:
    """Return the median time of an answer to one row, in microseconds; None when there is no row or no time passed.

    The first answer does not count: it pays for what is made once.
    """
    if not table.rows:
        return None
    predictor, times = Predictor(model), []
    for row in np.linspace(0, table.rows - 1, _ROWS + 1).astype(np.int64):
        columns = table.take(row[None]).columns
        began = clock.monotonic()
        predictor.predict_columns(columns)
        times.append(clock.monotonic() - began)
    median = float(np.median(times[1:])) * 1e6
    return median if median > 0 else None
