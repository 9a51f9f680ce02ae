"""Taking a backup while the stack works: one view of the database, and the objects that it refers to.

The view is a snapshot that this connection exports and pg_dump reads: rows, ledger, versions and requests are those of
one moment. Objects never change and stay while a version has them, so they may be read after that moment.
"""

from __future__ import annotations

import subprocess
import uuid
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import IO, TYPE_CHECKING

import sqlalchemy as sa

from trainyard.adapters.backup.stack import SCHEMAS, connected
from trainyard.adapters.backup.tools import find
from trainyard.backup_file import About, BackupError, Writer
from trainyard.contracts.blobs import BlobMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trainyard.adapters.backup.stack import Progress, Stack
    from trainyard.adapters.backup.tools import Tools

#: Caches, and copies of what the backup has as objects.
_LEFT_OUT = ("core.artifact_copy",)
#: Artifacts with their hash; extracts have none in the records. One object may belong to several versions.
_OBJECTS = """
    SELECT artifact_key AS key, max(sha256) AS sha256, bool_and(m.deleted_at IS NOT NULL) AS unused
    FROM core.version v JOIN core.model m ON m.id = v.model_id GROUP BY 1
    UNION ALL
    SELECT extract_key, NULL, bool_and(m.deleted_at IS NOT NULL)
    FROM core.version v JOIN core.model m ON m.id = v.model_id WHERE extract_key IS NOT NULL GROUP BY 1
    ORDER BY 1"""


@dataclass(frozen=True)
class Taken:
    """A backup that was written; ``missing``: objects that the store did not have, with the reason."""

    about: About
    database_bytes: int
    missing: Mapping[str, str]


def take(stack: Stack, file: IO[bytes], progress: Progress) -> Taken:
    """Write a backup of the stack into ``file``, which may be a pipe.

    Raises:
        BackupError: the database has no schema of ours, an artifact is damaged, or a program fails.
        TransientError: the object store does not answer.
    """
    with connected(stack.database_url) as connection:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        if connection.execute(sa.text("SELECT to_regclass('core.version')")).scalar_one() is None:
            raise BackupError("the database has nothing of Trainyard in it")
        snapshot = connection.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one()
        wanted = {row.key: (row.sha256, row.unused) for row in connection.execute(sa.text(_OBJECTS))}
        tools = find(stack.database_url, server_major(connection))
        sizes = {info.key: info.size for place in ("models/", "extracts/") for info in stack.blobs.list(place)}
        about = _about(connection, {key: sizes[key] for key in wanted.keys() & sizes})
        writer = Writer(file, about)
        missing: dict[str, str] = {}
        for key, (sha256, unused) in wanted.items():
            if key not in sizes or not _object(stack, writer, key, sizes[key], sha256):
                missing[key] = "its model is deleted" if unused else "the object store does not have it"
            progress("objects", sizes.get(key, 0))
        for name, path in stack.key_files.items():
            if path.is_file():
                writer.add(f"keys/{name}", path.read_bytes())
        database_bytes = _database(tools, writer, snapshot, progress)
        writer.end(missing)
    return Taken(about, database_bytes, missing)


def server_major(connection: sa.Connection) -> int:
    """Return the release of the server."""
    return int(connection.execute(sa.text("SHOW server_version_num")).scalar_one()) // 10_000


def _about(connection: sa.Connection, sizes: Mapping[str, int]) -> About:
    now: datetime = connection.execute(sa.text("SELECT now()")).scalar_one()
    revision = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
    return About(str(uuid.uuid4()), version("trainyard"), revision, now.isoformat(), len(sizes), sum(sizes.values()))


def _object(stack: Stack, writer: Writer, key: str, size: int, sha256: str | None) -> bool:
    """Add one object; False: it is gone since it was listed."""
    try:
        source = stack.blobs.open(key)
    except BlobMissingError:
        return False
    with closing(source):
        found = writer.stream(f"objects/{key}", source, size)
    if sha256 not in (None, found):
        raise BackupError(f"{key} is not the file that was registered; trainyard doctor says how to mend it")
    return True


def _database(tools: Tools, writer: Writer, snapshot: str, progress: Progress) -> int:
    options = [
        f"--snapshot={snapshot}",
        "--format=custom",
        "--compress=gzip:3",
        "--no-owner",
        "--no-unlogged-table-data",
    ]
    options += [f"--schema={name}" for name in SCHEMAS] + [f"--exclude-table-data={name}" for name in _LEFT_OUT]
    with tools.running(
        "pg_dump", *options, "--lock-wait-timeout=60s", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as dump:
        if dump.stdout is None:
            raise RuntimeError("a pipe was asked for")
        with dump.stdout as source:
            size = writer.pieces("database", source, partial(progress, "database"))
    return size
