"""What can go wrong between a caller and the services, as the SDK raises it."""

from __future__ import annotations

from typing import Any

from trainyard.errors import TrainyardError


class ClientError(TrainyardError):
    """Base of every error that the SDK raises on purpose; the message is for a reader."""


class MisuseError(ClientError):
    """What the caller gave cannot be sent to anybody: the address is none, the key is no key, a name is no name."""


class MissingPackageError(ClientError):
    """What is asked for needs a package that is not installed; the message says how to install it."""


class UnreachableError(ClientError):
    """Nobody answers at the address, or only after too long, even after the repeats that were safe."""


class WaitTimeoutError(ClientError):
    """Something that was waited for had not happened at the deadline; it may still happen.

    Attributes:
        look: the command that shows whether it has.
    """

    def __init__(self, message: str, *, look: str) -> None:
        super().__init__(message)
        self.look = look


class ApiError(ClientError):
    """The service answered with an error.

    Attributes:
        status: HTTP status.
        code: stable name from docs/errors.md; ``http_<status>`` when something else than a service answered.
        message: one sentence for a reader.
        details: ``{"row", "column", "expected", "got"}`` for each problem; may be empty.
        request_id: what the service's log calls this request, or "".
        hint: the next step, where whoever asked knows a better one than the code tells; else "".
    """

    def __init__(
        self, status: int, code: str, message: str, details: list[dict[str, Any]] | None = None, request_id: str = ""
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details or []
        self.request_id = request_id
        self.hint = ""
