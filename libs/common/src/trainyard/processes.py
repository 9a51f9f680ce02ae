"""Child processes that do not outlive their parent, and processes named so that a reused number deceives nobody."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.clock import Clock

_POLL_SECONDS = 0.02
_PROC = Path("/proc")
_LAUNCH = Path(__file__).with_name("launch.py")


@dataclass(frozen=True)
class ProcessId:
    """A process and the moment it started: the pair is never used twice, a number alone is."""

    pid: int
    started: str

    def dump(self) -> str:
        """Return the pair as JSON, for a pid file."""
        return json.dumps({"pid": self.pid, "started": self.started})

    @classmethod
    def parse(cls, text: str) -> ProcessId | None:
        """Return what :meth:`dump` wrote, or None for anything else (a pid file cut short by a crash)."""
        try:
            raw = json.loads(text)
            return cls(int(raw["pid"]), str(raw["started"]))
        except (ValueError, TypeError, KeyError):
            return None


def identify(pid: int) -> ProcessId | None:
    """Return the live process ``pid``; None when there is none (one that has ended but was not waited for is gone)."""
    if _PROC.joinpath("self", "stat").exists():
        try:
            # The command name may hold blanks and brackets: the fields start behind its last bracket.
            fields = _PROC.joinpath(str(pid), "stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else ProcessId(pid, fields[19])
    found = subprocess.run(
        ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    state, _, started = found.stdout.strip().partition(" ")
    return ProcessId(pid, started.strip()) if started and not state.startswith("Z") else None


def alive(process: ProcessId) -> bool:
    """Tell whether this very process still runs."""
    return identify(process.pid) == process


def own() -> ProcessId:
    """Return the calling process."""
    process = identify(os.getpid())
    if process is None:
        raise ProcessLookupError("the calling process cannot be seen; is /proc mounted?")
    return process


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the process group that ``pid`` leads; no error when it has gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end(process: ProcessId, clock: Clock, *, ask: signal.Signals, patience_seconds: float) -> None:
    """Ask a process group's leader to end, wait, and kill the whole group when patience is over.

    Works on processes that are not children of the caller. Returns when the leader is gone.
    """
    deadline = clock.monotonic() + patience_seconds
    if alive(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, ask)
    while alive(process):
        if clock.monotonic() >= deadline:
            signal_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        clock.sleep(_POLL_SECONDS)


def bound(
    program: Sequence[str],
    *,
    parent: int | None,
    number: signal.Signals = signal.SIGTERM,
    options: Sequence[str] = (),
) -> tuple[str, ...]:
    """Return the command that runs ``program`` as a child which gets signal ``number`` when ``parent`` ends.

    The kernel does it, however the parent ends, on Linux; elsewhere leftovers are found by pid file. The parent in
    this sense is the *thread* that starts the child: start children from the main thread. ``options`` are further
    ones of :mod:`trainyard.launch`; the program needs its full path.
    """
    binding = ("--parent", str(parent), "--signal", str(int(number))) if parent is not None else ()
    return (sys.executable, "-I", "-S", str(_LAUNCH), *binding, *options, "--", *program)
