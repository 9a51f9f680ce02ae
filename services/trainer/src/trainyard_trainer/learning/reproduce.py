"""A version fitted again from its own lineage, for the same bytes: no search, no gate, no champion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from trainyard.errors import ServiceError
from trainyard.model import decode, encode
from trainyard_trainer import workdir
from trainyard_trainer.domain import DataError
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.environment import environment, one_thread
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.train import MOST_CHECKED, Training
from trainyard_trainer.learning.verdicts import Screening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.model import Model


@one_thread()
def reproduce(directory: Path, clock: Clock, say: Callable[[dict[str, Any]], None]) -> None:
    """Do the job in ``directory``: fit ``original.msgpack`` again, and leave artifact, report and check rows there.

    Raises:
        DataError: this release cannot read what the original was made with, or the rows allow no model.
        ParityError: the exported model does not answer as the trained one.
    """
    job = workdir.read_json(directory, workdir.JOB)
    budget = Budget(clock, math.inf)  # the parent ends what takes too long
    progress = Progress(say, budget)
    original = decode((directory / workdir.ORIGINAL).read_bytes())
    try:
        described = _job_of(original, rows=job["rows"], snapshot=job["snapshot"])
        choice = original.lineage.configuration["choice"]
        screening = Screening.recorded(original.lineage.configuration["columns"])
        training = Training(described, workdir.read_snapshot(directory, job["snapshot"]), screening)
        outcome = training.again(choice, budget, progress)
        progress("testing", 0, training.split.record["test_rows"])
        model, answered = training.complete(outcome)
    except (KeyError, TypeError, ServiceError) as e:
        raise DataError(
            f"this release cannot read what the version was made with ({type(e).__name__}: {e}); reproduce it with the"
            f" release that made it, {original.lineage.code_version}"
        ) from e
    (directory / workdir.ARTIFACT).write_bytes(encode(model))
    np.save(directory / workdir.CHECK_ROWS, answered.rows[:MOST_CHECKED], allow_pickle=False)
    np.save(directory / workdir.CHECK, answered.answers[:MOST_CHECKED], allow_pickle=False)
    workdir.write_json(directory, workdir.REPORT, {"environment": environment()})


def _job_of(original: Model, *, rows: int, snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job that the lineage tells of, as far as it determines the model."""
    lineage = original.lineage
    given = lineage.configuration
    return {
        "model": original.name,
        "dataset": lineage.dataset,
        "label": given["label"],
        "task": given["task"],
        "settings": {
            "kinds": given["kinds"],
            "metric": given["metric"],
            "seed": lineage.seed,
            "gate": given["gate"],
        },
        "known_seq": given["known_seq"],
        "rows": rows,
        "snapshot": snapshot,
    }
