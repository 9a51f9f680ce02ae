"""The SDK: one method for each thing that the HTTP API does (docs/api.md), plus waiting and reading lists page by page.

Answers are the API's JSON objects, as dictionaries. Every method raises :class:`~trainyard_client.errors.ApiError` when
the service refuses and :class:`~trainyard_client.errors.UnreachableError` when nobody answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from trainyard.clock import SystemClock
from trainyard_client.areas.batch_jobs import BatchJobs
from trainyard_client.areas.datasets import Datasets
from trainyard_client.areas.models import Models
from trainyard_client.areas.operation import Operation
from trainyard_client.areas.predictions import Predictions
from trainyard_client.areas.rows import Rows
from trainyard_client.areas.sources import Sources
from trainyard_client.transport import Transport

if TYPE_CHECKING:
    import requests

    from trainyard.clock import Clock


class Client(Datasets, Rows, Sources, Models, Predictions, BatchJobs, Operation):
    """All services behind one address.

    Args:
        base_url: address of the router, such as ``http://127.0.0.1:8080``.
        key: API key (``ty_...``).
        timeout: longest wait for an answer in seconds; uploads too, from their last byte.
        clock: for pauses between repeats; tests pass one of their own.
        session: a requests session, for those who bring adapters or certificates.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        timeout: float = 120.0,
        clock: Clock | None = None,
        session: requests.Session | None = None,
    ) -> None:
        clock = clock or SystemClock()
        super().__init__(Transport(base_url, key, clock=clock, timeout=timeout, session=session), clock)

    @property
    def base_url(self) -> str:
        """The address, without a slash at its end."""
        return self._transport.base_url

    def close(self) -> None:
        """Give connections back."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
