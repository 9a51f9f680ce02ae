"""Starts the process table, keeps it alive, stops it in order: one loop in one thread."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard_embedded.runner import Runner, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from trainyard.clock import Clock
    from trainyard.processes import ProcessId
    from trainyard_embedded.child import Child
    from trainyard_embedded.logfiles import LogFiles
    from trainyard_embedded.runner import Spawn

_log = logs.get(__name__)

_TICK_STARTING_SECONDS = 0.02
_TICK_WATCHING_SECONDS = 0.1
_LOG_CHECK_SECONDS = 60.0


class Supervisor:
    """The process table at work.

    ``record`` is called with the live processes whenever they change, so that they can be found and ended after a
    kill -9 of the supervisor.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        spawn: Spawn,
        executor: Executor,
        files: LogFiles,
        clock: Clock,
        record: Callable[[dict[str, ProcessId]], None],
    ) -> None:
        check_table(children)
        self.runners = [Runner(child, spawn, executor, files) for child in children]
        self._files = files
        self._clock = clock
        self._record = record
        self._recorded: dict[str, ProcessId] = {}
        self._logs_checked_at = clock.monotonic()

    def start(self, stop_asked: Callable[[], int]) -> bool:
        """Start everything; return True when all is ready, False when ``stop_asked`` became positive before that.

        Raises:
            StackError: a child cannot be started.
        """
        while not stop_asked():
            self._tick()
            if all(runner.reached for runner in self.runners):
                return True
            self._clock.sleep(_TICK_STARTING_SECONDS)
        return False

    def watch(self, stop_asked: Callable[[], int]) -> None:
        """Restart what crashes until ``stop_asked`` returns more than 0."""
        while not stop_asked():
            self._tick()
            if self._clock.monotonic() - self._logs_checked_at > _LOG_CHECK_SECONDS:
                self._logs_checked_at = self._clock.monotonic()
                self._files.shrink_all()
            settled = all(runner.state in {State.READY, State.DONE} for runner in self.runners)
            self._clock.sleep(_TICK_WATCHING_SECONDS if settled else _TICK_STARTING_SECONDS)

    def stop(self, stop_asked: Callable[[], int]) -> None:
        """End everything, the highest stage first. When ``stop_asked`` returns more than 1, end it at once."""
        for stage in sorted({runner.child.stage for runner in self.runners}, reverse=True):
            going = [runner for runner in self.runners if runner.child.stage == stage]
            hurried = False
            for runner in going:
                runner.ask_to_stop(self._clock.monotonic())
            while going := [runner for runner in going if not runner.step_stop(self._clock.monotonic())]:
                if stop_asked() > 1 and not hurried:
                    hurried = True
                    for runner in going:
                        runner.kill(self._clock.monotonic())
                self._clock.sleep(_TICK_STARTING_SECONDS)
        self._write_record()
        _log.info("stack.stopped")

    def states(self) -> dict[str, State]:
        """Return the state of every child."""
        return {runner.child.name: runner.state for runner in self.runners}

    def _tick(self) -> None:
        now = self._clock.monotonic()
        for runner in self.runners:
            reached = frozenset(other.child.name for other in self.runners if other.reached)
            runner.step(now, reached)
        self._write_record()

    def _write_record(self) -> None:
        present = {runner.child.name: runner.process.identity for runner in self.runners if runner.process is not None}
        if present != self._recorded:
            self._record(present)
            self._recorded = present


def check_table(children: Iterable[Child]) -> None:
    """Refuse a table in which a name stands twice or a child needs one that does not stand before it.

    Raises:
        ValueError: names the child.
    """
    seen: set[str] = set()
    for child in children:
        if child.name in seen:
            raise ValueError(f"child {child.name!r} stands in the table twice")
        if missing := set(child.needs) - seen:
            raise ValueError(f"child {child.name!r} needs {sorted(missing)}, which do not stand before it")
        seen.add(child.name)


def dump_processes(processes: dict[str, ProcessId]) -> str:
    """Return the record of live processes as JSON."""
    return json.dumps({name: {"pid": p.pid, "started": p.started} for name, p in processes.items()})
