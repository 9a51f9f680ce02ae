"""Training processes: started ahead of their job, shut off from the world, and ended with all that they started."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from trainyard import logs
from trainyard.processes import bound, signal_group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from trainyard_trainer.ports import Hear

log = logs.get(__name__)

CHILD = (sys.executable, "-I", "-m", "trainyard_trainer.child")
_KEPT_LINES = 40
#: Lines that a child writes between two looks at them.
_MOST_UNREAD = 1_000
_MOST_LINE_CHARS = 65_536
#: What a child says of its study (:mod:`trainyard_trainer.asking`), each with what it is about.
_OF_STUDY = ("plan", "ask", "news", "skip", "trial", "searched")
#: Numbers that a child tells of its progress beside the stage.
_FACTS = ("done", "total", "trial", "best", "seconds_left")
_END_SECONDS = 10.0
#: Share of the machine's memory that a training process gets unless a setting says otherwise: the trainer beside it
#: must live to tell what happened.
_MEMORY_SHARE = 0.9


def child_environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return all that a training child gets of the world: no credentials, no addresses.

    One thread each: OpenMP threads that wait for one another spin, which costs a shared machine a factor of ten, and
    sums over threads are not reproducible.
    """
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(home), "TMPDIR": str(home), **threads, **more}


def memory_limit(megabytes: int) -> int | None:
    """Return how many bytes of address space a training process gets, None where no limit can be set.

    Args:
        megabytes: the setting; 0: most of the machine's memory.
    """
    if not sys.platform.startswith("linux"):
        return None
    if megabytes:
        return megabytes * 1_000_000
    return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _MEMORY_SHARE)


class ChildProcess:
    """One training process: started, waiting for its job on standard input.

    ``memory`` is the address space that it may take, in bytes: an allocation beyond it fails inside the child, long
    before the kernel looks for a process to kill.
    """

    def __init__(
        self, command: Sequence[str], home: Path, environment: Mapping[str, str], memory: int | None = None
    ) -> None:
        limits = () if memory is None else ("--memory", str(memory))
        self._process = subprocess.Popen(
            bound(command, parent=os.getpid(), number=signal.SIGKILL, options=limits),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=home,
            start_new_session=True,  # Ctrl-C is the parent's to deal with; and what it starts ends with its group
            text=True,
            errors="replace",
        )
        self._hear_study: Hear | None = None
        self._progress: dict[str, Any] | None = None
        self._trials: collections.deque[dict[str, Any]] = collections.deque()
        self._words: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._written: collections.deque[str] = collections.deque(maxlen=_MOST_UNREAD)
        self._readers = [
            self._read(self._process.stdout, self._hear),
            self._read(self._process.stderr, self._write_down),
        ]

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def begin(self, directory: Path, hear: Hear) -> None:
        """Write the path of its job; a child that has died already shows in :meth:`wait`."""
        self._hear_study = hear
        if not self._write(str(directory)):
            log.warning("child.died_waiting", pid=self._process.pid)

    def _answer(self, answer: Mapping[str, Any]) -> None:
        """Write the answer to what it has asked; one that has ended needs none."""
        self._write(json.dumps(answer))

    def _write(self, line: str) -> bool:
        """Write a line; False: nobody reads."""
        stdin = self._process.stdin
        if stdin is None:
            return False
        try:
            stdin.write(f"{line}\n")
            stdin.flush()
        except (BrokenPipeError, ValueError):  # ended, or let go of by :meth:`kill`
            return False
        return True

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None when it still runs after ``seconds``."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        signal_group(self._process.pid, signal.SIGKILL)  # what it may have left running
        return code

    def progress(self) -> Mapping[str, Any] | None:
        """Return what it last said, once."""
        progress, self._progress = self._progress, None
        return progress

    def trials(self) -> Sequence[Mapping[str, Any]]:
        """Return the finished trials that it has reported, once."""
        return [self._trials.popleft() for _ in range(len(self._trials))]

    def wrote(self) -> Sequence[str]:
        """Return the lines that it has written for people, once."""
        return [self._written.popleft() for _ in range(len(self._written))]

    def kill(self) -> None:
        """End its whole process group at once, read what it has still said, and let go of its pipes."""
        if self.alive():
            signal_group(self._process.pid, signal.SIGKILL)
        self._process.wait(_END_SECONDS)
        for reader in self._readers:
            reader.join(_END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                _close(pipe)

    def last_words(self) -> str:
        """Return the last lines of standard error."""
        return "".join(self._words).strip()

    def _read(self, pipe: IO[str] | None, take: Callable[[str], object]) -> threading.Thread:
        def pump() -> None:
            for line in iter(lambda: pipe.readline(_MOST_LINE_CHARS), "") if pipe is not None else ():
                take(line)

        thread = threading.Thread(target=pump, name="child-output", daemon=True)
        thread.start()
        return thread

    def _write_down(self, line: str) -> None:
        self._words.append(line)
        self._written.append(line)

    def _hear(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            self._write_down(line)  # a library that talks
            return
        if not isinstance(said, dict):
            return
        if "stage" in said:
            numbers = {name: said[name] for name in _FACTS if isinstance(said.get(name), int | float)}
            words = {name: said[name] for name in ("metric",) if isinstance(said.get(name), str)}
            self._progress = {"stage": str(said["stage"]), **numbers, **words}
            return
        if isinstance(said.get("trial"), dict):
            self._trials.append(said["trial"])
        if self._hear_study is not None and any(name in said for name in _OF_STUDY):
            self._hear_study(said, self._answer)


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        log.info("child.unread_job")


class ChildProcesses:
    """Keeps one child started ahead of its job, so that a job does not wait for imports."""

    def __init__(
        self,
        home: Path,
        environment: Mapping[str, str],
        command: Sequence[str] = CHILD,
        *,
        memory: int | None = None,
    ) -> None:
        self._home = home
        self._environment = environment
        self._command = command
        self._memory = memory
        self._waiting: ChildProcess | None = None

    def warm(self) -> None:
        """Start one if none waits."""
        if self._waiting is None or not self._waiting.alive():
            self.close()
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._waiting = ChildProcess(self._command, self._home, self._environment, self._memory)

    def take(self) -> ChildProcess:
        """Return the one that waits, or a new one."""
        self.warm()
        child, self._waiting = self._waiting, None
        if child is None:
            raise RuntimeError("no training process could be started")
        return child

    def close(self) -> None:
        """End the one that waits."""
        if self._waiting is not None:
            self._waiting.kill()
            self._waiting = None
