"""What trainers and predictors leave on the disk of this machine, where they share it with whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.doctor.evidence import Leftover, Machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainyard.clock import Clock

#: The EC2 host gives each instance's trainer a directory of its own; instance ids begin so.
_INSTANCE = "i-*"
_SEGMENT = "*.spool"


class ThisMachine(Machine):
    """The trainers' ``work`` and the predictors' ``spool`` directory; one that is not there is on other machines."""

    def __init__(self, work: Path, spool: Path, clock: Clock) -> None:
        self._work = work
        self._spool = spool
        self._clock = clock

    def work_directories(self) -> list[Leftover] | None:
        """Return the directories named after instances."""
        return self._found(self._work, _INSTANCE, lambda path: path.is_dir())

    def unsent_segments(self) -> list[Leftover] | None:
        """Return the segments that hold records; sent ones have another name."""
        return self._found(self._spool, _SEGMENT, lambda path: path.stat().st_size > 0)

    def _found(self, directory: Path, pattern: str, counts: Callable[[Path], bool]) -> list[Leftover] | None:
        if not directory.is_dir():
            return None
        now = self._clock.now().timestamp()
        found = []
        for path in sorted(directory.glob(pattern)):
            try:
                if counts(path):
                    found.append(Leftover(path.name, max(0.0, now - path.stat().st_mtime)))
            except FileNotFoundError:  # its owner has removed it meanwhile
                continue
        return found
