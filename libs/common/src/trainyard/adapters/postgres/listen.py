"""Being woken by Postgres: LISTEN on a connection of its own."""

from __future__ import annotations

import selectors
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT
from sqlalchemy.engine import make_url

from trainyard.adapters.postgres.journal import CHANNEL
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - a class, whatever its name


class Listener:
    """Notifications of the channel that :mod:`trainyard.adapters.postgres.journal` writes. For one thread."""

    def __init__(self, database_url: str) -> None:
        url = make_url(database_url).set(drivername="postgresql")
        self._dsn = url.render_as_string(hide_password=False)
        self._connection: Connection | None = None

    @property
    def listening(self) -> bool:
        """True while connected: what is committed from now on will be heard."""
        return self._connection is not None

    def connect(self) -> None:
        """Start to listen, if not listening already.

        Raises:
            TransientError: the database does not answer.
        """
        if self._connection is not None:
            return
        try:
            connection = psycopg2.connect(
                self._dsn,
                application_name="trainyard-listener",
                connect_timeout=5,
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            )
            connection.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
            with connection.cursor() as cursor:
                cursor.execute(f'LISTEN "{CHANNEL}"')
        except psycopg2.OperationalError as e:
            raise TransientError("the database does not answer just now") from e
        self._connection = connection

    def wait(self, seconds: float) -> list[str]:
        """Return the payloads that came, after waiting up to ``seconds`` for the first.

        Raises:
            TransientError: the connection broke: what is committed until the next call connects anew is not heard.
        """
        self.connect()
        connection = self._connection
        if connection is None:
            raise RuntimeError("connect() came back without a connection")
        try:
            connection.poll()
            if not connection.notifies:
                with selectors.DefaultSelector() as selector:
                    selector.register(connection, selectors.EVENT_READ)
                    selector.select(seconds)
                connection.poll()
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as e:
            self.close()
            raise TransientError("the database closed the connection") from e
        heard = [notification.payload for notification in connection.notifies]
        connection.notifies.clear()
        return heard

    def close(self) -> None:
        """Stop to listen."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
