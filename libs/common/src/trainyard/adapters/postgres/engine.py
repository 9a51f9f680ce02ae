"""The engine every Postgres adapter shares: pool, time limits, and errors that say what to do next."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import psycopg2
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

#: SQLSTATEs after which the same transaction may succeed: serialization, deadlock, lock timeout, too many connections,
#: shutdown and crash of the server, and every connection failure (class 08).
_TRANSIENT_STATES = {"40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"}


def make_engine(database_url: str, *, service: str, pool_size: int = 8, role: str | None = None) -> sa.Engine:
    """Return an engine with :func:`engine_settings`.

    With ``role`` (a plain name, as :mod:`trainyard.config` reads it) its sessions act as that role, whoever logs in.
    """
    more = {"role": role} if role else {}
    return sa.create_engine(database_url, **engine_settings(service=service, pool_size=pool_size, **more))


def engine_settings(*, service: str, pool_size: int, **more: str) -> dict[str, Any]:
    """Return what an engine is made with: sessions carry the service's name and end statements after 60 s.

    ``more`` are further settings of a session, such as ``search_path``.
    """
    session = {
        "statement_timeout": "60s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        "timezone": "UTC",
        **more,
    }
    return {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": 5,
        "pool_pre_ping": True,
        "hide_parameters": True,  # they are people's data and keys' hashes, and a fault's traceback goes to the log
        "connect_args": {
            "application_name": f"trainyard-{service}",
            "connect_timeout": 5,
            "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
        },
    }


def is_transient(error: DBAPIError | PoolTimeoutError | psycopg2.Error) -> bool:
    """Tell whether the database may take the same work a moment later."""
    if isinstance(error, PoolTimeoutError):
        return True
    if isinstance(error, psycopg2.Error):  # COPY and composed SQL go to the driver itself
        return _may_pass(error.pgcode, isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError))
    state = getattr(error.orig, "pgcode", None)
    return error.connection_invalidated or _may_pass(state, isinstance(error, OperationalError))


def _may_pass(state: str | None, connection_failed: bool) -> bool:
    if state is None:
        return connection_failed
    return state in _TRANSIENT_STATES or state.startswith("08")


@contextmanager
def transaction(
    engine: sa.Engine, *, committing: Callable[[], AbstractContextManager[None]] = nullcontext
) -> Iterator[sa.Connection]:
    """Yield a connection inside one transaction: COMMIT at the end, ROLLBACK on any exception.

    ``committing`` makes what COMMIT, and nothing else, is done in: a step at which a test can make it fail.

    Raises:
        TransientError: the database is away, restarting or busy. When COMMIT itself failed its outcome is unknown:
            callers settle it by looking up the record they wrote, never by guessing.
    """
    try:
        with engine.connect() as connection, connection.begin() as work:
            yield connection
            with committing():
                work.commit()
    except (DBAPIError, PoolTimeoutError, psycopg2.Error) as e:
        if is_transient(e):
            raise TransientError("the database does not answer just now") from e
        raise


def reachable(engine: sa.Engine) -> bool:
    """Tell whether the database answers."""
    try:
        with transaction(engine) as connection:
            connection.execute(sa.text("SELECT 1"))
    except TransientError:
        return False
    return True
