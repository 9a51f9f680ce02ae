"""Exit codes of the `trainyard` command, by name. They are part of its interface: scripts rely on them."""

from __future__ import annotations

from enum import IntEnum

from trainyard_client.errors import ApiError, MissingPackageError, MisuseError, UnreachableError, WaitTimeoutError


class Exit(IntEnum):
    """What a command ends with; :data:`MEANINGS` says when."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    REFUSED = 4
    NOT_FOUND = 5
    TIMEOUT = 6
    DENIED = 7
    DIFFERS = 8
    NOT_READY = 11
    IN_USE = 13
    PORT_BUSY = 14
    DATA_DIRECTORY = 15
    DEPENDENCY = 16
    NOT_RUNNING = 17
    INTERRUPTED = 130


MEANINGS = {
    Exit.OK: "done",
    Exit.FAILED: "it was tried and did not work: a training failed, the doctor found something, a predictor refuses a"
    " version, a fault of ours",
    Exit.USAGE: "wrong options or arguments, or a file that cannot be read",
    Exit.UNREACHABLE: "no address is known, or nobody answers there",
    Exit.REFUSED: "the service refused the input, or the state does not allow it; the message names row and column",
    Exit.NOT_FOUND: "there is no such dataset, model, version or run",
    Exit.TIMEOUT: "what was waited for had not happened in time",
    Exit.DENIED: "no API key, a dead one, or one without the scope",
    Exit.DIFFERS: "a version that was fitted again is not what it was",
    Exit.NOT_READY: "the local stack did not start, or stopped by itself",
    Exit.IN_USE: "another `trainyard up` holds the data directory",
    Exit.PORT_BUSY: "another program listens on a port of the local stack",
    Exit.DATA_DIRECTORY: "the data directory is foreign, broken or not writable",
    Exit.DEPENDENCY: "a package that the command needs is not installed",
    Exit.NOT_RUNNING: "no local stack runs in the data directory",
    Exit.INTERRUPTED: "Ctrl-C",
}

_BY_STATUS = {
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    502: Exit.UNREACHABLE,
    503: Exit.UNREACHABLE,
    504: Exit.UNREACHABLE,
}
#: the local stack's own codes (trainyard_embedded.errors)
_BY_STACK_CODE = {
    0: Exit.OK,
    1: Exit.NOT_READY,
    2: Exit.USAGE,
    3: Exit.IN_USE,
    4: Exit.PORT_BUSY,
    5: Exit.DATA_DIRECTORY,
    6: Exit.DEPENDENCY,
    7: Exit.NOT_RUNNING,
}


def of_error(error: Exception) -> Exit:
    """Return the exit code for an error of the SDK."""
    if isinstance(error, MisuseError):
        return Exit.USAGE
    if isinstance(error, MissingPackageError):
        return Exit.DEPENDENCY
    if isinstance(error, UnreachableError):
        return Exit.UNREACHABLE
    if isinstance(error, WaitTimeoutError):
        return Exit.TIMEOUT
    if isinstance(error, ApiError):
        return _BY_STATUS.get(error.status) or (Exit.REFUSED if 400 <= error.status < 500 else Exit.FAILED)
    return Exit.FAILED


def of_stack(code: int) -> Exit:
    """Return the exit code for one of the local stack."""
    return _BY_STACK_CODE.get(code, Exit.FAILED)
