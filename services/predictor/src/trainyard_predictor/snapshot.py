"""A function whose environments all start from one snapshot of its memory: what it does before that, and after each.

Whatever the snapshot holds, every environment begins with: so what makes a process itself (names, connections,
credentials, the time of the last look) must not be in it, and what each would read first may well be. Prediction ids
come from the system, which makes its random numbers anew.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import ServiceError
from trainyard_predictor import domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.auth import KeyRing
    from trainyard_predictor.edges.beside import Beside
    from trainyard_predictor.edges.freshness import Freshness
    from trainyard_predictor.edges.model_source import ModelSource

_log = logs.get(__name__)


class Snapshot:
    """Called by Lambda's runtime hooks; ``prepare`` also serves whoever starts ahead of the first event.

    Args:
        models: where models come from; those of ``ahead`` are read into the snapshot.
        ring: the API keys.
        freshness: looks for what has moved.
        beside: what is done beside events, under a name of its own.
        forget: closes every connection, and lets go of the credentials.
        ahead: models that are sure to be asked.
    """

    def __init__(
        self,
        models: ModelSource,
        ring: KeyRing,
        freshness: Freshness,
        beside: Beside,
        *,
        forget: Callable[[], None],
        ahead: Sequence[str],
    ) -> None:
        self._models = models
        self._ring = ring
        self._freshness = freshness
        self._beside = beside
        self._forget = forget
        self._ahead = ahead

    def prepare(self) -> None:
        """Import and read what a first event would wait for, and keep no connection. What is away is read later."""
        importlib.import_module("trainyard.model.batches")  # numpy
        self._ring.refresh()
        for name in self._ahead:
            try:
                self._models.get(domain.parse_target(name))
            except ServiceError as e:
                _log.warning("snapshot.without", model=name, reason=str(e))
        self._forget()

    def restore(self) -> None:
        """Become a process of one's own: the next event looks at aliases and keys before it is answered."""
        self._forget()
        self._beside.forget()
        self._freshness.expire()
