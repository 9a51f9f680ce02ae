"""Where a process without boto3 finds its credentials: the environment, or the endpoint of its container.

Lambda gives them in the environment; where it starts from a snapshot, and on ECS, by an endpoint. Profiles in files and
the instance metadata of EC2 are not read.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from trainyard.adapters.slim.http1 import Address, Connection
from trainyard.adapters.slim.sigv4 import Credentials
from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock

#: How long before their end temporary credentials are asked for anew.
RENEW_BEFORE = timedelta(minutes=5)
_ECS = "http://169.254.170.2"
_MAX_BYTES = 64 * 1024
_SECONDS = 2.0


class CredentialSource:
    """The credentials that ``environ`` leads to, those of an endpoint renewed before they end; safe for threads."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._environ = environ
        self._clock = clock
        self._lock = threading.Lock()
        self._held: Credentials | None = None
        self._until: datetime | None = None

    def get(self) -> Credentials:
        """Return live credentials.

        Raises:
            ConfigError: the environment leads to none.
            TransientError: the endpoint does not answer with any.
        """
        with self._lock:
            if self._held is None or (self._until is not None and self._clock.now() >= self._until - RENEW_BEFORE):
                self._held, self._until = self._read()
            return self._held

    def forget(self) -> None:
        """Read again at the next call: AWS has refused these."""
        with self._lock:
            self._held = self._until = None

    def _read(self) -> tuple[Credentials, datetime | None]:
        environ = self._environ
        access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if access and secret:
            return Credentials(access, secret, environ.get("AWS_SESSION_TOKEN") or None), None
        if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
            return self._from_endpoint(_ECS + relative)
        if full := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            return self._from_endpoint(full)
        raise ConfigError("no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a role")

    def _from_endpoint(self, url: str) -> tuple[Credentials, datetime | None]:
        scheme, _, rest = url.partition("://")
        authority, _, path = rest.partition("/")
        address = Address.of(f"{scheme}://{authority}")
        headers = {"host": address.header, "accept": "application/json"}
        if token := self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"):
            headers["authorization"] = token
        deadline = self._clock.monotonic() + _SECONDS
        try:
            connection = Connection(address, timeout_seconds=_SECONDS)
            try:
                answer = connection.ask(
                    "GET",
                    f"/{path}",
                    headers,
                    b"",
                    most_bytes=_MAX_BYTES,
                    seconds_left=lambda: deadline - self._clock.monotonic(),
                )
            finally:
                connection.close()
        except OSError as e:
            raise TransientError(f"the endpoint of the credentials does not answer: {e}") from e
        if answer.status != 200:
            raise TransientError(f"the endpoint of the credentials answered with status {answer.status}")
        try:
            found = json.loads(answer.body)
            until = datetime.fromisoformat(found["Expiration"]).astimezone(UTC) if "Expiration" in found else None
            return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token")), until
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            # what came may hold a secret, so the message does not repeat it
            raise TransientError("the endpoint of the credentials answered with something else") from e
