"""Bring a database to the newest revision: the command ``trainyard-migrate`` and its function.

Any number of callers may start at once: a session advisory lock on a connection of its own lets one run the
revisions, the others wait and then find nothing to do.
"""

from __future__ import annotations

import os
import sys
from importlib.resources import as_file, files

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.script import ScriptDirectory
from sqlalchemy.exc import OperationalError

from trainyard import config, logs
from trainyard.errors import ConfigError

#: Any constant works, as long as nobody else locks it in this database.
_LOCK = 7_214_880_331
EXIT_OK, EXIT_AWAY, EXIT_CONFIG = 0, 1, 2
_log = logs.get(__name__)


def _alembic(script_location: str) -> AlembicConfig:
    settings = AlembicConfig()
    settings.set_main_option("script_location", script_location)
    return settings


def head() -> str:
    """Return the newest revision of this release."""
    with as_file(files("trainyard.adapters.postgres.migrations")) as location:
        revision = ScriptDirectory.from_config(_alembic(str(location))).get_current_head()
    if revision is None:
        raise ConfigError("the migration history has no revision; the installation is broken")
    return revision


def migrate(database_url: str, revision: str = "head") -> None:
    """Run every revision up to ``revision`` that the database has not seen."""
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.connect() as locker, engine.connect() as connection:
        locker.execute(sa.text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
        connection.execute(sa.text("SET lock_timeout = '4s'"))
        connection.execute(sa.text("SET statement_timeout = '60s'"))
        connection.commit()
        with as_file(files("trainyard.adapters.postgres.migrations")) as location:
            settings = _alembic(str(location))
            settings.attributes["connection"] = connection
            command.upgrade(settings, revision)
        connection.commit()
    engine.dispose()
    _log.info("database.migrated", revision=revision)


def main() -> int:
    """Entry of ``trainyard-migrate``: 0 when the database is at head, 1 when it does not answer, 2 on a bad setting."""
    try:
        settings = config.load(os.environ)  # noqa: TID251 - an entry module
        logs.configure("migrate", level=settings.log_level)
        migrate(settings.require_database())
    except ConfigError as e:
        sys.stderr.write(f"trainyard-migrate: {e}\n")
        return EXIT_CONFIG
    except OperationalError as e:
        sys.stderr.write(f"trainyard-migrate: the database does not answer: {e.orig}\n")
        return EXIT_AWAY
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
