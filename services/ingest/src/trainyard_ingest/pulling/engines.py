"""Connections to other databases: to the address that was checked, for reading only, with time limits and TLS."""

from __future__ import annotations

import os
import socket
import sqlite3
import ssl
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg2
import psycopg2.extensions
import pymysql
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError

from trainyard import logs
from trainyard.clock import SystemClock
from trainyard_ingest.domain.pulls import SourceAwayError, refused
from trainyard_ingest.pulling.addresses import AddressRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from trainyard_ingest.domain.pull_spec import TableSpec
    from trainyard_ingest.pulling.addresses import AddressRule

_CONNECT_SECONDS = 10
STATEMENT_SECONDS = 300
_MOST_WORDS = 300
#: SQLSTATEs of Postgres after which the same query may succeed; class 08 besides.
_AWAY_STATES = {"40001", "40P01", "53300", "55P03", "57014", "57P01", "57P02", "57P03"}
#: The same of MySQL and MariaDB: too many connections, shutdown, deadlock, lock and statement timeouts, gone away.
_AWAY_CODES = {1040, 1053, 1205, 1213, 1317, 1969, 2003, 2006, 2013, 3024}
_SQLITE_STEPS = 100_000
#: How psycopg2 reads date, timestamp and timestamp with time zone, by the number of the type.
_CALENDAR = {
    1082: psycopg2.extensions.PYDATE,
    1114: psycopg2.extensions.PYDATETIME,
    1184: psycopg2.extensions.PYDATETIMETZ,
}
_log = logs.get(__name__)


@dataclass(frozen=True)
class Access:
    """What the operator of this service allows its sources.

    Attributes:
        secrets: file with a line ``name host password`` for each secret; a password goes to its host and to no other.
        directory: where SQLite databases may lie; None: nowhere.
        ca_file: certificates of the authorities to trust.
    """

    rule: AddressRule
    secrets: Path | None
    directory: Path | None
    ca_file: str


@contextmanager
def connected(spec: TableSpec, access: Access, password: str) -> Iterator[sa.Connection]:
    """Yield a connection that cannot write, and close it.

    What happens in the block is the caller's: only who connects is told of here.

    Raises:
        ServiceError: ``source_refused``: the host, the file or the secret is not allowed.
        SourceAwayError: nobody answers.
    """
    make = {"postgresql": _postgres, "mysql": _mysql, "sqlite": _sqlite}[spec.system]
    dialect = {"postgresql": "postgresql+psycopg2", "mysql": "mysql+pymysql", "sqlite": "sqlite"}[spec.system]
    engine = sa.create_engine(
        f"{dialect}://", creator=lambda: make(spec, access, password), poolclass=sa.NullPool, hide_parameters=True
    )
    try:
        with _connect(engine) as connection:
            yield connection
    finally:
        engine.dispose()


def _connect(engine: sa.Engine) -> sa.Connection:
    try:
        return engine.connect()
    except AddressRefusedError as e:
        _log.warning("source.refused", reason=str(e))
        raise refused("its host is not public; the operator can allow it by TRAINYARD_PULL_HOSTS") from e
    except OSError as e:
        raise SourceAwayError(f"the database does not answer: {type(e).__name__}") from e


def password_of(spec: TableSpec, access: Access) -> str:
    """Return the password of the source's secret, empty when it names none.

    Raises:
        ServiceError: ``source_refused``: there is no such secret for this host, or no file that can be read.
    """
    if spec.secret is None:
        return ""
    try:
        text = "" if access.secrets is None else access.secrets.read_text(encoding="utf-8")
    except (OSError, ValueError) as e:  # ValueError: not UTF-8, and the error's words would be a part of the file
        raise refused(f"the file TRAINYARD_PULL_SECRETS cannot be read: {type(e).__name__}") from None
    for line in text.splitlines():
        name, host, password = (*line.split(None, 2), "", "", "")[:3]
        if name == spec.secret and host.lower() == spec.host.lower():
            return password
    raise refused(f"the file TRAINYARD_PULL_SECRETS has no line '{spec.secret} {spec.host} password'")


def _postgres(spec: TableSpec, access: Access, password: str) -> Any:
    modes = {"verify-full": "verify-full", "require": "require", "off": "disable"}
    limits = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS}s -c lock_timeout=10s"
    trusted: Any = {"sslrootcert": access.ca_file} if spec.tls == "verify-full" else {}
    connection = psycopg2.connect(
        host=spec.host,
        hostaddr=access.rule.address(spec.host, spec.port),
        port=spec.port,
        user=spec.user,
        password=password,
        dbname=spec.database,
        connect_timeout=_CONNECT_SECONDS,
        sslmode=modes[spec.tls],
        gssencmode="disable",
        passfile=f"{os.devnull}/none",  # this user's own passwords are for other servers
        application_name="trainyard-pull",
        keepalives_idle=30,
        options=f"{limits} -c timezone=UTC",
        **trusted,
    )
    for oid, read in _CALENDAR.items():
        psycopg2.extensions.register_type(psycopg2.extensions.new_type((oid,), "calendar", _within(read)), connection)
    return connection


def _within(read: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return ``read`` for dates and times such that one that Python does not have stays a text, which no row takes.

    Left to itself psycopg2 makes the last moment of the year 9999 of ``infinity``.
    """

    def cast(text: Any, cursor: Any) -> Any:
        if text in {"infinity", "-infinity"}:
            return text
        try:
            return read(text, cursor)
        except (ValueError, OverflowError, psycopg2.DataError):  # after the year 9999, or before the year 1
            return text

    return cast


class _NoClearText:
    """Refuses what a server may ask for: the password as it is."""

    def __init__(self, _connection: object) -> None:
        raise pymysql.OperationalError(2059, "the server asks for the password in clear text")


def _mysql(spec: TableSpec, access: Access, password: str) -> Any:
    context = None
    if spec.tls != "off":
        context = ssl.create_default_context(cafile=access.ca_file)
        if spec.tls == "require":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = access.rule.address(spec.host, spec.port)
    connection = pymysql.Connection(  # with ``ssl`` it never goes on without
        host=spec.host,
        port=spec.port,
        user=spec.user,
        password=password.encode(),
        database=spec.database,
        charset="utf8mb4",
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=STATEMENT_SECONDS + 10,
        write_timeout=_CONNECT_SECONDS,
        local_infile=False,
        auth_plugin_map=dict.fromkeys(("mysql_clear_password", "dialog"), _NoClearText),
        defer_connect=True,
        **({"ssl": context} if context else {"ssl_disabled": True}),
    )
    connection.connect(socket.create_connection((address, spec.port), timeout=_CONNECT_SECONDS))
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.execute("SET SESSION time_zone = '+00:00'")
        maria = "MariaDB" in connection.get_server_info()
        limit = f"max_statement_time = {STATEMENT_SECONDS}" if maria else f"max_execution_time = {STATEMENT_SECONDS}000"
        cursor.execute(f"SET SESSION {limit}")
    return connection


def _sqlite(spec: TableSpec, access: Access, _password: str) -> Any:
    if access.directory is None:
        raise refused("SQLite files are read from the directory TRAINYARD_PULL_DIR only, and it is not set")
    directory = access.directory.resolve()
    path = (directory / spec.database).resolve()
    if not path.is_relative_to(directory) or not path.is_file():
        raise refused("there is no such SQLite file in TRAINYARD_PULL_DIR")
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_CONNECT_SECONDS)
    connection.execute("PRAGMA query_only = ON")
    clock = SystemClock()
    until = clock.monotonic() + STATEMENT_SECONDS
    connection.set_progress_handler(lambda: clock.monotonic() > until, _SQLITE_STEPS)
    return connection


def is_away(error: DBAPIError) -> bool:
    """Tell whether the same query may succeed later: no connection, a timeout, a shutdown, a deadlock."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "pgcode", None)
    if state is not None:
        return state in _AWAY_STATES or state.startswith("08")
    code = error.orig.args[0] if error.orig is not None and error.orig.args else None
    if isinstance(error.orig, pymysql.MySQLError):
        return code in _AWAY_CODES
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error, OperationalError) and any(word in str(code) for word in ("locked", "interrupted"))
    return isinstance(error, OperationalError)  # Postgres, before there was a session to have a state


def words(error: DBAPIError, password: str) -> str:
    """Return what the database said, in one line. A hostile one might say the password that it was sent."""
    code, *more = error.orig.args if error.orig is not None and error.orig.args else ("",)
    said = " ".join(str(more[0] if more and isinstance(code, int) else code).split())
    return (said.replace(password, "***") if password else said)[:_MOST_WORDS]
