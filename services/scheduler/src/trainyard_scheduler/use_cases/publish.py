"""What the database says, written to the blob store for services without a database.

Aliases, versions, the models there are, and the API keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import auth, logs
from trainyard.alias_object import AliasObject, alias_key, encode_alias, model_key, version_key, version_object
from trainyard.contracts.blobs import BlobMissingError

if TYPE_CHECKING:
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.scheduling import Records, Store

ALIASES = "aliases/"
_VERSIONS = "versions/"
_MODELS = "models/"
_log = logs.get(__name__)


class _Publisher:
    """Keeps the objects under ``prefix`` equal to the database.

    One listing tells by its etags what differs, so an unchanged object costs no request of its own. Foreign
    overwrites, a lost object and a lost bucket show up in the next listing.
    """

    prefix: str

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs
        self._written: dict[str, tuple[bytes, str]] = {}

    def step(self) -> int:
        """Write and delete what differs; return how many objects."""
        wanted = self._wanted()
        found = {info.key: info.etag for info in self._blobs.list(self.prefix) if self._is_ours(info.key)}
        different = [key for key, data in wanted.items() if not self._stands(key, data, found.get(key))]
        surplus = [key for key in found if key not in wanted]
        if not different and not surplus:
            return 0
        # The database may have changed since the first look: what is written is what holds now.
        wanted = self._wanted()
        for key in different:
            if key in wanted:
                self._written[key] = (wanted[key], self._blobs.put(key, wanted[key]))
                _log.info("object.published", key=key)
        for key in surplus:
            if key not in wanted:
                self._blobs.delete(key)
                _log.info("object.removed", key=key)
        self._written = {key: value for key, value in self._written.items() if key in wanted}
        return len(different) + len(surplus)

    def _wanted(self) -> dict[str, bytes]:
        with self._store.begin() as records:
            return self._objects(records)

    def _objects(self, records: Records) -> dict[str, bytes]:
        """Return what must stand under the prefix, by key."""
        raise NotImplementedError

    def _is_ours(self, key: str) -> bool:
        """Tell whether an object under the prefix is one that this publisher writes and removes."""
        return key.startswith(self.prefix)

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


class AliasPublisher(_Publisher):
    """``aliases/<model>/<alias>``: where the predictor finds the version to serve."""

    prefix = ALIASES

    def _objects(self, records: Records) -> dict[str, bytes]:
        return {
            alias_key(a.model, a.alias): encode_alias(
                AliasObject(a.model, a.alias, a.version, a.key, a.sha256, a.size, a.weight, a.seq)
            )
            for a in records.versions.published()
        }


class VersionPublisher(_Publisher):
    """``versions/<model>/<version>``: where the predictor finds a version that is asked for by its number."""

    prefix = _VERSIONS

    def _objects(self, records: Records) -> dict[str, bytes]:
        return {
            version_key(v.model, v.version): encode_alias(version_object(v.model, v.version, v.sha256, v.size))
            for v in records.versions.registered()
        }


class ModelPublisher(_Publisher):
    """``models/<model>/model``: tells the predictor a model without champion from one that nobody made."""

    prefix = _MODELS

    def _objects(self, records: Records) -> dict[str, bytes]:
        return dict.fromkeys(map(model_key, records.models.names()), b"")

    def _is_ours(self, key: str) -> bool:
        # The artifacts lie beside it.
        return key.endswith("/model")


class KeyPublisher:
    """Keeps the object with the live API keys equal to the database."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self._store = store
        self._blobs = blobs
        self._written: tuple[bytes, str] | None = None

    def step(self) -> bool:
        """Write the object if it differs; return whether it did."""
        with self._store.begin() as records:
            data = auth.encode_keys(records.keys.live())
        if self._stands(data):
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
