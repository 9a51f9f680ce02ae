"""``python -m trainyard_trainer.child``: the process that trains. It has no credentials, database or network address.

It imports everything first and says ``{"stage": "ready"}``; then it waits for one line on standard input, the path of a
run's directory (:mod:`trainyard_trainer.workdir`), does that job and ends. Standard output carries one JSON object per
line: ``{"stage", "done", "total", ...}`` on the way, and what concerns its study (:mod:`trainyard.contracts.studies`),
which the parent keeps for it: ``{"plan", "space"}`` once, ``{"ask"}`` for the next candidate, which comes as one line
``{"number", "kind", "params"}`` on standard input, ``{"news"}`` for what other workers have told, which comes as
``{"trials": [...]}``, ``{"skip"}`` for a candidate that is not tried, ``{"trial": {...}}`` as soon as a trial is
finished (:class:`trainyard.contracts.runs.Trial`), so that another process can go on from there, and ``{"searched"}``
when no more is tried. The exit code says how it ended (:mod:`trainyard_trainer.domain`).
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.clock import SystemClock
from trainyard.contracts.runs import Trial
from trainyard.contracts.studies import Proposal, Study, space_as_json
from trainyard_trainer import workdir
from trainyard_trainer.domain import (
    EXIT_CRASH,
    EXIT_DATA,
    EXIT_DONE,
    EXIT_MEMORY,
    EXIT_PARITY,
    DataError,
    ParityError,
)
from trainyard_trainer.learning.helping import help_search
from trainyard_trainer.learning.reproduce import reproduce
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.studies import Planned, Space


class PipedStudy(Study):
    """The study, as far as this process reaches it: through ``say`` and the lines that ``listen`` returns."""

    def __init__(self, say: Callable[[dict[str, Any]], None], listen: Callable[[], str]) -> None:
        self._say = say
        self._listen = listen

    def plan(self, planned: Sequence[Planned], space: Space) -> None:
        """Say it; there is no answer."""
        self._say({"plan": [asdict(one) for one in planned], "space": space_as_json(space)})

    def ask(self) -> Proposal:
        """Ask, and wait for the answer, for as long as the database is away.

        Raises:
            EOFError: the parent is gone, or has stopped to listen.
        """
        return Proposal(**self._answer({"ask": 1}))

    def news(self) -> list[Trial]:
        """Ask, and wait likewise."""
        return [Trial(**trial) for trial in self._answer({"news": 1})["trials"]]

    def _answer(self, what: dict[str, Any]) -> dict[str, Any]:
        self._say(what)
        line = self._listen()
        if not line:
            raise EOFError("nobody answers what the study is asked")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def skip(self, number: int) -> None:
        """Say it."""
        self._say({"skip": number})

    def tell(self, trial: Trial) -> None:
        """Say it."""
        self._say({"trial": asdict(trial)})


def say(what: dict[str, Any]) -> None:
    """Tell the parent."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Wait for a job, do it, and return the exit code; no job (standard input closed) is a good end too."""
    say({"stage": "ready"})
    directory = sys.stdin.readline().strip()
    study = PipedStudy(say, sys.stdin.readline)
    return work(Path(directory), say, study) if directory else EXIT_DONE


def work(directory: Path, say: Callable[[dict[str, Any]], None], study: Study) -> int:
    """Do the job in ``directory``; the reason of a failure is left in ``error.json``."""
    try:
        if (directory / workdir.ORIGINAL).exists():
            reproduce(directory, SystemClock(), say)
        elif "helps_for_seconds" in workdir.read_json(directory, workdir.JOB):
            help_search(directory, SystemClock(), say, study)
        else:
            train(directory, SystemClock(), say, study)
    except DataError as e:
        return _failed(directory, EXIT_DATA, str(e))
    except ParityError as e:
        return _failed(directory, EXIT_PARITY, str(e))
    except MemoryError:
        return _failed(directory, EXIT_MEMORY, "the run needs more memory than this machine has")
    except Exception as e:  # noqa: BLE001 - the edge of the process: whatever it was, the parent must hear of it
        traceback.print_exc()
        return _failed(directory, EXIT_CRASH, f"{type(e).__name__}: {e}")
    return EXIT_DONE


def _failed(directory: Path, code: int, message: str) -> int:
    workdir.write_json(directory, workdir.ERROR, {"message": message})
    return code


if __name__ == "__main__":
    sys.exit(main())
