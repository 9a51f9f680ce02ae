"""What the trainer touches beside queue, database and blobs: child processes, and the instance metadata service."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any

from trainyard import logs
from trainyard.processes import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log = logs.get(__name__)

CHILD = (sys.executable, "-I", "-m", "trainyard_trainer.child")
_KEPT_LINES = 40
_MOST_LINE_CHARS = 4_000
_END_SECONDS = 10.0
_TOKEN_SECONDS = 300
_IMDS_TIMEOUT_SECONDS = 1.0


def child_environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Return all that a training child gets of the world: no credentials, no addresses.

    One thread each: OpenMP threads that wait for one another spin, which costs a shared machine a factor of ten, and
    sums over threads are not reproducible.
    """
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": str(home), "TMPDIR": str(home), **threads, **more}


class ChildProcess:
    """One training process: started, waiting for its job on standard input."""

    def __init__(self, command: Sequence[str], home: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            bound(command, parent=os.getpid(), number=signal.SIGKILL),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=home,
            start_new_session=True,  # Ctrl-C is the parent's to deal with
            text=True,
            errors="replace",
        )
        self._progress: dict[str, Any] | None = None
        self._words: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self._readers = [
            self._read(self._process.stdout, self._take_progress),
            self._read(self._process.stderr, self._words.append),
        ]

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process.poll() is None

    def begin(self, directory: Path) -> None:
        """Write the path of its job; a child that has died already shows in :meth:`wait`."""
        stdin = self._process.stdin
        if stdin is None:
            return
        try:
            stdin.write(f"{directory}\n")
            stdin.close()
        except BrokenPipeError:
            log.warning("child.died_waiting", pid=self._process.pid)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None when it still runs after ``seconds``."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def progress(self) -> Mapping[str, Any] | None:
        """Return what it last said, once."""
        progress, self._progress = self._progress, None
        return progress

    def kill(self) -> None:
        """End it at once, and let go of its pipes."""
        if self.alive():
            self._process.kill()
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

    def _take_progress(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            self._words.append(line)  # a library that talks
            return
        if isinstance(said, dict):
            self._progress = {"stage": str(said.get("stage")), "done": said.get("done"), "total": said.get("total")}


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        log.info("child.unread_job")


class ChildProcesses:
    """Keeps one child started ahead of its job, so that a job does not wait for imports."""

    def __init__(self, home: Path, environment: Mapping[str, str], command: Sequence[str] = CHILD) -> None:
        self._home = home
        self._environment = environment
        self._command = command
        self._waiting: ChildProcess | None = None

    def warm(self) -> None:
        """Start one if none waits."""
        if self._waiting is None or not self._waiting.alive():
            self.close()
            self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._waiting = ChildProcess(self._command, self._home, self._environment)

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


class Metadata:
    """The instance metadata service, version 2 (with a token). Every answer may be absent: then this is no instance."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        # A proxy of the environment must never be asked for metadata.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def instance_id(self) -> str | None:
        """Return this machine's instance id, or None."""
        return self._read("latest/meta-data/instance-id")

    def interruption(self) -> str | None:
        """Return the spot notice (JSON text), or None while there is none."""
        return self._read("latest/meta-data/spot/instance-action")

    def _read(self, path: str) -> str | None:
        seconds = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_SECONDS)}
        token = self._ask("PUT", "latest/api/token", seconds)
        return None if token is None else self._ask("GET", path, {"X-aws-ec2-metadata-token": token})

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        request = urllib.request.Request(  # noqa: S310 - the address is a setting
            f"{self._base}/{path}", method=method, headers=dict(headers)
        )
        try:
            with self._opener.open(request, timeout=_IMDS_TIMEOUT_SECONDS) as answer:
                return str(answer.read(65_536).decode())
        except (urllib.error.URLError, OSError, ValueError):
            return None


class SpotWatch:
    """A thread that asks for the spot notice and passes it on; the notice is a courtesy, nothing relies on it."""

    def __init__(self, metadata: Metadata, notify: Callable[[str], None], *, every_seconds: float = 5.0) -> None:
        self._metadata = metadata
        self._notify = notify
        self._every = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="spot-watch", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def close(self) -> None:
        """Stop asking."""
        self._ended.set()
        self._thread.join(_END_SECONDS)

    def _watch(self) -> None:
        while not self._ended.wait(self._every):
            notice = self._metadata.interruption()
            if notice is not None:
                log.warning("spot.notice", notice=notice)
                self._notify("spot notice")
                return
