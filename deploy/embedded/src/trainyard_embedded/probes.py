"""Readiness checks: each returns None when the thing can do its job, else the reason why not yet."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING

import psycopg2

if TYPE_CHECKING:
    from collections.abc import Callable

_TIMEOUT_SECONDS = 2


def http_ready(port: int, *paths: str) -> Callable[[], str | None]:
    """Return a check that every path of a server on the loopback answers 200, asked in order."""

    def check() -> str | None:
        for path in paths:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
            try:
                connection.request("GET", path)
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as e:
                return f"GET http://127.0.0.1:{port}{path}: {e}"
            finally:
                connection.close()
            if status != http.client.OK:
                return f"GET http://127.0.0.1:{port}{path} answered {status}"
        return None

    return check


def postgres_ready(port: int, database: str, user: str, password: Callable[[], str]) -> Callable[[], str | None]:
    """Return a check that Postgres takes our password and answers a query."""

    def check() -> str | None:
        try:
            connection = psycopg2.connect(
                host="127.0.0.1",
                port=port,
                dbname=database,
                user=user,
                password=password(),
                connect_timeout=_TIMEOUT_SECONDS,
            )
        except psycopg2.OperationalError as e:
            return str(e).strip()
        connection.close()
        return None

    return check


def port_problem(port: int) -> str | None:
    """Return why a port of the loopback cannot be listened on, or None when it can."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # macOS lets one bind beside a server that listens on every address: only a connection tells.
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return "is in use by another program"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return "may only be used by the administrator"
        except OSError:
            return "is in use by another program"
    return None
