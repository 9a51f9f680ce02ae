"""``python -m trainyard_trainer.child``: the process that trains. It has no credentials, database or network address.

It imports everything first and says ``{"stage": "ready"}``; then it waits for one line on standard input, the path of a
run's directory (:mod:`trainyard_trainer.workdir`), does that job and ends. Standard output carries one JSON object per
line: ``{"stage", "done", "total"}``. The exit code says how it ended (:mod:`trainyard_trainer.domain`).
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

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


def report(stage: str, done: int = 0, total: int = 0) -> None:
    """Tell the parent how far the work is."""
    sys.stdout.write(json.dumps({"stage": stage, "done": done, "total": total}) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Wait for a job, do it, and return the exit code; no job (standard input closed) is a good end too."""
    report("ready")
    directory = sys.stdin.readline().strip()
    return work(Path(directory)) if directory else EXIT_DONE


def work(directory: Path) -> int:
    """Do the job in ``directory``; the reason of a failure is left in ``error.json``."""
    try:
        train(directory, SystemClock(), report)
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
