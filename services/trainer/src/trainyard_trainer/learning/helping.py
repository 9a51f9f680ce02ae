"""A helper's part of a search: try candidates of another worker's study until there is nothing left to try."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_trainer import workdir
from trainyard_trainer.learning.budget import Budget
from trainyard_trainer.learning.environment import one_thread
from trainyard_trainer.learning.progress import Progress
from trainyard_trainer.learning.train import Training
from trainyard_trainer.learning.verdicts import Screening

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.contracts.studies import Study


@one_thread()
def help_search(directory: Path, clock: Clock, say: Callable[[dict[str, Any]], None], study: Study) -> None:
    """Do the job in ``directory``: on the leader's rows, folds and columns; nothing is left there.

    Raises:
        DataError: the rows allow no model.
        ParityError: an exported candidate does not answer as the trained one.
    """
    job = workdir.read_json(directory, workdir.JOB)
    budget = Budget(clock, job["helps_for_seconds"])
    screening = Screening.recorded(workdir.read_json(directory, workdir.SCREENING)["left_out"])
    training = Training(job, workdir.read_snapshot(directory, job["snapshot"]), screening)
    training.help(budget, clock, Progress(say, budget), study)
