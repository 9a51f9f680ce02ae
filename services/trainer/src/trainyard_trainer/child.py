"""``python -m trainyard_trainer.child``: the process that trains. It has no credentials, database or network address.

It imports everything first and says ``{"stage": "ready"}``; then it waits for one line on standard input, the path of a
run's directory (:mod:`trainyard_trainer.workdir`), does that job and ends. Standard output carries one JSON object per
line: ``{"stage", "done", "total"}`` on the way, and ``{"trial": {...}}`` as soon as a trial is finished
(:class:`trainyard.contracts.runs.Trial`), so that another process can go on from there. The exit code says how it ended
(:mod:`trainyard_trainer.domain`).
"""

from __future__ import annotations

import json
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard.clock import SystemClock
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
from trainyard_trainer.learning.train import train

if TYPE_CHECKING:
    from trainyard.contracts.runs import Trial


def report(stage: str, done: int = 0, total: int = 0) -> None:
    """Tell the parent how far the work is."""
    _say({"stage": stage, "done": done, "total": total})


def finished(trial: Trial) -> None:
    """Tell the parent of a finished trial."""
    _say({"trial": asdict(trial)})


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Wait for a job, do it, and return the exit code; no job (standard input closed) is a good end too."""
    report("ready")
    directory = sys.stdin.readline().strip()
    return work(Path(directory)) if directory else EXIT_DONE


def work(directory: Path) -> int:
    """Do the job in ``directory``; the reason of a failure is left in ``error.json``."""
    try:
        train(directory, SystemClock(), report, finished)
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
