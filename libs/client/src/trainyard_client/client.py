"""The SDK: one method for each thing that the HTTP API does (docs/api.md), plus waiting and reading lists page by page.

Answers are the API's JSON objects, as dictionaries. Every method raises :class:`~trainyard_client.errors.ApiError` when
the service refuses and :class:`~trainyard_client.errors.UnreachableError` when nobody answers.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from trainyard import config
from trainyard.clock import SystemClock
from trainyard_client.areas.batch_jobs import BatchJobs
from trainyard_client.areas.datasets import Datasets
from trainyard_client.areas.models import Models
from trainyard_client.areas.operation import Operation
from trainyard_client.areas.predictions import Predictions
from trainyard_client.areas.rows import Rows
from trainyard_client.areas.sources import Sources
from trainyard_client.functions import Functions, Predictors
from trainyard_client.reaching import Wanted, reached
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
        functions: Lambda functions that answer predictions in the services' stead.
        attempts: how often a request is sent at most, where a repeat may help and cannot harm.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        timeout: float = 120.0,
        clock: Clock | None = None,
        session: requests.Session | None = None,
        functions: Functions | None = None,
        attempts: int = 6,
    ) -> None:
        clock = clock or SystemClock()
        transport = Transport(base_url, key, clock=clock, timeout=timeout, session=session, attempts=attempts)
        super().__init__(transport, clock, Predictors(functions or Functions(), transport))
        #: What has to stay open for as long as the client does.
        self._way = ExitStack()

    @classmethod
    def connect(
        cls, env: str | None = None, *, url: str | None = None, key: str | None = None, timeout: float = 120.0
    ) -> Self:
        """Return a client of whatever the command line would talk to here; close it.

        >>> with Client.connect("prod") as client:
        ...     client.model("late")

        Args:
            env: an environment of ``trainyard env``; ``local`` is the stack on this machine. Without one it is what
                TRAINYARD_URL says, else the environment in use, else the stack on this machine.
            url, key: an address, and a key, instead.

        Raises:
            ClientError: there is no such environment, or no way to it.
            trainyard.errors.ConfigError: a variable of the environment holds what it cannot.
        """
        environ = os.environ  # noqa: TID251 - whoever calls this asks for the environment's settings
        with ExitStack() as stack:
            found = stack.enter_context(reached(config.load(environ), environ, Wanted(url, key, env)))
            client = cls(found.url, found.key, timeout=timeout, functions=found.functions)
            client._way = stack.pop_all()
        return client

    @property
    def base_url(self) -> str:
        """The address, without a slash at its end."""
        return self._transport.base_url

    def close(self) -> None:
        """Give connections back."""
        self._transport.close()
        self._predictors.close()
        self._way.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
