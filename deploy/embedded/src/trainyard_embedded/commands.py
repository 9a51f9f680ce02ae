"""``up``, ``down`` and ``status`` of the embedded stack, as functions for command lines and tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainyard import logs, private_records
from trainyard.clock import SystemClock
from trainyard.private_files import write_private
from trainyard.processes import alive
from trainyard_embedded import environment, table
from trainyard_embedded.errors import EXIT_NOT_READY, EXIT_NOT_RUNNING, OK, StackError
from trainyard_embedded.layout import Layout
from trainyard_embedded.logfiles import LogFiles
from trainyard_embedded.stack import Ready, end_leftovers, logging_to, recorded_processes, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.config import Config
    from trainyard_embedded.stack import MakeTable

_log = logs.get(__name__)

_DETACHED_START_SECONDS = 120.0
#: the slowest child may take 40 s, Postgres 30 s after it
_DOWN_SECONDS = 90.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Status:
    """What runs in a data directory. ``ready`` is None while the stack starts or stops, or when nothing runs."""

    running: bool
    pid: int | None
    ready: Ready | None
    processes: dict[str, int]

    def shown(self) -> dict[str, Any]:
        """Return what may be printed, without secrets."""
        return {**asdict(self), "ready": None if self.ready is None else self.ready.shown()}

    @property
    def exit_code(self) -> int:
        """The exit code that a command ends with."""
        return OK if self.ready else EXIT_NOT_READY if self.running else EXIT_NOT_RUNNING


def console_link(ready: Ready) -> str:
    """Return an address that signs one browser in to the console with the admin key, once, within the hour."""
    key = Path(ready.admin_key_file).read_text(encoding="utf-8").strip()
    records = private_records.links(Layout(Path(ready.data_dir)).console, SystemClock())
    return f"{ready.url}/sign-in/link?once={records.put({'key': key}, seconds=private_records.LINK_SECONDS)}"


def up(
    config: Config,
    environ: Mapping[str, str],
    *,
    detach: bool = False,
    on_ready: Callable[[Ready], None],
    make_table: MakeTable = table.children,
) -> int:
    """Start the stack and stay in front of it until SIGINT or SIGTERM (or return when ready, with ``detach``).

    ``on_ready`` runs once, in a thread of its own unless detached. Call from the main thread: signals arrive there.

    Returns:
        The exit code: 0 after an orderly stop.

    Raises:
        StackError: one sentence and the exit code.
    """
    layout = Layout(config.data_dir.absolute())
    layout.prepare()
    if detach:
        on_ready(_start_detached(config, environ, layout))
        return OK
    with layout.locked(), logging_to(layout.logs / "supervisor.log"):
        layout.ready_file.unlink(missing_ok=True)
        layout.failure_file.unlink(missing_ok=True)
        try:
            return run(config, environ, layout, on_ready, make_table)
        except StackError as e:
            _log.error("stack.failed", reason=str(e), exit_code=e.exit_code)
            write_private(layout.failure_file, json.dumps({"exit_code": e.exit_code, "message": str(e)}))
            raise
        finally:
            layout.ready_file.unlink(missing_ok=True)


def down(config: Config) -> int:
    """Stop the stack of the data directory and whatever a killed one left behind; nothing to stop is no error.

    Raises:
        StackError: it does not stop in time.
    """
    layout = Layout(config.data_dir.absolute())
    clock = SystemClock()
    if not layout.run.is_dir():
        return OK
    owner = layout.owner()
    if owner is not None and alive(owner):
        with contextlib.suppress(ProcessLookupError):
            os.kill(owner.pid, signal.SIGTERM)
        deadline = clock.monotonic() + _DOWN_SECONDS
        while alive(owner):
            if clock.monotonic() > deadline:
                raise StackError(
                    EXIT_NOT_READY,
                    f"the stack in {layout.root} (pid {owner.pid}) has not stopped within {_DOWN_SECONDS:.0f} s; "
                    f"see {layout.logs / 'supervisor.log'}",
                )
            clock.sleep(_POLL_SECONDS)
    with layout.locked(), logging_to(layout.logs / "supervisor.log"):
        end_leftovers(layout, clock)
    return OK


def status(config: Config) -> Status:
    """Return what runs in the data directory."""
    layout = Layout(config.data_dir.absolute())
    owner = layout.owner()
    running = owner is not None and alive(owner)
    live = {name: process.pid for name, process in recorded_processes(layout).items() if alive(process)}
    return Status(running, owner.pid if owner and running else None, read_ready(layout) if running else None, live)


def read_ready(layout: Layout) -> Ready | None:
    """Return the addresses of the stack that is ready in the data directory, or None."""
    try:
        return Ready(**json.loads(layout.ready_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _start_detached(config: Config, environ: Mapping[str, str], layout: Layout) -> Ready:
    """Start ``up`` in a session of its own and wait until it is ready or has said why not."""
    clock = SystemClock()
    with layout.locked():  # refuses at once, with the right sentence, when another `up` holds it
        layout.failure_file.unlink(missing_ok=True)
        layout.ready_file.unlink(missing_ok=True)
    with LogFiles(layout.logs).open("up") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "trainyard_embedded", "up"],
            env=environment.base(environ) | environment.settings(replace(config, data_dir=layout.root)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = clock.monotonic() + _DETACHED_START_SECONDS
    while clock.monotonic() < deadline:
        ready = read_ready(layout)
        if ready is not None and ready.pid == process.pid:
            return ready
        if process.poll() is not None:
            raise _detached_failure(layout)
        clock.sleep(_POLL_SECONDS)
    raise StackError(
        EXIT_NOT_READY,
        f"the stack was not ready after {_DETACHED_START_SECONDS:.0f} s; see {layout.logs / 'supervisor.log'}",
    )


def _detached_failure(layout: Layout) -> StackError:
    try:
        said: dict[str, Any] = json.loads(layout.failure_file.read_text())
        return StackError(int(said["exit_code"]), str(said["message"]))
    except (OSError, ValueError, KeyError):
        last = LogFiles(layout.logs).last_line("up")
        return StackError(
            EXIT_NOT_READY, f"the stack ended while it started; {layout.logs / 'up.log'} ends with: {last}"
        )
