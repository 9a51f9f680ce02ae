"""Databases at a revision, and what a database's schema is as one text."""

from __future__ import annotations

import subprocess
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from trainyard.testing.postgres import binaries

if TYPE_CHECKING:
    from pathlib import Path

    from trainyard.testing.postgres import PostgresServer

MIGRATIONS = "trainyard.adapters.postgres.migrations"


def location() -> Path:
    """Return the directory of the history."""
    with as_file(files(MIGRATIONS)) as path:
        return path


def settings() -> Config:
    """Return Alembic's settings for the history."""
    config = Config()
    config.set_main_option("script_location", str(location()))
    return config


def revisions() -> list[str]:
    """Return every revision, the first one first."""
    return [script.revision for script in ScriptDirectory.from_config(settings()).walk_revisions()][::-1]


def schema_of(postgres: PostgresServer, database: str) -> str:
    """Return every object of the database, with owners and grants, as statements in a fixed order."""
    done = subprocess.run(
        [str(binaries() / "pg_dump"), "--schema-only", postgres.dsn(database)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    # \restrict and \unrestrict carry a word that differs every time.
    return "\n".join(line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\")))


def downgrade(postgres: PostgresServer, database: str, revision: str) -> None:
    """Take the database back to a revision."""
    config, engine = settings(), create_engine(postgres.url(database))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        connection.commit()
    engine.dispose()
