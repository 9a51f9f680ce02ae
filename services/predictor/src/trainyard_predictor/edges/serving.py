"""Tells the object store which versions this process answers with, so that a promotion can be waited for."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import TrainyardError
from trainyard.serving_object import BEAT_SECONDS, ServedModel, encode_serving, serving_key

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard_predictor.edges.model_source import ModelSource

_MOST_WORDS = 300
_log = logs.get(__name__)


class ServingNotice:
    """The object of one process; used by one thread. That it cannot be written harms no prediction."""

    def __init__(
        self,
        models: ModelSource,
        blobs: BlobStore,
        clock: Clock,
        environment: str,
        *,
        beat_seconds: float = BEAT_SECONDS,
    ) -> None:
        self._models = models
        self._blobs = blobs
        self._clock = clock
        self._environment = environment
        self._key: str | None = None
        self._said: bytes | None = None
        self._said_at = -beat_seconds
        self._beat_seconds = beat_seconds

    def step(self) -> None:
        """Write the object when something has changed, and again every few seconds."""
        data = encode_serving(
            [
                ServedModel(
                    one.target.model,
                    str(one.target.alias or one.target.version),
                    one.served.version if one.served else None,
                    one.seq,
                    one.refused[:_MOST_WORDS] if one.refused else None,
                )
                for one in self._models.standing()
            ]
        )
        now = self._clock.monotonic()
        if data == self._said and now - self._said_at < self._beat_seconds:
            return
        if self._key is None:  # not before the fork: each process has a name of its own
            host = socket.gethostname().partition(".")[0][:60] or "host"
            self._key = serving_key(self._environment, f"{host}-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            self._blobs.put(self._key, data)
        except TrainyardError as e:
            _log.warning("serving.not_told", reason=str(e))
        else:
            self._said, self._said_at = data, now

    def close(self) -> None:
        """Remove the object: this process answers no more."""
        if self._said is None or self._key is None:
            return
        try:
            self._blobs.delete(self._key)
        except TrainyardError as e:
            _log.warning("serving.not_told", reason=str(e))
