"""Legs of ``make chaos FULL=1`` side by side: each a process with a session of its own, a few of one kind at a time.

A leg waits more than it computes (for leases to run out, for a database that is away, for rest at the end), so that
two processors carry several. A leg that is interrupted, killed or left alone by a killed run takes along what it has
started: the kernel asks it to end with its parent, and what is left of its session is killed behind it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from trainyard.processes import bound, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LOOK_SECONDS = 0.2
#: Services have sessions of their own; the nursery kills them as soon as it sees that a leg has been killed.
_NURSERY_SECONDS = 2.0
#: What an interrupted leg gets to take everything down.
_END_SECONDS = 60.0


class Lanes:
    """Runs commands from the main thread, as many at once as the kind of each allows; one kind after another.

    ``at_once`` says how many for each kind; ``kind`` returns the kind of a leg. Output goes to ``<folder>/<leg>.log``.
    """

    def __init__(self, folder: Path, at_once: Mapping[str, int], kind: Callable[[str], str]) -> None:
        self._folder = folder
        self._at_once = at_once
        self._kind = kind
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, commands: Mapping[str, Sequence[str]], over: Callable[[str, int], None]) -> None:
        """Run all, in order; ``over(leg, exit code)`` is called as each ends. An interruption ends those that run."""
        waiting = list(commands)
        try:
            while waiting or self._running:
                while waiting and self._has_room(waiting[0]):
                    leg = waiting.pop(0)
                    self._running[leg] = self._start(leg, commands[leg])
                time.sleep(_LOOK_SECONDS)
                for leg, code in self._ended().items():
                    over(leg, code)
        finally:
            self._end()

    def _has_room(self, leg: str) -> bool:
        kind = self._kind(leg)
        same = all(self._kind(other) == kind for other in self._running)
        return same and len(self._running) < self._at_once[kind]

    def _start(self, leg: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{leg}.log").open("ab") as log:
            return subprocess.Popen(
                bound((sys.executable, *command), parent=os.getpid(), number=signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _ended(self) -> dict[str, int]:
        codes = {leg: code for leg, process in self._running.items() if (code := process.poll()) is not None}
        for leg, code in codes.items():
            if code < 0:
                time.sleep(_NURSERY_SECONDS)
            signal_group(self._running.pop(leg).pid, signal.SIGKILL)  # Postgres and the emulator of a killed leg
        return codes

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for process in self._running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
        self._ended()
