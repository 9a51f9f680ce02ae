"""Where a process without boto3 finds its credentials: the environment, its container's endpoint, or its instance's.

Lambda gives them in the environment; where it starts from a snapshot, and on ECS, by an endpoint; EC2 by the instance
metadata. Profiles in files are not read.
"""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

from trainyard.adapters.slim.http1 import Address, Connection
from trainyard.adapters.slim.sigv4 import Credentials, quoted
from trainyard.errors import ConfigError, TransientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock

#: How long before their end temporary credentials are asked for anew.
RENEW_BEFORE = timedelta(minutes=5)
_ECS = "http://169.254.170.2"
_INSTANCE = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
_NONE = "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give a role"
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
            TransientError: an endpoint does not answer with any, or there is none of an instance.
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
            return self._from_container(_ECS, relative)
        if full := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
            scheme, _, rest = full.partition("://")
            authority, _, path = rest.partition("/")
            return self._from_container(f"{scheme}://{authority}", f"/{path}")
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true":
            return self._from_instance(environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _INSTANCE)
        raise ConfigError(_NONE)

    def _from_container(self, url: str, path: str) -> tuple[Credentials, datetime | None]:
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        return _credentials(self._ask(url, "GET", path, {"authorization": token} if token else {}))

    def _from_instance(self, url: str) -> tuple[Credentials, datetime | None]:
        """Ask the metadata service of EC2, version 2: for a session, the name of the role, and its credentials."""
        url = url.rstrip("/")
        try:
            session = self._ask(url, "PUT", "/latest/api/token", {"x-aws-ec2-metadata-token-ttl-seconds": "300"})
        except TransientError as e:  # there is no such service, or it is not there yet
            raise TransientError(f"{_NONE} ({e})") from e
        headers = {"x-aws-ec2-metadata-token": session.decode("ascii", "replace")}
        role = self._ask(url, "GET", _ROLES, headers).decode("ascii", "replace").partition("\n")[0]
        return _credentials(self._ask(url, "GET", _ROLES + quoted(role), headers))

    def _ask(self, url: str, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        """Return the body of the answer; raises TransientError when it is not 200."""
        address = Address.of(url)
        deadline = self._clock.monotonic() + _SECONDS
        try:
            connection = Connection(address, timeout_seconds=_SECONDS)
            try:
                answer = connection.ask(
                    method,
                    path,
                    {"host": address.header, **headers},
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
        return answer.body


def _credentials(document: bytes) -> tuple[Credentials, datetime | None]:
    try:
        found = json.loads(document)
        until = datetime.fromisoformat(found["Expiration"]).astimezone(UTC) if "Expiration" in found else None
        return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found.get("Token")), until
    except (ValueError, KeyError, TypeError, AttributeError):
        # what came may hold a secret, so neither the message nor its cause repeats it
        raise TransientError("the endpoint of the credentials answered with something else") from None
