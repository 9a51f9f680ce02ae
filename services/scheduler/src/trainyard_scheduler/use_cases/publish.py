"""What the database says, written to the blob store for services without a database: models and API keys."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from trainyard import auth, logs
from trainyard.alias_object import AliasObject, alias_key, encode_alias, model_key, version_key, version_object
from trainyard.clock import SystemClock
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.scheduling import Store

PREFIXES = ("aliases/", "catalogue/", "versions/")
#: How long an answer waits for the objects of its change.
_PATIENCE_SECONDS = 1.0
_log = logs.get(__name__)


class Every:
    """Tells whether it is time for a look at what nobody tells of: the first time, and every ``seconds`` after that."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next: float | None = None

    def __call__(self) -> bool:
        """Return whether a look is due; then the next one is due ``seconds`` later."""
        now = self._clock.monotonic()
        if self._next is not None and now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _always() -> bool:
    return True


class ModelPublisher:
    """Keeps the objects of models, versions and aliases (trainyard.alias_object) equal to the database.

    A listing for each kind tells by its etags what differs, so an unchanged object costs no request of its own.
    Foreign overwrites, a lost object and a lost bucket show up in the next listing. Listings cost money: while the
    database says what it said when all objects were right, there is one only when ``due`` says so.
    """

    def __init__(self, store: Store, blobs: BlobStore, due: Callable[[], bool] = _always) -> None:
        self._store = store
        self._blobs = blobs
        self._due = due
        self._written: dict[str, tuple[bytes, str]] = {}
        self._right: dict[str, bytes] | None = None

    def step(self) -> int:
        """Write and delete what differs; return how many objects."""
        wanted = self._wanted()
        if not self._due() and wanted == self._right:
            return 0
        self._right = None
        found = {info.key: info.etag for prefix in PREFIXES for info in self._blobs.list(prefix)}
        different = [key for key, data in wanted.items() if not self._stands(key, data, found.get(key))]
        surplus = [key for key in found if key not in wanted]
        if not different and not surplus:
            self._right = wanted
            return 0
        # An alias may have moved, or a model come into being, since the first look: what is written is what holds now.
        wanted = self._wanted()
        for key in different:
            if key in wanted:
                self._written[key] = (wanted[key], self._blobs.put(key, wanted[key]))
                _log.info("object.published", key=key)
        for key in surplus:
            if key not in wanted:
                self._blobs.delete(key)
                _log.info("object.unpublished", key=key)
        self._written = {key: value for key, value in self._written.items() if key in wanted}
        return len(different) + len(surplus)

    def _wanted(self) -> dict[str, bytes]:
        with self._store.begin() as records:
            models = records.models.names()
            versions = records.versions.published_versions()
            aliases = records.versions.published()
        wanted = {model_key(name): b"" for name in models}
        for v in versions:
            wanted[version_key(v.model, v.version)] = encode_alias(version_object(v.model, v.version, v.sha256, v.size))
        for a in aliases:
            wanted[alias_key(a.model, a.alias)] = encode_alias(
                AliasObject(a.model, a.alias, a.version, a.key, a.sha256, a.size, a.weight, a.seq)
            )
        return wanted

    def _stands(self, key: str, data: bytes, etag: str | None) -> bool:
        if etag is None:
            return False
        if self._written.get(key) == (data, etag):
            return True
        try:
            blob = self._blobs.get(key)
        except BlobMissingError:
            return False
        if blob.data != data:
            return False
        self._written[key] = (data, blob.etag)
        return True


class KeyPublisher:
    """Keeps the object with the live API keys equal to the database; ``due`` as for the models."""

    def __init__(self, store: Store, blobs: BlobStore, due: Callable[[], bool] = _always) -> None:
        self._store = store
        self._blobs = blobs
        self._due = due
        self._written: tuple[bytes, str] | None = None

    def step(self) -> bool:
        """Write the object if it differs; return whether it did."""
        with self._store.begin() as records:
            data = auth.encode_keys(records.keys.live())
        known = self._written is not None and self._written[0] == data
        if (not self._due() and known) or self._stands(data):
            return False
        self._written = (data, self._blobs.put(auth.KEYS_OBJECT, data))
        _log.info("keys.published")
        return True

    def _stands(self, data: bytes) -> bool:
        known = self._written[1] if self._written is not None and self._written[0] == data else None
        try:
            blob = self._blobs.get_if_changed(auth.KEYS_OBJECT, known)
        except BlobMissingError:
            return False
        if blob is None:
            return True
        if blob.data != data:
            return False
        self._written = (data, blob.etag)
        return True


class Publisher:
    """Both of the above in turn; may be called from many threads.

    Args:
        look_seconds: how often objects are compared with the database though nothing changed there; 0: each time.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, *, look_seconds: float = 0.0, clock: Clock | None = None
    ) -> None:
        clock = clock or SystemClock()
        self._keys = KeyPublisher(store, blobs, Every(look_seconds, clock))
        self._models = ModelPublisher(store, blobs, Every(look_seconds, clock))
        self._turn = threading.Lock()

    def step(self) -> None:
        """Write what differs."""
        with self._turn:
            self._keys.step()
            self._models.step()


class Hurry:
    """Publishes now, for callers who are about to use what they changed; what fails or takes longer the loop does.

    One thread at a time publishes, for all who asked before it began. What was changed is committed already, so
    nothing that happens here is the caller's failure.
    """

    def __init__(self, publish: Callable[[], object], *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._publish = publish
        self._patience_seconds = patience_seconds
        self._changed = threading.Condition()
        self._asked = self._done = 0
        self._working = False

    def __call__(self) -> bool:
        """Publish what differs; return whether that was over in time. Waits for ``patience_seconds`` at most."""
        with self._changed:
            self._asked += 1
            mine = self._asked
            if not self._working and not self._start():
                return False
            return self._changed.wait_for(lambda: self._done >= mine, self._patience_seconds)

    def _start(self) -> bool:
        try:
            threading.Thread(target=self._work, name="hurry", daemon=True).start()
        except RuntimeError as e:  # no more threads, or the process is about to end
            _log.warning("publish.postponed", reason=str(e))
            return False
        self._working = True
        return True

    def _work(self) -> None:
        while True:
            with self._changed:
                if self._done == self._asked:
                    self._working = False
                    return
                asked = self._asked
            try:
                self._publish()
            except TransientError as e:
                _log.warning("publish.postponed", reason=str(e))
            except Exception as e:  # noqa: BLE001 - the loop meets it too and ends by it; here it must harm no answer
                _log.error("publish.fault", error=e)
            with self._changed:
                self._done = asked
                self._changed.notify_all()
