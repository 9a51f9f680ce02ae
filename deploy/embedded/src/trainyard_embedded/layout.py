"""The data directory: what lies where, whose it is, and that only one `up` works in it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.private_files import write_private
from trainyard.processes import ProcessId, own
from trainyard_embedded.errors import EXIT_DATA_DIRECTORY, EXIT_IN_USE, StackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: version of the directory's layout; raised when an older release could not read it
FORMAT = 1
_MARKER = "trainyard.json"
_PARTS = ("aws", "spool", "metrics", "work", "logs", "run", "keys", "copies", "console")


@dataclass(frozen=True)
class Layout:
    """Paths inside one data directory. ``postgres`` is made by the cluster itself, the rest by :meth:`prepare`."""

    root: Path

    @property
    def postgres(self) -> Path:
        """The Postgres cluster."""
        return self.root / "postgres"

    @property
    def aws(self) -> Path:
        """State and objects of the AWS emulator."""
        return self.root / "aws"

    @property
    def spool(self) -> Path:
        """Prediction logs that SQS does not have yet."""
        return self.root / "spool"

    @property
    def metrics(self) -> Path:
        """Numbers of the services' worker processes."""
        return self.root / "metrics"

    @property
    def work(self) -> Path:
        """Files of runs that trainers work on."""
        return self.root / "work"

    @property
    def copies(self) -> Path:
        """Copies of large artifacts."""
        return self.root / "copies"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.root / "logs"

    @property
    def run(self) -> Path:
        """Who runs now: lock, pid files, addresses."""
        return self.root / "run"

    @property
    def keys(self) -> Path:
        """Secrets made at the first start, each in a file of its own."""
        return self.root / "keys"

    @property
    def console(self) -> Path:
        """The console's sessions, and one-time links to it."""
        return self.root / "console"

    @property
    def ready_file(self) -> Path:
        """Addresses for other commands; there while the stack is ready."""
        return self.run / "ready.json"

    @property
    def failure_file(self) -> Path:
        """Why the last `up` failed; read by the command that started it in the background."""
        return self.run / "failure.json"

    @property
    def children_file(self) -> Path:
        """Processes of the stack, for whoever must end them after a kill -9 of the supervisor."""
        return self.run / "children.json"

    @property
    def owner_file(self) -> Path:
        """The lock, and in it the process that holds it."""
        return self.run / "up.lock"

    def prepare(self) -> None:
        """Make the directory, or accept one that an earlier `up` made.

        Raises:
            StackError: it belongs to somebody else, comes from a newer release, or cannot be written.
        """
        marker = self.root / _MARKER
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if marker.exists():
                self._check_format(marker)
            elif any(self.root.iterdir()):
                raise StackError(
                    EXIT_DATA_DIRECTORY,
                    f"{self.root} is not empty and not a Trainyard data directory; "
                    "set TRAINYARD_DATA_DIR to an empty or new one",
                )
            else:
                write_private(marker, json.dumps({"format": FORMAT}))
            for part in _PARTS:
                (self.root / part).mkdir(mode=0o700, exist_ok=True)
            # A directory made by another user may be readable and still not ours to write.
            probe = self.run / ".writable"
            write_private(probe, "")
            probe.unlink()
        except OSError as e:
            raise StackError(
                EXIT_DATA_DIRECTORY,
                f"the data directory {self.root} cannot be used ({e.strerror}: {e.filename}); "
                "set TRAINYARD_DATA_DIR to one that this user may write",
            ) from e

    def _check_format(self, marker: Path) -> None:
        try:
            found = json.loads(marker.read_text())["format"]
        except (ValueError, KeyError, TypeError) as e:
            raise StackError(
                EXIT_DATA_DIRECTORY, f"the data directory {self.root} is broken: {marker.name} cannot be read"
            ) from e
        if found != FORMAT:
            raise StackError(
                EXIT_DATA_DIRECTORY,
                f"the data directory {self.root} has format {found}, this release knows {FORMAT}; "
                "use the release that made it or set TRAINYARD_DATA_DIR to a new one",
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; the kernel lets go when the process ends, however it ends.

        Raises:
            StackError: another `up` holds it; names its pid.
        """
        descriptor = os.open(self.owner_file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                holder = self.owner()
                name = f"the process with pid {holder.pid}" if holder else "another process"
                raise StackError(
                    EXIT_IN_USE,
                    f"the data directory {self.root} is in use by {name}; stop it with: trainyard down",
                ) from e
            os.ftruncate(descriptor, 0)
            os.write(descriptor, own().dump().encode())
            yield
        finally:
            os.close(descriptor)

    def owner(self) -> ProcessId | None:
        """Return the process that took the lock last (it may have ended since), or None."""
        try:
            return ProcessId.parse(self.owner_file.read_text())
        except OSError:
            return None
