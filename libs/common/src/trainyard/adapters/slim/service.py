"""Signed requests to one service, repeated within a deadline while they may still succeed."""

from __future__ import annotations

import os
import threading

from trainyard.adapters.slim.http1 import Answer, Connection
from trainyard.adapters.slim.sigv4 import query_string, signed
from trainyard.errors import ConfigError, TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trainyard.adapters.slim.credentials import CredentialSource
    from trainyard.adapters.slim.http1 import Address
    from trainyard.clock import Clock

#: How long one call may take with its repetitions; how long one attempt waits for a connection, and for the next byte.
CALL_SECONDS = 10.0
CONNECT_SECONDS = 1.0
SILENCE_SECONDS = 3.0
ATTEMPTS = 3
#: Longest body of an answer.
MAX_BYTES = 512 * 1024 * 1024
_PAUSE_SECONDS = 0.05
_KEPT = 4
_REPEATED = {429, 500, 502, 503, 504}
_EXPIRED = (b"ExpiredToken", b"InvalidToken", b"InvalidClientTokenId")


class ServerFaultError(TransientError):
    """The service did answer, each time with an error of its own."""


class Service:
    """One service of AWS at one address; threads may share it, each call has a connection to itself."""

    def __init__(
        self, name: str, address: Address, *, region: str, credentials: CredentialSource, clock: Clock
    ) -> None:
        self._name = name
        self._address = address
        self._region = region
        self._credentials = credentials
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Iterable[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        seconds: float = CALL_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> Answer:
        """Return the answer, whatever its status below 500 is.

        A request whose answer was lost is sent again: it must do no harm twice.

        Raises:
            TransientError: no answer came in ``seconds``, nor in ATTEMPTS of which each ends once nothing has come for
                ``silence_seconds``; ServerFaultError: none came but errors of the service.
            ConfigError: there are no credentials, or the service sends us to another place.
        """
        deadline = self._clock.monotonic() + seconds
        encoded = query_string(query)
        failure, answered = "", False
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = _PAUSE_SECONDS * 4 ** (attempt - 1) * (1 + os.urandom(1)[0] / 256)
                if self._clock.monotonic() + pause >= deadline:
                    break
                self._clock.sleep(pause)
            try:
                answer = self._attempt(
                    method,
                    path,
                    query=encoded,
                    headers=headers or {},
                    body=body,
                    deadline=deadline,
                    silence_seconds=silence_seconds,
                )
            except OSError as e:
                failure, answered = str(e) or type(e).__name__, False
                continue
            if 300 <= answer.status < 400 and answer.status != 304:
                region = answer.headers.get("x-amz-bucket-region", "another place")
                raise ConfigError(f"{self._name} in {self._region} sends us to {region}: set AWS_REGION to it")
            if answer.status in {400, 403} and any(word in answer.body for word in _EXPIRED):
                self._credentials.forget()
            elif answer.status not in _REPEATED:
                return answer
            failure, answered = f"status {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}", True
        kind = ServerFaultError if answered else TransientError
        raise kind(f"{self._name} does not answer: {failure or 'no time left'}")

    def close(self) -> None:
        """Close what is kept open; the next call opens anew."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _attempt(
        self,
        method: str,
        path: str,
        *,
        query: str,
        headers: Mapping[str, str],
        body: bytes,
        deadline: float,
        silence_seconds: float,
    ) -> Answer:
        all_headers = signed(
            self._credentials.get(),
            method,
            path,
            query=query,
            headers={"host": self._address.header, **headers},
            body=body,
            region=self._region,
            service=self._name,
            at=self._clock.now(),
        )
        target = f"{path}?{query}" if query else path
        connection = self._connection(deadline)
        try:
            answer = connection.ask(
                method,
                target,
                all_headers,
                body,
                most_bytes=MAX_BYTES,
                seconds_left=lambda: min(silence_seconds, deadline - self._clock.monotonic()),
            )
        except BaseException:
            connection.close()
            raise
        with self._lock:
            keep = connection.reusable and len(self._idle) < _KEPT
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        return answer

    def _connection(self, deadline: float) -> Connection:
        """Return an open connection: one that is kept, if the other side has not closed it meanwhile."""
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                left = deadline - self._clock.monotonic()
                return Connection(self._address, timeout_seconds=max(0.001, min(CONNECT_SECONDS, left)))
            if connection.reusable:
                return connection
            connection.close()
