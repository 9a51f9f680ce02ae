"""Models from the object store, held ready in memory and kept current without any request waiting for it.

A request finds its model in a dictionary. Only the first request for a model reads the store; from then on
:meth:`ModelSource.refresh`, called by a timer, follows the pointer object. Whatever goes wrong there (store away, bad
pointer, bad artifact), the last good version goes on serving. A process that has none yet, because it was not asked
before, takes the version that was champion before: it answers like those that were there.

The timer also follows what stands beside a champion that is asked: the aliases ``challenger`` and ``shadow`` of its
model. No request ever waits for those.
"""

from __future__ import annotations

import threading
from collections import Counter
from functools import lru_cache

from trainyard import logs
from trainyard.alias_object import alias_key, model_key, version_key
from trainyard.auth import KEYS_OBJECT
from trainyard.contracts.blobs import BlobMissingError
from trainyard.crashpoints import crashpoint, step
from trainyard.errors import ArtifactError, ServiceError, TransientError
from trainyard_predictor.domain import CHALLENGER, CHAMPION, PREVIOUS, SHADOW, Target
from trainyard_predictor.edges.artifacts import load_artifact
from trainyard_predictor.edges.entries import RETRY_SECONDS, Entry, Standing, make_room, sound_pointer
from trainyard_predictor.use_cases import Served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from trainyard.alias_object import AliasObject
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore

#: Artifacts held at once, in bytes of their files; in memory a model takes a small multiple of that.
CACHE_BYTES = 256 * 1024 * 1024
#: How long "there is no such model" is believed without asking again.
ABSENT_SECONDS = 0.5
#: How long a store that did not answer is left alone by requests.
AWAY_SECONDS = 0.5
#: How long a pointer object may be missing before its model stops being served. A store that lost its objects gets
#: them back from the scheduler within 2 s; an alias or model that was deleted stays away.
MISSING_SECONDS = 10.0
_VERSION_CHECK_SECONDS = 30.0
#: How often the aliases beside a champion are looked for: there are none for most models.
_BESIDE_SECONDS = 2.0
_BESIDE = (CHALLENGER, SHADOW)
_MOST_ABSENT = 1_000
_LOCKS = 16
_LOCK_SECONDS = 5.0
_log = logs.get(__name__)


class ModelSource:
    """The models of one process. ``errors`` counts by kind what was survived: pointer, artifact, store.

    Args:
        cache_bytes: most bytes of artifacts that are held at once.
        only: the models that are served; empty: every one.
    """

    def __init__(
        self, blobs: BlobStore, clock: Clock, *, cache_bytes: int = CACHE_BYTES, only: Collection[str] = ()
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._cache_bytes = cache_bytes
        self._only = frozenset(only)
        self._entries: dict[Target, Entry] = {}
        self._absent: dict[Target, tuple[float, ServiceError]] = {}
        self._away_until = -1.0
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._refresh_lock = threading.Lock()
        self.errors: Counter[str] = Counter()

    def get(self, target: Target) -> Served:
        """Return the version to ask.

        Raises:
            ServiceError: ``unknown_model``, ``unknown_alias``, ``unknown_version``, ``no_model`` (no champion yet), or
                ``unavailable`` when the store does not answer or the version cannot be loaded and none was before it.
        """
        entry = self._entries.get(target)
        served = entry.served if entry is not None else None
        if entry is None or served is None:
            return self._look_up(target)
        entry.used_at = self._clock.monotonic()
        return served

    def holds(self, target: Target) -> bool:
        """Tell whether a request for the target would not have to read the store."""
        entry = self._entries.get(target)
        return entry is not None and entry.served is not None

    def beside(self, model: str, alias: str) -> tuple[Served, float] | None:
        """Return what the alias of a model whose champion is asked points at, with its weight; None: nothing yet.

        It never reads the store, and an alias whose object is gone counts no more at once.
        """
        entry = self._entries.get(_beside(model, alias))
        if entry is None or entry.missing_since is not None:
            return None
        served, pointer = entry.served, entry.pointer
        if served is None or pointer is None:
            return None
        entry.used_at = self._clock.monotonic()
        return served, pointer.weight

    def standing(self) -> list[Standing]:
        """Return where every target stands that is followed and has something to tell."""
        return [
            Standing(target, entry.served, entry.pointer.seq if entry.pointer else None, entry.refused)
            for target, entry in list(self._entries.items())
            if entry.served is not None or entry.refused is not None
        ]

    def serving(self) -> list[tuple[Target, Served]]:
        """Return what is in memory now."""
        return [(target, entry.served) for target, entry in list(self._entries.items()) if entry.served is not None]

    def refresh(self) -> bool:
        """Look at the pointer of every known target once; return False when the store does not answer."""
        with self._refresh_lock:
            self._attend()
            for target, entry in list(self._entries.items()):
                if not self._due(target, entry):
                    continue
                with self._locks[hash(target) % _LOCKS]:
                    try:
                        self._follow(target, entry)
                    except TransientError as e:
                        self.errors["store"] += 1
                        _log.warning("alias.not_checked", target=target, reason=str(e))
                        return False
            return True

    def _due(self, target: Target, entry: Entry) -> bool:
        now = self._clock.monotonic()
        if entry.beside:
            return now - entry.checked_at >= _BESIDE_SECONDS
        if entry.served is None and entry.refused is None:
            return False  # let go to make room: the next request reads it again
        # a version's object never changes, so it is looked at for its disappearance only
        return target.version is None or not entry.served or now - entry.checked_at >= _VERSION_CHECK_SECONDS

    def _attend(self) -> None:
        """Follow what stands beside each champion that is held, and let go of what stands beside none any more."""
        champions = {t.model for t, entry in list(self._entries.items()) if t.alias == CHAMPION and entry.served}
        for target, entry in list(self._entries.items()):
            if entry.beside and target.model not in champions:
                self._entries.pop(target, None)
        for model in champions:
            for alias in _BESIDE:
                self._entries.setdefault(_beside(model, alias), Entry(beside=True, checked_at=-_BESIDE_SECONDS))

    # --- the first request for a target ---

    def _look_up(self, target: Target) -> Served:
        if self._only and target.model not in self._only:
            raise ServiceError("unknown_model", f"the model {target.model!r} is not one of those served here")
        self._raise_if_absent(target)
        lock = self._locks[hash(target) % _LOCKS]
        if not lock.acquire(timeout=_LOCK_SECONDS):
            raise ServiceError("unavailable", "the object store is slow to answer; try again", retry_after_seconds=1)
        try:
            self._raise_if_absent(target)  # somebody else may have looked meanwhile
            entry = self._entries.get(target) or Entry()
            if entry.served is None:
                self._load_first(target, entry)
            if entry.served is None:
                raise ServiceError(
                    "unavailable", f"{target} cannot be loaded: {entry.refused}; see the log", retry_after_seconds=5
                )
            entry.used_at = self._clock.monotonic()
            return entry.served
        finally:
            lock.release()

    def _load_first(self, target: Target, entry: Entry) -> None:
        now = self._clock.monotonic()
        refused = entry.retry_at is not None and now < entry.retry_at
        if refused and entry.pointer is None:
            return
        if now < self._away_until:
            raise ServiceError("unavailable", "the object store does not answer", retry_after_seconds=1)
        try:
            if not refused:
                entry.seen = None
                self._follow(target, entry)
            if entry.served is None and entry.refused is not None:
                self._stand_in(target, entry, now)
            if entry.missing_since is not None:
                self._remember_absent(target, self._absence(target))
        except TransientError as e:
            self.errors["store"] += 1
            self._away_until = self._clock.monotonic() + AWAY_SECONDS
            _log.warning("model.not_read", target=target, reason=str(e))
            raise ServiceError("unavailable", "the object store does not answer", retry_after_seconds=1) from e
        self._entries[target] = entry

    def _stand_in(self, target: Target, entry: Entry, now: float) -> None:
        """Have an older version answer until what the alias says is sound; raises TransientError.

        That is the last good one of this process, if it was let go of to make room; else what was champion before.
        """
        pointer = entry.pointer
        try:
            if pointer is None and target.alias == CHAMPION:
                before = Target(target.model, PREVIOUS, None)
                pointer = sound_pointer(self._blobs.get(alias_key(before.model, PREVIOUS)).data, before, None)
            if pointer is None:
                return
            served = self._load(pointer)
        except (ValueError, ArtifactError, BlobMissingError, ServiceError) as e:
            _log.error("model.no_stand_in", target=target, reason=str(e))
            return
        entry.served, entry.used_at = served, now
        _log.error("model.stands_in", target=target, version=served.version, reason=entry.refused)
        make_room(list(self._entries.values()), entry, most_bytes=self._cache_bytes, now=now)

    def _absence(self, target: Target) -> ServiceError:
        """Return why there is nothing under a target: no such model, or no such thing in the model."""
        try:
            self._blobs.get(model_key(target.model))
        except BlobMissingError:
            return ServiceError("unknown_model", f"there is no model {target.model!r}")
        if target.version is not None:
            return ServiceError("unknown_version", f"model {target.model!r} has no version {target.version}")
        if target.alias != CHAMPION:
            return ServiceError("unknown_alias", f"model {target.model!r} has no alias {target.alias!r}")
        return ServiceError("no_model", f"model {target.model!r} has no champion yet")

    def _remember_absent(self, target: Target, error: ServiceError) -> None:
        if len(self._absent) >= _MOST_ABSENT:
            self._absent.clear()
        self._absent[target] = (self._clock.monotonic() + ABSENT_SECONDS, error)
        raise error

    def _raise_if_absent(self, target: Target) -> None:
        until, error = self._absent.get(target, (-1.0, None))
        if error is not None and self._clock.monotonic() < until:
            raise ServiceError(error.code, error.message)

    # --- following a pointer; the caller holds the target's lock ---

    def _follow(self, target: Target, entry: Entry) -> None:
        """Bring ``entry`` to what the pointer says now, if that is sound; raises TransientError."""
        now = self._clock.monotonic()
        again = entry.retry_at is not None and now >= entry.retry_at
        key = alias_key(target.model, target.alias) if target.alias else version_key(target.model, target.version or 0)
        try:
            with step("K33"):
                blob = self._blobs.get_if_changed(key, None if again else entry.seen)
        except BlobMissingError:
            self._missing(target, entry, now)
            return
        entry.missing_since, entry.checked_at = None, now
        if blob is None:
            return
        try:
            pointer = sound_pointer(blob.data, target, entry.pointer)
            served = self._load(pointer)
        except (ValueError, ArtifactError, BlobMissingError, ServiceError) as e:
            self.errors["pointer" if isinstance(e, ValueError) else "artifact"] += 1
            if entry.refused != str(e):
                _log.error("model.refused", error=e, target=target, serving=entry.served and entry.served.version)
            # an artifact is written before its pointer, so one that is missing will be there any moment
            wait = 0.0 if isinstance(e, BlobMissingError) else RETRY_SECONDS
            entry.refused, entry.retry_at, entry.seen = str(e), now + wait, blob.etag
            return
        before = entry.served and entry.served.version
        crashpoint("K36")
        entry.served, entry.pointer, entry.seen = served, pointer, blob.etag
        entry.refused = entry.retry_at = None
        entry.used_at = now
        if before != served.version:
            _log.info("model.serving", target=target, version=served.version, before=before, sha256=served.sha256)
        make_room(list(self._entries.values()), entry, most_bytes=self._cache_bytes, now=now)

    def _missing(self, target: Target, entry: Entry, now: float) -> None:
        entry.checked_at = now
        if entry.missing_since is None:
            entry.missing_since = now
            if entry.served:
                _log.warning("alias.missing", target=target, serving=entry.served.version)
        elif entry.beside and entry.served is None:
            return
        elif now - entry.missing_since >= MISSING_SECONDS and not self._store_is_bare():
            self._entries.pop(target, None)
            _log.info("model.dropped", target=target)

    def _store_is_bare(self) -> bool:
        """Tell whether the store has lost even the API keys: then what is in memory is all there is, and stays."""
        try:
            self._blobs.get(KEYS_OBJECT)
        except BlobMissingError:
            return True
        return False

    def _load(self, pointer: AliasObject) -> Served:
        """Return the artifact ready to answer, taken from memory when another target has it.

        Raises:
            ArtifactError, ServiceError: it is not what the pointer says, or not a sound model.
            BlobMissingError: it is not there.
        """
        for _, served in self.serving():
            if (served.model, served.sha256) == (pointer.model, pointer.sha256):
                return Served(
                    pointer.model, pointer.version, served.sha256, served.size, served.predictor, served.features
                )
        return load_artifact(self._blobs, pointer, most_bytes=self._cache_bytes)


@lru_cache(maxsize=1_000)
def _beside(model: str, alias: str) -> Target:
    return Target(model, alias, None)
