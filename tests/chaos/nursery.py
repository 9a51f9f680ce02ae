"""Processes in milliseconds: a server that has imported every service and forks one whenever it is asked to.

A service that is killed and started again hundreds of times would spend its life importing. The nursery is a process
of one thread; each service is a real process of its own, with its own environment, session, signals and log, started
by :class:`Nursery` and told from ``python -m`` only by how fast it is there. Run as a program, this file is the server.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: What is imported before the first fork; each is started as ``python -m`` would.
HOST = "trainyard_ec2host.__main__"
PREDICTOR = "predictor_service"
POLL = "trainyard_predictor.poll"
MODULES = ("trainyard_scheduler.main", "trainyard_trainer.main", "trainyard_ingest.main", HOST, PREDICTOR, POLL)
_START_SECONDS = 60.0
_MOST_BYTES = 65_536


@dataclass
class Process:
    """A process that a nursery has started; ``code`` is its exit code once ``ended`` is set, negative for a signal."""

    pid: int
    ended: threading.Event = field(default_factory=threading.Event)
    code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if not self.ended.is_set():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                self.ended.wait(1.0)

    def wait(self, seconds: float) -> int | None:
        """Return the exit code, or None when it still runs after ``seconds``."""
        return self.code if self.ended.wait(seconds) else None


class Nursery:
    """The client's side: ``start`` from any thread."""

    def __init__(self, log: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with log.open("ab") as output:
            self._server = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        theirs.close()
        self._socket = ours
        self._asking = threading.Lock()
        self._said = threading.Condition()
        self._started: dict[int, Process] = {}
        self._processes: dict[int, Process] = {}
        self._number = 0
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()
        if not self._ready.wait(_START_SECONDS):
            raise TimeoutError(f"the nursery did not start; see {log}")

    def start(self, module: str, environment: dict[str, str], log: Path) -> Process:
        """Start ``python -m module`` with just that environment; its output goes to the end of ``log``."""
        with self._asking:
            self._number += 1
            number = self._number
            order = {"number": number, "module": module, "environment": environment, "log": str(log)}
            self._socket.send(json.dumps(order).encode())
        with self._said:
            if not self._said.wait_for(lambda: number in self._started, _START_SECONDS):
                raise TimeoutError(f"the nursery did not start {module}")
            return self._started.pop(number)

    def close(self) -> None:
        """End the nursery and, with it, every process that it has started."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._server.wait(30)
        self._reader.join(10)
        self._socket.close()

    def _read(self) -> None:
        while packet := self._socket.recv(_MOST_BYTES):
            said = json.loads(packet)
            if "ready" in said:
                self._ready.set()
                continue
            with self._said:
                process = self._processes.setdefault(said["pid"], Process(said["pid"]))
                if "number" in said:
                    self._started[said["number"]] = process  # it may have ended before the asker looks
                    self._said.notify_all()
                else:
                    process.code = said["code"]
                    del self._processes[said["pid"]]  # the number may be used again
                    process.ended.set()


# --- the server ---


def serve(connection: socket.socket) -> None:
    """Fork what is asked for, and tell of every end, until the connection closes; then kill what is left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks: we end when its side closes
    for module in MODULES:
        importlib.import_module(module)
    share_models()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    connection.send(b'{"ready": true}')
    alive: set[int] = set()
    while True:
        readable, _, _ = select.select([connection, reading], [], [])
        if connection in readable:
            packet = connection.recv(_MOST_BYTES)
            if not packet:
                break
            order = json.loads(packet)
            pid = os.fork()
            if pid == 0:
                connection.close()
                _become(order)
            alive.add(pid)
            connection.send(json.dumps({"number": order["number"], "pid": pid}).encode())
        if reading in readable:
            os.read(reading, _MOST_BYTES)
        for pid, code in _ended():
            alive.discard(pid)
            connection.send(json.dumps({"pid": pid, "code": code}).encode())
    for pid in alive:
        os.kill(pid, signal.SIGKILL)


def _ended() -> list[tuple[int, int]]:
    found = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        found.append((pid, os.waitstatus_to_exitcode(status)))


@cache
def share_models() -> None:
    """Let all sessions of boto3 here, and in every fork, share what is read from its files.

    Parsing EC2's costs more than all the rest of a cell, and each yard has sessions of its own.
    """
    from botocore.loaders import JSONFileLoader  # noqa: PLC0415 - only where it is called

    read, known = JSONFileLoader.load_file, {}

    def load_file(self: JSONFileLoader, file_path: str) -> object:
        if file_path not in known:
            known[file_path] = read(self, file_path)
        return known[file_path]

    JSONFileLoader.load_file = load_file
    import boto3  # noqa: PLC0415

    session = boto3.session.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
    for service in ("sqs", "s3", "ec2"):
        session.client(service).close()


def _become(order: dict) -> None:
    """Turn this fork into the process that was ordered; does not return."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        output = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [order["module"]]
        code = _run(order["module"])
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:  # noqa: BLE001 - the edge of the process: a fork must never return into the server's loop
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(module: str) -> int:
    """Do what the last lines of the module do when it is run as a program."""
    main = sys.modules[module].main
    return int(main(dict(os.environ)) if module == HOST else main())


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
