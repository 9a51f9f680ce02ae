"""Restoring a backup into a stack whose services do not run.

The file is read twice: first to its end, so that a damaged one is refused before anything is touched. Then objects and
key files are written, each of which is harmless alone, and everything in the database in one transaction: whatever dies
on the way leaves the database as it was, and the same command again ends where it would have ended.
"""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO

import sqlalchemy as sa

from trainyard.adapters.backup.stack import APPLICATION, SCHEMAS, connected
from trainyard.adapters.backup.taking import server_major
from trainyard.adapters.backup.tools import find
from trainyard.adapters.postgres.migrate import migrate, revisions
from trainyard.backup_file import About, BackupError, Reader
from trainyard.contracts.copies import STORE_MARK
from trainyard.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trainyard.adapters.backup.stack import Progress, Stack
    from trainyard.adapters.backup.tools import Tools

_PIECE_BYTES = 1 << 20
_MARK_TEXT = b"Written when a backup was restored into this bucket.\n"
#: Said of the schema, so that the same command again knows that its work is done.
_SAID = "restored from backup "


@dataclass(frozen=True)
class Restored:
    """What was restored; ``ran``: the migrations that brought it to this release. ``again``: it was there already."""

    about: About
    missing: Mapping[str, str]
    keys: tuple[str, ...]
    ran: tuple[str, ...]
    again: bool = False


def verify(file: IO[bytes], progress: Progress) -> tuple[About, Mapping[str, str]]:
    """Read the file to its end; return what it says of itself, and which objects are missing in it.

    Raises:
        BackupError: it is no backup, damaged, or of a later release.
    """
    reader = Reader(file)
    for _, size, content in reader.parts():
        while content.read(_PIECE_BYTES):
            pass
        progress("check", size)
    try:
        uuid.UUID(reader.about.id)
    except ValueError as e:
        raise BackupError("the backup is damaged: its id is none") from e
    if reader.about.revision not in revisions():
        raise BackupError(
            f"the backup was made by release {reader.about.release}, whose database is at revision"
            f" {reader.about.revision}; this release does not know it: restore with that one, or a later one"
        )
    return reader.about, reader.missing


def restore(stack: Stack, file: IO[bytes], progress: Progress, *, replace: bool = False) -> Restored:
    """Restore ``file``, which can be read from the beginning again, and migrate it to this release.

    With ``replace`` everything of Trainyard's that is in the database goes.

    Raises:
        BackupError: the file cannot be restored, services are at work, or the database is not empty.
        TransientError: the object store does not answer.
    """
    about, missing = verify(file, progress)
    file.seek(0)
    with connected(stack.database_url) as connection:
        _refuse_company(connection)
        if _restored_before(connection) == about.id and not replace:
            return Restored(about, missing, (), tuple(migrate(stack.database_url)), again=True)
        if not replace and not _empty(connection):
            raise BackupError(
                "the database is not empty; restore into an empty one, or add --replace to lose what is there"
            )
        tools = find(stack.database_url, server_major(connection))
    # Makes the role that grants are for, and tells a database that is ahead of this release.
    migrate(stack.database_url)
    keys: list[str] = []
    with _loading(tools, about) as load:
        for name, size, content in Reader(file).parts():
            place, _, rest = name.partition("/")
            if place == "objects":
                _put(stack, rest, content)
            elif place == "keys" and rest in stack.key_files:
                write_private(stack.key_files[rest], content.read().decode())
                keys.append(rest)
            elif place == "database":
                load(content.read())
            progress("restore", size)
        stack.blobs.put(STORE_MARK, _MARK_TEXT)
    return Restored(about, missing, tuple(keys), tuple(migrate(stack.database_url)))


def _refuse_company(connection: sa.Connection) -> None:
    found = connection.execute(
        sa.text(
            "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'trainyard-%' AND application_name <> :own ORDER BY 1"
        ),
        {"own": APPLICATION},
    )
    names = list(found.scalars())
    if names:
        raise BackupError(f"services are at work on the database ({', '.join(names)}); stop them first")


def _restored_before(connection: sa.Connection) -> str | None:
    said = connection.execute(sa.text("SELECT obj_description(to_regnamespace('core'), 'pg_namespace')")).scalar_one()
    return str(said).removeprefix(_SAID) if said and str(said).startswith(_SAID) else None


def _empty(connection: sa.Connection) -> bool:
    """Tell whether nobody has made anything yet: a stack that was started once has keys and an audit log."""
    if connection.execute(sa.text("SELECT to_regclass('core.dataset')")).scalar_one() is None:
        return True
    found = connection.execute(
        sa.text("SELECT NOT EXISTS (SELECT FROM core.dataset) AND NOT EXISTS (SELECT FROM core.model)")
    )
    return bool(found.scalar_one())


def _put(stack: Stack, key: str, content: BinaryIO) -> None:
    # The store wants to read a body again where its first answer was lost.
    with tempfile.TemporaryFile() as body:
        while piece := content.read(_PIECE_BYTES):
            body.write(piece)
        body.seek(0)
        stack.blobs.put(key, body)


@contextmanager
def _loading(tools: Tools, about: About) -> Iterator[Callable[[bytes], object]]:
    """Give what takes the pieces of the dump; COMMIT is said when the block has ended well, and not before."""
    options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    with tools.running("psql", *options, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as psql:
        if psql.stdin is None:
            raise RuntimeError("a pipe was asked for")
        with psql.stdin as statements:
            statements.write(_before())
            statements.flush()
            with tools.running(
                "pg_restore", "--no-owner", "--file=-", stdin=subprocess.PIPE, stdout=psql.stdin, connect=False
            ) as program:
                if program.stdin is None:
                    raise RuntimeError("a pipe was asked for")
                with program.stdin as pieces:
                    yield pieces.write
            statements.write(_after(about))


def _before() -> bytes:
    # A view before the tables that it reads; what waits for a lock that long waits for somebody who should not be here.
    names = ", ".join(("data", *(name for name in SCHEMAS if name != "data")))
    return f"BEGIN;\nSET LOCAL lock_timeout = '60s';\nDROP SCHEMA IF EXISTS {names} CASCADE;\n".encode()


def _after(about: About) -> bytes:
    return (  # a revision that this release knows, and a UUID: verify() has seen to both
        f"DELETE FROM public.alembic_version;\nINSERT INTO public.alembic_version VALUES ('{about.revision}');\n"  # noqa: S608
        f"COMMENT ON SCHEMA core IS '{_SAID}{about.id}';\nCOMMIT;\n"
    ).encode()
