"""Models from the object store, held ready in memory and kept current without any request waiting for it.

A request finds its model in a dictionary. Only the first request for a model reads the store; from then on
:meth:`ModelSource.refresh`, called by a timer, follows the pointer object. Whatever goes wrong there (store away, bad
pointer, bad artifact), the last good version goes on serving.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import VERSION_ALIAS, alias_key, decode_alias, model_key, version_key
from trainyard.auth import KEYS_OBJECT
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ArtifactError, ServiceError, TransientError
from trainyard.frozen import dataclass
from trainyard.model import Predictor, decode
from trainyard.schema import Schema
from trainyard_predictor.domain import CHAMPION, Target
from trainyard_predictor.use_cases import Served

if TYPE_CHECKING:
    from trainyard.alias_object import AliasObject
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore

#: Artifacts held at once, in bytes of their files; in memory a model takes a small multiple of that.
CACHE_BYTES = 256 * 1024 * 1024
#: How long "there is no such model" is believed without asking again.
ABSENT_SECONDS = 0.5
#: How long a store that did not answer is left alone by requests.
AWAY_SECONDS = 0.5
#: After how long an artifact that was refused is read once more: somebody may have repaired it.
RETRY_SECONDS = 30.0
#: How long a pointer object may be missing before its model stops being served. A store that lost its objects gets
#: them back from the scheduler within 2 s; an alias or model that was deleted stays away.
MISSING_SECONDS = 10.0
_VERSION_CHECK_SECONDS = 30.0
_MOST_ABSENT = 1_000
_LOCKS = 16
_LOCK_SECONDS = 5.0
_log = logs.get(__name__)


@dataclass
class _Entry:
    """What is known about one target. ``seen`` is the etag of the last pointer that was judged, good or bad."""

    served: Served | None = None
    pointer: AliasObject | None = None
    seen: str | None = None
    refused: str | None = None
    retry_at: float | None = None
    missing_since: float | None = None
    checked_at: float = 0.0
    used_at: float = 0.0


class ModelSource:
    """The models of one process. ``errors`` counts by kind what was survived: pointer, artifact, store."""

    def __init__(self, blobs: BlobStore, clock: Clock, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._blobs = blobs
        self._clock = clock
        self._cache_bytes = cache_bytes
        self._entries: dict[Target, _Entry] = {}
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

    def serving(self) -> list[tuple[Target, Served]]:
        """Return what is in memory now."""
        return [(target, entry.served) for target, entry in list(self._entries.items()) if entry.served is not None]

    def refresh(self) -> bool:
        """Look at the pointer of every known target once; return False when the store does not answer."""
        with self._refresh_lock:
            for target, entry in list(self._entries.items()):
                now = self._clock.monotonic()
                if entry.served is None and entry.refused is None:
                    continue  # let go to make room: the next request reads it again
                # a version's object never changes, so it is looked at for its disappearance only
                if target.version is not None and entry.served and now - entry.checked_at < _VERSION_CHECK_SECONDS:
                    continue
                with self._locks[hash(target) % _LOCKS]:
                    try:
                        self._follow(target, entry)
                    except TransientError as e:
                        self.errors["store"] += 1
                        _log.warning("alias.not_checked", target=target, reason=str(e))
                        return False
            return True

    # --- the first request for a target ---

    def _look_up(self, target: Target) -> Served:
        self._raise_if_absent(target)
        lock = self._locks[hash(target) % _LOCKS]
        if not lock.acquire(timeout=_LOCK_SECONDS):
            raise ServiceError("unavailable", "the object store is slow to answer; try again", retry_after_seconds=1)
        try:
            self._raise_if_absent(target)  # somebody else may have looked meanwhile
            entry = self._entries.get(target) or _Entry()
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

    def _load_first(self, target: Target, entry: _Entry) -> None:
        now = self._clock.monotonic()
        if entry.retry_at is not None and now < entry.retry_at:
            return
        if now < self._away_until:
            raise ServiceError("unavailable", "the object store does not answer", retry_after_seconds=1)
        try:
            entry.seen = None
            self._follow(target, entry)
            if entry.missing_since is not None:
                self._remember_absent(target, self._absence(target))
        except TransientError as e:
            self.errors["store"] += 1
            self._away_until = self._clock.monotonic() + AWAY_SECONDS
            _log.warning("model.not_read", target=target, reason=str(e))
            raise ServiceError("unavailable", "the object store does not answer", retry_after_seconds=1) from e
        self._entries[target] = entry

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

    def _follow(self, target: Target, entry: _Entry) -> None:
        """Bring ``entry`` to what the pointer says now, if that is sound; raises TransientError."""
        now = self._clock.monotonic()
        again = entry.retry_at is not None and now >= entry.retry_at
        key = alias_key(target.model, target.alias) if target.alias else version_key(target.model, target.version or 0)
        try:
            blob = self._blobs.get_if_changed(key, None if again else entry.seen)
        except BlobMissingError:
            self._missing(target, entry, now)
            return
        entry.missing_since, entry.checked_at = None, now
        if blob is None:
            return
        try:
            pointer = _sound_pointer(blob.data, target, entry.pointer)
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
        entry.served, entry.pointer, entry.seen = served, pointer, blob.etag
        entry.refused = entry.retry_at = None
        entry.used_at = now
        if before != served.version:
            _log.info("model.serving", target=target, version=served.version, before=before, sha256=served.sha256)
        self._make_room(entry)

    def _missing(self, target: Target, entry: _Entry, now: float) -> None:
        if entry.missing_since is None:
            entry.missing_since = now
            if entry.served:
                _log.warning("alias.missing", target=target, serving=entry.served.version)
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
        if pointer.size > self._cache_bytes:
            raise ArtifactError("too_large", f"an artifact of {pointer.size:,} bytes is over the limit")
        data = self._blobs.get(pointer.key).data
        if len(data) != pointer.size:
            raise ArtifactError("bad_size", f"the artifact has {len(data)} bytes, its alias says {pointer.size}")
        if hashlib.sha256(data).hexdigest() != pointer.sha256:
            raise ArtifactError("bad_sha256", "the artifact's SHA-256 is not the one that its alias says")
        model = decode(data)
        if model.name != pointer.model:
            raise ArtifactError("other_model", f"the artifact is of the model {model.name!r}")
        predictor = Predictor(model)
        predictor.self_test()
        features = Schema(model.schema.features)
        return Served(pointer.model, pointer.version, pointer.sha256, len(data), predictor, features)

    def _make_room(self, keep: _Entry) -> None:
        """Let go of the models that were asked least recently until the rest fits; the store still has them."""
        held = [entry for entry in list(self._entries.values()) if entry.served is not None and entry is not keep]
        held.sort(key=lambda entry: entry.used_at)
        sizes = {entry.served.sha256: entry.served.size for entry in [*held, keep] if entry.served}
        while held and sum(sizes.values()) > self._cache_bytes:
            out = held.pop(0)
            gone, out.served = out.served, None
            still = {entry.served.sha256 for entry in [*held, keep] if entry.served}
            if gone is not None and gone.sha256 not in still:
                del sizes[gone.sha256]


def _sound_pointer(data: bytes, target: Target, last: AliasObject | None) -> AliasObject:
    """Read a pointer object; ValueError when it is not the target's, or older than the one that was followed last."""
    pointer = decode_alias(data)
    if pointer.model != target.model or pointer.alias != (target.alias or VERSION_ALIAS):
        raise ValueError(f"the object of {target} is that of {pointer.model}@{pointer.alias}")
    if target.version is not None and pointer.version != target.version:
        raise ValueError(f"the object of {target} names version {pointer.version}")
    if last is not None and pointer.seq < last.seq:
        raise ValueError(f"{target} went back from seq {last.seq} to {pointer.seq}")
    if last is not None and pointer.seq == last.seq and pointer.sha256 != last.sha256:
        raise ValueError(f"{target} moved without a new seq ({pointer.seq})")
    return pointer
