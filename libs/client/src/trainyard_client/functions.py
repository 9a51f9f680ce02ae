"""Lambda functions that answer predictions in the services' stead: one for all models, or one for a model alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from trainyard_client.transport import Transport


@dataclass(frozen=True)
class Functions:
    """Where the functions are, and how they know who asks.

    Attributes:
        shared: URL of the function that answers for all models.
        own: URLs of functions that answer for one model alone, by its name.
        signature: what signs the requests to a URL; None: they carry the API key.
    """

    shared: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    signature: Callable[[str], requests.auth.AuthBase] | None = None


class Predictors:
    """Who answers predictions for a model, each asked over connections of its own."""

    def __init__(self, functions: Functions, services: Transport) -> None:
        self._functions = functions
        self._services = services
        self._made: dict[str, Transport] = {}

    def of(self, model: str) -> Transport:
        """Return the transport to the model's function, else to that of all models, else to the services."""
        url = self._functions.own.get(model) or self._functions.shared
        if url is None:
            return self._services
        if url not in self._made:
            sign = self._functions.signature
            self._made[url] = self._services.twin(url, None if sign is None else sign(url))
        return self._made[url]

    def close(self) -> None:
        """Give the functions' connections back."""
        for transport in self._made.values():
            transport.close()
