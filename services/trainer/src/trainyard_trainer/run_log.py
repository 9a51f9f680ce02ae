"""What a run says, kept for people: the trainer's log lines while it is at it, and what the training process writes.

Lines wait here until the thread that keeps the lease stores them. A run that talks without end has its first lines and
its last ones: the database gets no more.
"""

from __future__ import annotations

import collections
import logging
import threading
import traceback
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.runs import MAX_LINE_CHARS, Line
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from trainyard.clock import Clock
    from trainyard.contracts.runs import Runs

#: The lines of one run that are stored as they come; behind them only the last ones are, when the run is over.
MOST_LINES, LAST_LINES = 2_000, 200
#: Fields that are the same in every line of a run.
_OF_THE_RUN = frozenset({"request_id", "run_id", "model", "trace"})
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


class RunLog(logging.Handler):
    """The lines of one run; entered, it hears what this process logs, from any of its threads.

    ``woken`` is called when there are lines to be stored.
    """

    def __init__(self, runs: Runs, run_id: str, clock: Clock) -> None:
        super().__init__()
        self._runs = runs
        self._run_id = run_id
        self._clock = clock
        self._guard = threading.Lock()
        self._storing = threading.Lock()
        self._count = 0
        self._waiting: collections.deque[Line] = collections.deque()
        self._last: collections.deque[Line] = collections.deque(maxlen=LAST_LINES)
        self.woken: Callable[[], object] = lambda: None

    def __enter__(self) -> RunLog:
        """Begin to listen."""
        logging.getLogger().addHandler(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, and store what is left if the database takes it."""
        logging.getLogger().removeHandler(self)
        with self._guard:
            self._waiting.extend(self._last)
            self._last.clear()
        self.store()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log line: its action and its fields, and where an exception was raised."""
        fields: dict[str, Any] = getattr(record, "trainyard_fields", {})
        told = [f"{name}={value}" for name, value in fields.items() if value is not None and name not in _OF_THE_RUN]
        level = next((name for least, name in _LEVELS if record.levelno >= least), "debug")
        self.say(level, " ".join([record.getMessage(), *told]))
        if record.exc_info:
            for piece in traceback.format_exception(*record.exc_info):
                self.say(level, *piece.splitlines())

    def say(self, level: str, *texts: str, source: str = "trainer") -> None:
        """Add lines."""
        with self._guard:
            for text in texts:
                self._count += 1
                line = Line(
                    self._count, self._clock.now(), level, source, logs.clean(text, MAX_LINE_CHARS - 1).rstrip()
                )
                (self._waiting if self._count <= MOST_LINES else self._last).append(line)
            stored_now = self._count <= MOST_LINES
        if stored_now:
            self.woken()

    def training(self, texts: Sequence[str]) -> None:
        """Add what the training process has written."""
        self.say("info", *(text for text in texts if text.strip()), source="training")

    def store(self) -> None:
        """Store what waits; what the database does not take just now goes on waiting. Logs nothing."""
        if not self._storing.acquire(blocking=False):  # another thread does, or hangs at it
            return
        try:
            with self._guard:
                waiting = list(self._waiting)
            if waiting:
                self._runs.keep_lines(self._run_id, waiting)
            for _ in waiting:
                self._waiting.popleft()
        except TransientError:
            return
        finally:
            self._storing.release()
