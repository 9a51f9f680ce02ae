"""Which models and versions there are, by the names of the objects in the store.

Only routes that list things ask for it, and ``/invocations`` where no model is named. What was read is believed for
some seconds, and for as long as the store is away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import ALIASES_PREFIX, CATALOGUE_PREFIX, is_name, versions_prefix
from trainyard.errors import TransientError
from trainyard_predictor.domain import CHAMPION

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore

#: How long a list is believed.
FRESH_SECONDS = 5.0
_MOST_LISTS = 1_000
_log = logs.get(__name__)


class Catalogue:
    """The lists of one process; threads may share it."""

    def __init__(self, blobs: BlobStore, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock
        self._read: dict[str, tuple[float, list[str]]] = {}

    def models(self) -> list[str]:
        """Return the names of all models, sorted; raises TransientError when the store has never answered."""
        return [name for name in self._names(CATALOGUE_PREFIX) if is_name(name)]

    def with_champion(self) -> set[str]:
        """Return the names of the models that have a champion; raises as :meth:`models`."""
        end = f"/{CHAMPION}"
        return {name.removesuffix(end) for name in self._names(ALIASES_PREFIX) if name.endswith(end)}

    def versions(self, model: str) -> list[int]:
        """Return the numbers of a model's versions, ascending; raises as :meth:`models`."""
        return sorted(int(name) for name in self._names(versions_prefix(model)) if name.isdecimal())

    def _names(self, prefix: str) -> list[str]:
        """Return what the keys that begin with ``prefix`` have behind it."""
        now = self._clock.monotonic()
        read_at, names = self._read.get(prefix, (None, []))
        if read_at is not None and now - read_at < FRESH_SECONDS:
            return names
        try:
            names = [info.key.removeprefix(prefix) for info in self._blobs.list(prefix)]
        except TransientError as e:
            if read_at is None:
                raise
            _log.warning("catalogue.not_read", prefix=prefix, reason=str(e))
        if len(self._read) >= _MOST_LISTS:
            self._read.clear()
        self._read[prefix] = (now, names)
        return names
