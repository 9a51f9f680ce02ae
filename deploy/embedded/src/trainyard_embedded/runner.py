"""The life of one child: wait for what it needs, start, become ready, start again after a crash, stop.

A state machine without threads or waits of its own: :meth:`Runner.step` looks once and returns. Slow things (hooks
and readiness probes) go to the executor that the supervisor passes.
"""

from __future__ import annotations

import enum
import signal
from typing import TYPE_CHECKING, Protocol

from trainyard import logs
from trainyard_embedded.errors import EXIT_NOT_READY, StackError

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from trainyard.processes import ProcessId
    from trainyard_embedded.child import Child
    from trainyard_embedded.logfiles import LogFiles

_log = logs.get(__name__)

#: a child that ends this often before it was ready once is not worth another attempt
MOST_FAILED_STARTS = 3
_BACKOFF_SECONDS = (0.0, 0.25, 0.5, 1.0, 2.0, 5.0)
_STABLE_SECONDS = 30.0
_PROBE_PAUSE_SECONDS = 0.05
#: how long the child's own kill signal may take before SIGKILL
_KILL_PATIENCE_SECONDS = 5.0


class State(enum.Enum):
    """Where a child is in its life."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    STOPPING = "stopping"
    STOPPED = "stopped"


class Process(Protocol):
    """A started child."""

    identity: ProcessId

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs (negative: ended by that signal)."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself; no error when it has ended."""
        ...

    def kill_group(self) -> None:
        """Kill what is left of the process and of everything that it started."""
        ...


class Spawn(Protocol):
    """Starts the process of a child; tests pass one that starts nothing."""

    def __call__(self, child: Child) -> Process:
        """Return the started process."""
        ...


class Runner:
    """One child and its present process."""

    def __init__(self, child: Child, spawn: Spawn, executor: Executor, files: LogFiles) -> None:
        self.child = child
        self.state = State.WAITING
        self.restarts = 0
        self.process: Process | None = None
        self._spawn = spawn
        self._executor = executor
        self._files = files
        self._was_ready = False
        self._failures = 0
        self._started_at = 0.0
        self._not_before = 0.0
        self._deadline = 0.0
        self._work: Future[str | None] | None = None
        self._reason = "it has not ended"
        self._told_to_end_now = False

    @property
    def reached(self) -> bool:
        """True once the child has been ready (a crash later does not take that back) or its step has succeeded."""
        return self._was_ready

    def step(self, now: float, reached: frozenset[str]) -> None:
        """Look once and do what is due.

        Args:
            now: monotonic seconds.
            reached: names of the children that others need not wait for any more.

        Raises:
            StackError: the child cannot be started.
        """
        if self.process is not None and (code := self.process.poll()) is not None:
            self._ended(code, now)
        elif self.state is State.WAITING:
            if now >= self._not_before and reached.issuperset(self.child.needs):
                self._work = self._executor.submit(self._prepare)
                self.state = State.PREPARING
        elif self.state is State.PREPARING:
            self._start_when_prepared(now)
        elif self.state is State.STARTING:
            self._look_whether_ready(now)

    def ask_to_stop(self, now: float) -> None:
        """Send the child's stop signal; :meth:`step_stop` tells when it has ended."""
        self._deadline = now + self.child.stop_seconds
        if self.process is None:
            self.state = State.STOPPED
            return
        self.state = State.STOPPING
        self.process.signal(self.child.stop_signal)

    def step_stop(self, now: float) -> bool:
        """Return True when the process has ended; after its time it is made to end."""
        if self.process is None:
            return True
        if self.process.poll() is None:
            if now < self._deadline:
                return False
            _log.warning("child.killed", name=self.child.name, after_seconds=self.child.stop_seconds)
            self.kill(now)
            return False
        self._sweep()
        self.state = State.STOPPED
        return True

    def kill(self, now: float) -> None:
        """End the process now: by its own kill signal first, by SIGKILL when asked again."""
        if self.process is None or self.process.poll() is not None:
            return
        self._deadline = now + _KILL_PATIENCE_SECONDS
        if self.child.kill_signal is signal.SIGKILL or self._told_to_end_now:
            self.process.kill_group()
        else:
            self._told_to_end_now = True
            self.process.signal(self.child.kill_signal)

    def _prepare(self) -> str | None:
        self.child.prepare()
        return None

    def _start_when_prepared(self, now: float) -> None:
        if self._work is None or not self._work.done():
            return
        self._work.result()
        self._work = None
        self.process = self._spawn(self.child)
        self._started_at = now
        self._deadline = now + self.child.ready_seconds
        self._not_before = now
        self.state = State.STARTING
        _log.info("child.started", name=self.child.name, pid=self.process.identity.pid)

    def _look_whether_ready(self, now: float) -> None:
        if self.child.once:
            self._check_deadline(now)
            return
        if self._work is None:
            if now >= self._not_before:
                self._work = self._executor.submit(self.child.probe)
            return
        if not self._work.done():
            return
        reason, self._work = self._work.result(), None
        if reason is None:
            self.state = State.READY
            self._was_ready = True
            _log.info("child.ready", name=self.child.name, seconds=round(now - self._started_at, 2))
            return
        self._reason = reason
        self._not_before = now + _PROBE_PAUSE_SECONDS
        self._check_deadline(now)

    def _check_deadline(self, now: float) -> None:
        # In a later life it is asked for ever: what it waits for may be another child that restarts.
        if now >= self._deadline and not self._was_ready:
            raise self._failure(f"was not ready after {self.child.ready_seconds:.0f} s ({self._reason})")

    def _ended(self, code: int, now: float) -> None:
        self._sweep()
        if self.child.once and code == 0:
            self.state = State.DONE
            self._was_ready = True
            _log.info("child.done", name=self.child.name, seconds=round(now - self._started_at, 2))
            return
        stable = self.state is State.READY and now - self._started_at >= _STABLE_SECONDS
        self._failures = 1 if stable else self._failures + 1
        if not self._was_ready and (self.child.once or self._failures >= MOST_FAILED_STARTS):
            raise self._failure(f"ended with {describe(code)} before it was ready")
        self.restarts += 1
        pause = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS)) - 1]
        self._not_before = now + pause
        self.state = State.WAITING
        _log.warning("child.crashed", name=self.child.name, ended_with=describe(code), again_in_seconds=pause)

    def _sweep(self) -> None:
        """Forget the ended process and end what it left in its group: it may still hold the port."""
        if self.process is not None:
            self.process.kill_group()
        self.process = None
        self._work = None
        self._told_to_end_now = False

    def _failure(self, what: str) -> StackError:
        return StackError(
            EXIT_NOT_READY,
            f"{self.child.name} {what}; see {self._files.path(self.child.name)}, which ends with: "
            f"{self._files.last_line(self.child.name)}",
        )


def describe(code: int) -> str:
    """Return an exit code in words: ``exit code 3`` or ``signal SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
