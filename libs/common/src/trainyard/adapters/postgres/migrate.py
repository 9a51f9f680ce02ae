"""Bring a database to the newest revision: the command ``trainyard-migrate`` and its function.

Any number of callers may start at once: a session advisory lock on a connection of its own lets one run the
revisions, the others wait and then find nothing to do. How revisions are written: docs/migrations.md.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, OperationalError

from trainyard import config, logs
from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard.loops import backoff_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.script import Script

    from trainyard.clock import Clock

#: Any constants work, as long as nobody else locks them in this database. The first belongs to whoever migrates. The
#: second is held by the connection that runs the revisions: its server process may outlive a process that was killed,
#: and as long as it works nobody else begins.
_LOCK, _WORK_LOCK = 7_214_880_331, 7_214_880_333
_ASK_SECONDS = 0.1
#: A server process that works for a client notices within this time that the client is no more. Not every system lets
#: it look; there it finds out when it is done.
_NOTICE = """
DO $$
BEGIN
    PERFORM set_config('client_connection_check_interval', '1s', false);
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE DEBUG 'this system cannot look for a client that has gone';
END $$"""
#: SQLSTATEs after which a revision is tried again: no lock in time, or a deadlock that it was chosen to end.
_NO_LOCK, _STATEMENT_TIMEOUT = {"55P03", "40P01"}, "57014"
EXIT_OK, EXIT_AWAY, EXIT_CONFIG, EXIT_HELD_UP = 0, 1, 2, 3
_log = logs.get(__name__)


@dataclass(frozen=True)
class Limits:
    """How long one statement of a revision may wait for a lock, and run; how often a revision is tried.

    A revision that has to run longer says so itself: ``STATEMENT_SECONDS`` in its module.
    """

    lock_seconds: float = 4.0
    statement_seconds: float = 60.0
    tries: int = 5


class HeldUpError(Exception):
    """A revision did not get its locks, or took too long, and was rolled back; those before it stay."""


def head() -> str:
    """Return the newest revision of this release."""
    with _settings() as settings:
        revision = ScriptDirectory.from_config(settings).get_current_head()
    if revision is None:
        raise ConfigError("the migration history has no revision; the installation is broken")
    return revision


def revisions() -> list[str]:
    """Return every revision that this release knows, the oldest first."""
    with _settings() as settings:
        return [script.revision for script in ScriptDirectory.from_config(settings).walk_revisions()][::-1]


def migrate(
    database_url: str, revision: str = "head", *, limits: Limits | None = None, clock: Clock | None = None
) -> list[str]:
    """Run every revision up to ``revision`` that the database has not seen, each in a transaction; return which ran.

    Raises:
        HeldUpError: a revision was held up each time it was tried.
    """
    engine = sa.create_engine(
        database_url, poolclass=sa.NullPool, connect_args={"application_name": "trainyard-migrate"}
    )
    clock = clock or SystemClock()
    try:
        with engine.connect() as locker, engine.connect() as connection:
            _hold(locker, _LOCK, clock)
            _hold(connection, _WORK_LOCK, clock)
            connection.execute(sa.text(_NOTICE))
            connection.commit()
            return _run(connection, revision, limits or Limits(), clock)
    finally:
        engine.dispose()


def _hold(connection: sa.Connection, lock: int, clock: Clock) -> None:
    """Take a lock for the session, asking again and again.

    Who waited for it inside a statement would have a snapshot, whose end CREATE INDEX CONCURRENTLY waits for.
    """
    while True:
        held = connection.execute(sa.text("SELECT pg_try_advisory_lock(:lock)"), {"lock": lock}).scalar_one()
        connection.commit()
        if held:
            return
        clock.sleep(_ASK_SECONDS)


def _run(connection: sa.Connection, revision: str, limits: Limits, clock: Clock) -> list[str]:
    with _settings() as settings:
        settings.attributes["connection"] = connection
        missing = _missing(connection, ScriptDirectory.from_config(settings), revision)
        for script in missing:
            seconds = float(getattr(script.module, "STATEMENT_SECONDS", limits.statement_seconds))
            _set_limits(connection, limits.lock_seconds, seconds)
            _upgrade(connection, settings, script.revision, limits.tries, clock)
    return [script.revision for script in missing]


def _missing(connection: sa.Connection, scripts: ScriptDirectory, revision: str) -> list[Script]:
    """Return the revisions that have to be run, in their order."""
    current = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()  # looking opens a transaction
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise ConfigError(
            f"the database is at revision {current}, which this release does not know; start the release that made it"
        )
    above = list(scripts.iterate_revisions(revision, current or "base"))
    return above[::-1]


def _set_limits(connection: sa.Connection, lock_seconds: float, statement_seconds: float) -> None:
    for name, seconds in (("lock_timeout", lock_seconds), ("statement_timeout", statement_seconds)):
        value = f"{max(1, round(seconds * 1000))}ms"  # 0 would mean no limit
        connection.execute(sa.text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value})
    connection.commit()


def _upgrade(connection: sa.Connection, settings: AlembicConfig, revision: str, tries: int, clock: Clock) -> None:
    """Run one revision, again after a pause when it did not get a lock in time."""
    for attempt in range(1, tries + 1):
        try:
            command.upgrade(settings, revision)
            connection.commit()
        except DBAPIError as e:
            connection.rollback()
            state = getattr(e.orig, "pgcode", None)
            if state == _STATEMENT_TIMEOUT:
                raise HeldUpError(
                    f"revision {revision} took longer than a statement may and was rolled back; raise"
                    " TRAINYARD_MIGRATE_STATEMENT_SECONDS and start again"
                ) from e
            if state not in _NO_LOCK:
                raise
            _log.warning("database.migration_delayed", revision=revision, attempt=attempt, reason=str(e.orig).strip())
            if attempt == tries:
                raise HeldUpError(
                    f"revision {revision} did not get a lock in {tries} tries and was rolled back; another session"
                    " holds it: end that one (pg_stat_activity, pg_locks) or raise TRAINYARD_MIGRATE_TRIES, and start"
                    " again"
                ) from e
            clock.sleep(backoff_seconds(attempt))
        else:
            _log.info("database.migrated", revision=revision)
            return


@contextmanager
def _settings() -> Iterator[AlembicConfig]:
    with as_file(files("trainyard.adapters.postgres.migrations")) as location:
        settings = AlembicConfig()
        settings.set_main_option("script_location", str(location))
        yield settings


def main() -> int:
    """Entry of ``trainyard-migrate``; return the exit code.

    0 when the database is at head, 1 when it does not answer, 2 on a bad setting, 3 when a revision was held up.
    """
    try:
        settings = config.load(os.environ)  # noqa: TID251 - an entry module
        logs.configure("migrate", level=settings.log_level)
        limits = Limits(settings.migrate_lock_seconds, settings.migrate_statement_seconds, settings.migrate_tries)
        ran = migrate(settings.require_database(), limits=limits)
        _log.info("database.current", ran=", ".join(ran) or "nothing")
    except ConfigError as e:
        sys.stderr.write(f"trainyard-migrate: {e}\n")
        return EXIT_CONFIG
    except HeldUpError as e:
        sys.stderr.write(f"trainyard-migrate: {e}\n")
        return EXIT_HELD_UP
    except OperationalError as e:
        sys.stderr.write(f"trainyard-migrate: the database does not answer: {e.orig}\n")
        return EXIT_AWAY
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
