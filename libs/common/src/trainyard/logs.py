"""Structured logs: one JSON line per event, with a stable ``action`` and the ids bound to the current work.

Call :func:`configure` once, in an entry module. Elsewhere: ``log = logs.get(__name__)`` and
``log.info("batch.committed", dataset=name, rows=n)``. Field values are cut at 256 characters and stripped of
control characters, so that data can neither forge a line nor flood the log.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, TextIO

_MAX_VALUE_CHARS = 256
_bound: ContextVar[dict[str, Any]] = ContextVar("trainyard_log_fields", default={})  # noqa: B039 - never mutated


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add ``fields`` to every log line written inside the block (request id, run, model ...)."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class Logger:
    """A thin face on :mod:`logging`: the message is an action name, the rest are fields."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, action: str, **fields: Any) -> None:
        """Log a detail."""
        self._emit(logging.DEBUG, action, fields)

    def info(self, action: str, **fields: Any) -> None:
        """Log something that happened as it should."""
        self._emit(logging.INFO, action, fields)

    def warning(self, action: str, **fields: Any) -> None:
        """Log something that was survived but should be looked at."""
        self._emit(logging.WARNING, action, fields)

    def error(self, action: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """Log a failure, with its traceback when the exception is given."""
        self._emit(logging.ERROR, action, fields, error)

    def _emit(self, level: int, action: str, fields: dict[str, Any], error: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            info = (type(error), error, error.__traceback__) if error is not None else None
            self._logger.log(level, action, exc_info=info, extra={"trainyard_fields": {**_bound.get(), **fields}})


def get(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(logging.getLogger(name))


class JsonFormatter(logging.Formatter):
    """Renders a record as one JSON object on one line."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for ``record``."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "action": clean(record.getMessage()),
        }
        for key, value in getattr(record, "trainyard_fields", {}).items():
            line[key] = value if isinstance(value, bool | int | float) or value is None else clean(str(value))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def clean(text: str, most: int = _MAX_VALUE_CHARS) -> str:
    """Return ``text`` without control characters, cut where it has more than ``most`` characters."""
    printable = "".join(ch if ch.isprintable() else " " for ch in text[: most + 1])
    return printable if len(printable) <= most else printable[:most] + "…"


def configure(service: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every record of the process to ``stream`` (standard error by default) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("botocore", "boto3", "urllib3", "s3transfer", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
