"""Child processes for tests: a free port, a wait with a deadline, an end that is certain."""

from __future__ import annotations

import socket
import subprocess
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from trainyard.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

_POLL_SECONDS = 0.05
_clock = SystemClock()

#: The module, and the options, by which the stack serves an application: a port and the application follow.
GUNICORN = (
    "gunicorn", "--worker-class", "trainyard.adapters.gunicorn_worker.JsonWorker", "--threads", "8",
    "--no-control-socket",
)  # fmt: skip
#: The same for the predictor, whose worker serves no other application than this; other options may follow.
PREDICTOR = (
    "gunicorn", "--worker-class", "trainyard_predictor.web.worker.LoopWorker", "--threads", "8",
    "--worker-connections", "4000", "--no-control-socket", "trainyard_predictor.web.app:app()",
)  # fmt: skip


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on just now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Return as many different ports; asked for one by one, the system may name the same port twice."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    """Return as soon as ``condition()`` holds.

    Raises:
        TimeoutError: it did not within ``seconds``; names ``what``.
    """
    deadline = _clock.monotonic() + seconds
    while not condition():
        if _clock.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        _clock.sleep(_POLL_SECONDS)


def answers(url: str) -> bool:
    """Return whether a GET of ``url`` is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - an address of the test's own
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def end(process: subprocess.Popen[bytes], *, seconds: float = 10.0) -> None:
    """Ask ``process`` to end, and kill it when it has not after ``seconds``."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(seconds)
