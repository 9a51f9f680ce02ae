"""The report of a version: what its test rows tell, where it came from and what it took (docs/model-cards.md)."""

from __future__ import annotations

import resource
from dataclasses import asdict
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainyard.evaluation import Sample, contributions, evaluate
from trainyard.evaluation.contributions import BLOCK_ROWS, MOST_ROWS
from trainyard.evaluation.importance import REPEATS
from trainyard.model import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.clock import Clock
    from trainyard.model import Model
    from trainyard.model.dto import FloatArray
    from trainyard.snapshot import Snapshot
    from trainyard_trainer.learning.table import Table

#: Share of what is left of the budget that goes to permutation importance and contributions, and what they get at
#: least: a search that has used up its budget is reported on too.
_SHARE, _LEAST_SECONDS = 0.2, 1.0
_KIB = 1024


def version_report(
    model: Model,
    test: Table,
    labels: npt.NDArray[Any],
    answers: FloatArray,
    *,
    snapshot: Snapshot,
    cost: Mapping[str, Any],
    seconds_left: float,
    clock: Clock,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Return the report as JSON. It comes after the artifact and is no part of it: its bytes do not depend on this.

    Args:
        model: as it was encoded.
        test, labels, answers: the test rows, their labels (rows,) and what the model answers to them.
        snapshot: where the rows came from.
        cost: what the run took, as far as the caller knows.
        seconds_left: of the run's budget; a share of it is spent here.
        clock: measures that.
        progress: told of every turn of the permutation importance and of each block of rows that is explained.
    """
    predictor = Predictor(model)
    kinds = {column.name: column.type for column in model.schema.features}
    columns = {name: test.columns[name] for name in kinds}
    deadline = clock.monotonic() + max(_LEAST_SECONDS, _SHARE * seconds_left)
    turns = count()

    def time_left() -> bool:
        progress("reporting", next(turns), REPEATS * len(kinds) + MOST_ROWS // BLOCK_ROWS)
        return clock.monotonic() < deadline

    sample = Sample(model.task, model.classes, labels, answers, columns, kinds, model.threshold)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB
    return {
        **evaluate(sample, predictor.predict_columns, time_left, seed=model.lineage.seed),
        "contributions": contributions(sample, predictor.explain_columns, time_left, seed=model.lineage.seed),
        "data": {"features": len(kinds), **_span(snapshot)},
        "lineage": asdict(model.lineage),
        "cost": {**cost, "peak_memory_bytes": peak},
    }


def _span(snapshot: Snapshot) -> dict[str, Any]:
    """Return the first and last time of the snapshot's rows; None where the dataset has no time, or no row has one."""
    column = snapshot.schema.event_time
    if column is None:
        return {"time_column": None, "from": None, "upto": None}
    times = np.asarray(snapshot.columns[column.name])
    known = times[~np.isnat(times)]
    ends = (None, None) if not len(known) else (str(known.min())[:19], str(known.max())[:19])
    return {"time_column": column.name, "from": ends[0], "upto": ends[1]}
