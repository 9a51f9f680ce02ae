"""The one place that builds boto3 clients: endpoint, region, timeouts and retries are decided here."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config as BotoConfig

if TYPE_CHECKING:
    from trainyard.config import Config

#: Longest that SQS holds a receive open (20 s), and time for the answer to travel.
_READ_TIMEOUT_SECONDS = {"sqs": 30, "s3": 30, "ec2": 20}
_CONNECT_TIMEOUT_SECONDS = 3
_ATTEMPTS = 3


class AwsClients:
    """boto3 clients of one process, each built at first use and then shared by all threads.

    Credentials come from where boto3 looks for them (environment, instance role) unless both keys are given.
    """

    def __init__(self, config: Config, *, access_key: str | None = None, secret_key: str | None = None) -> None:
        self._endpoint = config.aws_endpoint_url
        self._region = config.aws_region
        self._access_key = access_key
        self._secret_key = secret_key
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    @property
    def sqs(self) -> Any:
        """The SQS client."""
        return self._client("sqs")

    @property
    def s3(self) -> Any:
        """The S3 client."""
        return self._client("s3")

    @property
    def ec2(self) -> Any:
        """The EC2 client."""
        return self._client("ec2")

    def close(self) -> None:
        """Close every connection; a client that is asked for later is built anew."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def _client(self, service: str) -> Any:
        with self._lock:  # building clients from one session is not thread-safe, using them is
            if service not in self._clients:
                if self._session is None:
                    self._session = boto3.session.Session(
                        aws_access_key_id=self._access_key,
                        aws_secret_access_key=self._secret_key,
                        region_name=self._region,
                    )
                self._clients[service] = self._session.client(
                    service, endpoint_url=self._endpoint, config=self._settings(service)
                )
            return self._clients[service]

    def _settings(self, service: str) -> BotoConfig:
        # Few attempts: the callers are loops that come back with their own backoff, and a web request must not hang.
        return BotoConfig(
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            read_timeout=_READ_TIMEOUT_SECONDS[service],
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=32,
            # A named endpoint has no DNS entry for each bucket.
            s3={"addressing_style": "path" if self._endpoint else "auto"},
        )
