"""Files that were put under ``landing/<dataset>/``: each is taken once, by its notification or by the sweep."""

from __future__ import annotations

import threading
from collections import defaultdict
from itertools import islice
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import is_name
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ServiceError
from trainyard_ingest.domain import formats
from trainyard_ingest.use_cases.intake import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainyard.contracts.blobs import BlobInfo, BlobStore
    from trainyard.contracts.warehouse import Warehouse
    from trainyard_ingest.domain.formats import Format
    from trainyard_ingest.use_cases.intake import RowIntake

LANDING_PREFIX = "landing/"
_LOOKED_UP_AT_ONCE = 1_000
_MOST_KEY_BYTES = 1_024
_log = logs.get(__name__)


class Landing:
    """Takes files. The ledger of the warehouse says which ones are done."""

    def __init__(self, bucket: str, blobs: BlobStore, warehouse: Warehouse, intake: RowIntake) -> None:
        self._bucket = bucket
        self._blobs = blobs
        self._warehouse = warehouse
        self._intake = intake
        self._one_at_a_time = threading.Lock()

    def take(self, key: str, etag: str, size: int | None = None) -> None:
        """Take the file ``key`` as it is under ``etag``; a file that cannot be a batch is entered as refused.

        ``size`` is only for those who look how far it is; None: nobody knows it.

        Nothing but a line in the log happens for a key that is not a landing file, a file that is gone or was replaced
        meanwhile (its own notification follows), and a dataset that does not exist: the sweep comes back when it does.
        """
        parts = landing_file(key)
        if parts is None:
            if not key.endswith("/"):  # which is how a folder is made by hand
                _log.warning("landing.ignored", object=key, reason="its name says no dataset, or no format")
            return
        name, kind = parts
        origin = Origin("landing", key, self._fingerprint(key, etag), None, size)
        with self._one_at_a_time, logs.bound(object=key):
            try:
                self._take(name, kind, key, etag, origin)
            except BlobMissingError:
                _log.info("landing.gone")

    def _take(self, name: str, kind: Format, key: str, etag: str, origin: Origin) -> None:
        try:
            dataset = self._warehouse.dataset(name)
        except ServiceError as e:
            _log.warning("landing.no_dataset", reason=str(e))
            return
        if self._warehouse.known(dataset, [str(origin.fingerprint)]):
            return
        try:
            with self._blobs.open(key, etag=etag) as stream:
                self._intake.take(name, stream, kind, origin)
        except ServiceError as e:
            if e.code == "unknown_dataset":  # deleted meanwhile
                _log.warning("landing.no_dataset", reason=str(e))
            else:
                self._intake.refuse(dataset, origin, e)

    def sweep(self, stopping: Callable[[], bool]) -> int:
        """Take every file that is in ``landing/`` and not in the ledger; return how many were tried."""
        tried = 0
        for infos in _groups(self._blobs.list(LANDING_PREFIX)):
            for info in self._unknown(infos):
                if stopping():
                    return tried
                tried += 1
                self.take(info.key, info.etag, info.size)
        return tried

    def _unknown(self, infos: tuple[BlobInfo, ...]) -> Iterator[BlobInfo]:
        by_dataset: dict[str, list[BlobInfo]] = defaultdict(list)
        for info in infos:
            parts = landing_file(info.key)
            if parts is not None:
                by_dataset[parts[0]].append(info)
        for name, found in by_dataset.items():
            try:
                dataset = self._warehouse.dataset(name)
            except ServiceError:
                continue  # files may lie there before their dataset is made
            known = self._warehouse.known(dataset, [self._fingerprint(info.key, info.etag) for info in found])
            yield from (info for info in found if self._fingerprint(info.key, info.etag) not in known)

    def _fingerprint(self, key: str, etag: str) -> str:
        return f"s3:{self._bucket}/{key}:{etag}"


def landing_file(key: str) -> tuple[str, Format] | None:
    """Return dataset and format of a landing file's key, or None for any other key."""
    name, slash, rest = key.removeprefix(LANDING_PREFIX).partition("/")
    kind = formats.by_name(rest)
    if not _possible(key) or not key.startswith(LANDING_PREFIX) or not slash or kind is None or not is_name(name):
        return None
    return name, kind


def _possible(key: str) -> bool:
    """Tell whether S3 can have the key and the ledger hold it; asking S3 for any other never ends well."""
    try:
        return len(key.encode()) <= _MOST_KEY_BYTES and "\0" not in key
    except UnicodeEncodeError:
        return False


def _groups(infos: Iterator[BlobInfo]) -> Iterator[tuple[BlobInfo, ...]]:
    while group := tuple(islice(infos, _LOOKED_UP_AT_ONCE)):
        yield group
