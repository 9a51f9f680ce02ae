"""A MariaDB of Debian's package for tests, on the loopback, in a directory of its own, as another user than root."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pymysql

from trainyard.testing.processes import end, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")
#: Nothing has to outlive the tests, so nothing waits for the disk.
_QUICK = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-buffer-pool-size=32M",
    "--skip-log-bin",
)


def program(name: str) -> str:
    """Return the path of one of MariaDB's programs.

    Raises:
        RuntimeError: it is not installed.
    """
    found = shutil.which(name, path=":".join(_PLACES))
    if found is None:
        raise RuntimeError(f"{name} is not installed; `make sources` installs mariadb-server")
    return found


class MariaServer:
    """One server, with TLS if it is given a certificate and its key."""

    def __init__(self, directory: Path, tls: tuple[Path, Path] | None = None) -> None:
        self._directory = directory
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    def start(self) -> None:
        """Make the data directory and start the server in it."""
        data = self._directory / "data"
        common = ["--no-defaults", f"--datadir={data}"]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--cross-bootstrap"]
        made = subprocess.run(
            self._command(program("mariadb-install-db"), *common, *options),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if made.returncode:
            raise RuntimeError(f"mariadb-install-db failed: {made.stdout} {made.stderr}")
        network = ["--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self._directory / 's'}"]
        network += [f"--pid-file={self._directory / 'pid'}"]
        if self._tls is not None:
            network += [f"--ssl-cert={self._tls[0]}", f"--ssl-key={self._tls[1]}"]
        with (self._directory / "log").open("ab") as log:
            command = self._command(program("mariadbd"), *common, *network, *_QUICK)
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._ready, f"MariaDB (log: {self._directory / 'log'})", seconds=60)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            end(self._process)

    def execute(self, statement: str, values: tuple[object, ...] = (), *, database: str | None = None) -> None:
        """Run one statement as root, and commit."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, connect_timeout=5
        )
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(statement, values or None)

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "trainyard.testing.unprivileged", *words]

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"MariaDB ended: {(self._directory / 'log').read_text()[-2000:]}")
        try:
            self.execute("SELECT 1")
        except pymysql.OperationalError:
            return False
        return True
