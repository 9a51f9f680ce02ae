"""One life of the stack: from a locked data directory to an orderly stop."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard import auth, logs
from trainyard.clock import SystemClock
from trainyard.config import redact_url
from trainyard.private_files import write_private
from trainyard.processes import ProcessId, alive, end
from trainyard_embedded import emulator, identity, keys, postgres, table
from trainyard_embedded.errors import EXIT_PORT_BUSY, OK, StackError
from trainyard_embedded.logfiles import LogFiles
from trainyard_embedded.probes import port_problem
from trainyard_embedded.spawn import spawner
from trainyard_embedded.supervisor import Supervisor, dump_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard_embedded.child import Child
    from trainyard_embedded.layout import Layout

    #: makes the process table; tests pass one with tiny children
    MakeTable = Callable[[Config, Mapping[str, str], Layout, postgres.Cluster], Sequence[Child]]

_log = logs.get(__name__)

_PROBE_THREADS = 8
_POLL_SECONDS = 0.05
#: web servers' workers see within a second or two that their master was killed, and leave its port
_ORPHANS_SECONDS = 5.0


@dataclass(frozen=True)
class Ready:
    """A stack that is ready: what other programs need to use it. Also the content of ``run/ready.json``."""

    pid: int
    url: str
    data_dir: str
    logs_dir: str
    admin_key_file: str
    database_url: str
    aws_endpoint_url: str
    aws_region: str
    bucket: str
    ports: dict[str, int]

    def shown(self) -> dict[str, Any]:
        """Return what may be printed: everything but the database's password, which is in the file that is named."""
        file = str(Path(self.data_dir) / "keys" / "postgres.password")
        return {**asdict(self), "database_url": redact_url(self.database_url), "database_password_file": file}


def run(
    config: Config,
    environ: Mapping[str, str],
    layout: Layout,
    on_ready: Callable[[Ready], None],
    make_table: MakeTable,
) -> int:
    clock = SystemClock()
    killed = end_leftovers(layout, clock)
    emulator.check_installed()
    binaries = postgres.find_binaries()
    run_as = identity.choose(binaries, layout.root)
    cluster = postgres.Cluster(
        layout.postgres, layout.keys / "postgres.password", config.postgres_port, binaries, run_as, clock
    )
    cluster.check()
    _check_ports(table.ports(config), clock, patience_seconds=_ORPHANS_SECONDS if killed else 0.0)
    config = complete(config, layout, cluster)
    files = LogFiles(layout.logs)
    with _signals() as stop_asked, ThreadPoolExecutor(_PROBE_THREADS, "probe") as executor:
        supervisor = Supervisor(
            make_table(config, environ, layout, cluster),
            spawn=spawner(files),
            executor=executor,
            files=files,
            clock=clock,
            record=lambda processes: write_private(layout.children_file, dump_processes(processes)),
        )
        try:
            began = clock.monotonic()
            if supervisor.start(stop_asked):
                ready = _ready(config, layout)
                write_private(layout.ready_file, json.dumps(asdict(ready)))
                _log.info("stack.ready", seconds=round(clock.monotonic() - began, 2))
                told = _Telling(on_ready, ready)
                supervisor.watch(lambda: max(stop_asked(), told.failed))
                told.check()
        finally:
            layout.ready_file.unlink(missing_ok=True)
            supervisor.stop(stop_asked)
    return OK


def complete(config: Config, layout: Layout, cluster: postgres.Cluster) -> Config:
    """Return the settings with everything that the embedded stack decides itself; makes the key at the first start."""
    return replace(
        config,
        data_dir=layout.root,
        database_url=cluster.url,
        aws_endpoint_url=f"http://127.0.0.1:{config.aws_port}",
        ingest_url=f"http://127.0.0.1:{config.ingest_port}",
        scheduler_url=f"http://127.0.0.1:{config.scheduler_port}",
        predictor_url=f"http://127.0.0.1:{config.predictor_port}",
        admin_key_file=keys.ensure(layout.keys, auth.make_key),
        console_dir=layout.console,
        spool_dir=layout.spool,
        metrics_dir=layout.metrics,
        work_dir=layout.work,
        copies_dir=layout.copies,
        imds_url=f"http://127.0.0.1:{config.imds_port}",
    )


def _ready(config: Config, layout: Layout) -> Ready:
    return Ready(
        pid=os.getpid(),
        url=f"http://127.0.0.1:{config.router_port}",
        data_dir=str(layout.root),
        logs_dir=str(layout.logs),
        admin_key_file=str(config.admin_key_file),
        database_url=config.require_database(),
        aws_endpoint_url=config.aws_endpoint_url or "",
        aws_region=config.aws_region,
        bucket=config.bucket,
        ports=table.ports(config),
    )


def _check_ports(ports: Mapping[str, int], clock: Clock, *, patience_seconds: float) -> None:
    """Refuse ports that cannot be listened on, after waiting for those that somebody may be about to leave."""
    deadline = clock.monotonic() + patience_seconds
    taken: dict[int, str] = {}
    for variable, port in ports.items():
        if port in taken:
            raise StackError(EXIT_PORT_BUSY, f"{taken[port]} and {variable} are both {port}; change one of them")
        taken[port] = variable
        while problem := port_problem(port):
            if clock.monotonic() >= deadline:
                raise StackError(EXIT_PORT_BUSY, f"port {port} {problem}; set {variable} to another port")
            clock.sleep(_POLL_SECONDS)


def recorded_processes(layout: Layout) -> dict[str, ProcessId]:
    try:
        raw = json.loads(layout.children_file.read_text())
        return {name: ProcessId(int(p["pid"]), str(p["started"])) for name, p in raw.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def end_leftovers(layout: Layout, clock: Clock) -> bool:
    """End processes that a killed supervisor left, the last started first; return whether there was such a supervisor.

    Trainers are the EC2 host's to end.
    """
    recorded = recorded_processes(layout)
    for name, process in reversed(recorded.items()):
        if alive(process):
            _log.warning("child.leftover", name=name, pid=process.pid)
            ask = signal.SIGINT if name == "postgres" else signal.SIGTERM
            end(process, clock, ask=ask, patience_seconds=10)
    layout.children_file.unlink(missing_ok=True)
    return bool(recorded)


class _Telling:
    """Calls ``on_ready`` beside the supervisor's loop; what it raises stops the stack and comes out of ``up``."""

    def __init__(self, on_ready: Callable[[Ready], None], ready: Ready) -> None:
        self._error: BaseException | None = None
        self._on_ready = on_ready
        self._ready = ready
        # A daemon: a story that is still being told does not hold up the stop.
        threading.Thread(target=self._run, name="on-ready", daemon=True).start()

    @property
    def failed(self) -> int:
        """1 when the call has raised, else 0."""
        return int(self._error is not None)

    def check(self) -> None:
        """Raise what the call has raised."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._on_ready(self._ready)
        except BaseException as e:  # noqa: BLE001 - kept for the main thread, which raises it again
            self._error = e


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], int]]:
    """Count requests to stop instead of dying of them; give back the count."""
    count = 0

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal count
        count += 1

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Send this package's log to the data directory: the terminal belongs to the command that called."""
    LogFiles(path.parent).open(path.stem).close()
    handler = logging.FileHandler(path)
    handler.setFormatter(logs.JsonFormatter("embedded"))
    logger = logging.getLogger("trainyard_embedded")
    before = logger.propagate, logger.level
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate, logger.level = before
        handler.close()
