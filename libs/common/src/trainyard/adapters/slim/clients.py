"""The one place that puts slim clients together: where the services are, and how a bucket is addressed."""

from __future__ import annotations

from trainyard.adapters.slim.credentials import CredentialSource
from trainyard.adapters.slim.http1 import Address
from trainyard.adapters.slim.s3 import SlimBlobs
from trainyard.adapters.slim.service import Service
from trainyard.adapters.slim.sqs import SlimQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock


class SlimClients:
    """S3 and SQS of one process.

    Args:
        environ: where the credentials are looked for (:mod:`trainyard.adapters.slim.credentials`).
        endpoint: the address of both services (an emulator's); None: AWS itself, in ``region``.
    """

    def __init__(self, environ: Mapping[str, str], *, region: str, endpoint: str | None, clock: Clock) -> None:
        self._credentials = CredentialSource(environ, clock)
        self._region = region
        self._endpoint = endpoint
        self._clock = clock
        self._services: list[Service] = []
        self._domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"

    def blobs(self, bucket: str) -> SlimBlobs:
        """Return the bucket as a blob store."""
        if self._endpoint:
            return SlimBlobs(self._service("s3", self._endpoint), bucket, root=f"/{bucket}")
        host = f"s3.{self._region}.{self._domain}"
        if "." in bucket:  # no certificate holds for more than one name before S3's own
            return SlimBlobs(self._service("s3", f"https://{host}"), bucket, root=f"/{bucket}")
        return SlimBlobs(self._service("s3", f"https://{bucket}.{host}"), bucket, root="")

    def queue(self, name: str) -> SlimQueue:
        """Return the queue of that name or URL."""
        return SlimQueue(self._service("sqs", self._endpoint or f"https://sqs.{self._region}.{self._domain}"), name)

    def close(self) -> None:
        """Close every connection that is kept; a later call opens one anew."""
        for service in self._services:
            service.close()

    def forget(self) -> None:
        """Close every connection and let go of the credentials: this process may be another one by the next call."""
        self.close()
        self._credentials.forget()

    def _service(self, name: str, url: str) -> Service:
        address = Address.of(url.rstrip("/"))
        service = Service(name, address, region=self._region, credentials=self._credentials, clock=self._clock)
        self._services.append(service)
        return service
