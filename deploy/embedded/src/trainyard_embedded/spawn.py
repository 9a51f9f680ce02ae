"""Starts the process of a child: in a group of its own, logging to a file of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from trainyard.processes import ProcessId, identify, signal_group

if TYPE_CHECKING:
    from trainyard_embedded.child import Child
    from trainyard_embedded.logfiles import LogFiles
    from trainyard_embedded.runner import Spawn


class ChildProcess:
    """A real process that leads its group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        # One that has ended already is still named: nobody else can have its number before it is waited for.
        self.identity = identify(process.pid) or ProcessId(process.pid, "ended")

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the leader."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    def kill_group(self) -> None:
        """Kill the whole group."""
        signal_group(self._process.pid, signal.SIGKILL)


def spawner(files: LogFiles) -> Spawn:
    """Return the function that starts children."""

    def spawn(child: Child) -> ChildProcess:
        with files.open(child.name) as output:
            process = subprocess.Popen(
                child.command,
                env=dict(child.env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        return ChildProcess(process)

    return spawn
