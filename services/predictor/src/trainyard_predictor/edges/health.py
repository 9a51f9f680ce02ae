"""Health that scores: the golden rows of what is in memory, answered again, and where each alias stands."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.errors import ArtifactError

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard_predictor.edges.model_source import ModelSource

#: How old a look at the golden rows may be; anybody may ask for one, so a deep one has a bound as well.
LOOK_SECONDS, DEEP_SECONDS = 10.0, 1.0
_log = logs.get(__name__)


@dataclass(frozen=True)
class Health:
    """``golden``: every model in memory answers its golden rows; ``models``: where each alias stands."""

    golden: bool
    models: list[dict[str, Any]]


class HealthCheck:
    """Asked by /readyz."""

    def __init__(self, models: ModelSource, clock: Clock) -> None:
        self._models = models
        self._clock = clock
        self._lock = threading.Lock()
        self._looked_at = -LOOK_SECONDS
        self._failed: dict[str, str] = {}

    def __call__(self, *, deep: bool = False) -> Health:
        """Return the health; golden rows are scored again when the last look is older than 10 s, deep: 1 s."""
        with self._lock:
            now = self._clock.monotonic()
            if now - self._looked_at >= (DEEP_SECONDS if deep else LOOK_SECONDS):
                self._looked_at, self._failed = now, self._score()
            failed = self._failed
        shown = [
            {
                "model": one.target.model,
                "asked": one.target.alias or one.target.version,
                "version": one.served.version if one.served else None,
                "seq": one.seq,
                "golden": one.served is not None and one.served.sha256 not in failed,
                "refused": one.refused,
            }
            for one in self._models.standing()
        ]
        return Health(not failed, shown)

    def _score(self) -> dict[str, str]:
        """Return, by SHA-256, why models do not answer their golden rows any more."""
        failed = {}
        for served in {served.sha256: served for _, served in self._models.serving()}.values():
            try:
                served.predictor.self_test()
            except ArtifactError as e:
                failed[served.sha256] = str(e)
                _log.error("model.unsound", error=e, model=served.model, version=served.version)
        return failed
