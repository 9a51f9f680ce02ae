"""``python -m tests.cases.pausing_trainer``: a trainer that is stopped (SIGSTOP) when its artifact has been stored.

It stands for a machine that freezes for longer than a lease: the process goes on where it was when somebody lets it.
"""

from __future__ import annotations

import os
import signal
import sys

from trainyard import config, crashpoints, logs
from trainyard_trainer import bootstrap

STORED = "K25"


class Pause(crashpoints.CrashPoint):
    """Stops the whole process at its point; whoever sends SIGCONT lets it go on."""

    def _fire(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    logs.configure("trainer", level="INFO")
    crashpoints._armed[STORED] = Pause(STORED, "lost")
    sys.exit(bootstrap.run(config.load(os.environ)))
