"""Why the stack could not do what was asked: one sentence each, and the exit code that goes with it."""

from __future__ import annotations

from trainyard.errors import TrainyardError

OK = 0
#: a part of the stack did not become ready, or ended while it should run
EXIT_NOT_READY = 1
#: wrong use of the command
EXIT_USAGE = 2
#: another `up` holds the data directory
EXIT_IN_USE = 3
#: a port is taken by another program
EXIT_PORT_BUSY = 4
#: the data directory is foreign, broken, unwritable or of another version
EXIT_DATA_DIRECTORY = 5
#: a package or program that the stack needs is not installed
EXIT_DEPENDENCY = 6
#: `status`: nothing runs in this data directory
EXIT_NOT_RUNNING = 7


class StackError(TrainyardError):
    """The stack cannot start, run or stop; the message is one sentence that names the way out."""

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
