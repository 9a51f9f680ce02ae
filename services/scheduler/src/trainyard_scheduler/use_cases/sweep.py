"""The sweeper: artifacts and extracts that no version refers to, uploads that nobody completed, batch jobs whose time
is over, and what predictor processes said of themselves before they were killed, are removed.

A trainer writes its artifact before its version's row, so a fresh object without a version is work under way. An old
one was left by a trainer that died in between, or that lost its request to another. It may still become a version's: a
later run of the same request makes the same bytes, and finds them stored. So nothing of a model with open requests is
removed, and none can be opened while something is.

Extracts hold rows. When rows go, by an erasure, by retention or with their dataset, the versions that were trained on
them lose their extract: the record first, in a transaction of its own, then the object like any other without a
version. Whoever dies in between leaves an object that the next step finds.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.alias_object import model_of
from trainyard.errors import TransientError
from trainyard_scheduler.use_cases.batches import forget_batches
from trainyard_scheduler.use_cases.serving import forget_gone

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainyard.contracts.blobs import BlobInfo, BlobStore
    from trainyard.contracts.scheduling import Records, Store
    from trainyard.contracts.upkeep import Uploads

#: A day, and an hour for the clocks of database and store, which may differ.
SWEEP_AFTER_SECONDS = 25 * 3600.0
#: Objects, and uploads, that one step removes at most.
MOST = 100
_PAGE = 500
#: Where the objects lie, and how old they must be. Rows that should be gone wait for nothing but open requests.
_PLACES = (("extracts/", 0.0), ("models/", SWEEP_AFTER_SECONDS))
_log = logs.get(__name__)


class Sweeper:
    """Removes at most :data:`MOST` objects and as many uploads in a step."""

    def __init__(self, store: Store, blobs: BlobStore, uploads: Uploads, *, keep_batch_days: float) -> None:
        self._store = store
        self._blobs = blobs
        self._uploads = uploads
        self._keep_batch_days = keep_batch_days

    def step(self) -> int:
        """Remove what is of no use any more; return how many objects and uploads.

        Raises:
            TransientError: the database or the store does not answer; what was removed so far is gone, and audited.
        """
        self._release()
        loose = list(islice(self._loose(), MOST))
        removed = sum(self._sweep(model, keys) for model, keys in _by_model(loose).items())
        return removed + self._abort() + self._forget()

    def _forget(self) -> int:
        with self._store.begin() as records:
            now = records.upkeep.now()
        return forget_gone(self._blobs, now) + forget_batches(self._blobs, now, self._keep_batch_days)

    def _release(self) -> None:
        """Take the extracts from versions whose rows went."""
        with self._store.begin() as records:
            released = records.upkeep.release_extracts(limit=MOST)
            for one in released:
                details = {"version": one.version, "extract_key": one.key}
                subject = f"model/{one.model}"
                records.journal.audit(actor="scheduler", action="extract.release", subject=subject, details=details)
        if released:
            _log.info("sweep.released_extracts", versions=len(released))

    def _loose(self) -> Iterator[str]:
        """Yield the keys of objects without a version, page by page of the listings."""
        for prefix, wait_seconds in _PLACES:
            listing = iter(self._blobs.list(prefix))
            while page := list(islice(listing, _PAGE)):
                ours = [info for info in page if model_of(info.key) is not None]
                with self._store.begin() as records:
                    loose = set(records.upkeep.unreferenced([info.key for info in ours]))
                    old = self._old(records, ours, wait_seconds)
                yield from (key for key in old if key in loose)

    def _old(self, records: Records, infos: Sequence[BlobInfo], wait_seconds: float) -> list[str]:
        now = records.upkeep.now()
        return [info.key for info in infos if (now - info.modified_at).total_seconds() > wait_seconds]

    def _sweep(self, model: str, keys: Sequence[str]) -> int:
        """Remove a model's loose objects, unless it is being trained; they are looked up again under its lock."""
        removed: list[str] = []
        failure: TransientError | None = None
        with self._store.begin() as records:
            if not records.upkeep.still(model):
                _log.info("sweep.postponed", model=model, objects=len(keys), reason="it has open requests")
                return 0
            for key in records.upkeep.unreferenced(keys):
                try:
                    self._blobs.delete(key)
                except TransientError as e:
                    failure = e
                    break
                removed.append(key)
            if removed:
                details = {"objects": len(removed), "keys": removed}
                records.journal.audit(
                    actor="scheduler", action="artifact.sweep", subject=f"model/{model}", details=details
                )
                records.journal.announce("artifact.swept", f"model/{model}", {"objects": len(removed)})
                _log.info("sweep.removed", model=model, objects=len(removed))
        if failure is not None:
            raise failure
        return len(removed)

    def _abort(self) -> int:
        """Abort old uploads: the bucket's own rule does it too, where the store keeps such rules."""
        with self._store.begin() as records:
            now = records.upkeep.now()
        aborted = 0
        for upload in self._uploads.unfinished():
            if (now - upload.begun_at).total_seconds() <= SWEEP_AFTER_SECONDS:
                continue
            self._uploads.abort(upload)
            _log.info("sweep.aborted_upload", key=upload.key)
            aborted += 1
            if aborted == MOST:
                break
        return aborted


def _by_model(keys: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault(model_of(key) or "", []).append(key)
    return found
