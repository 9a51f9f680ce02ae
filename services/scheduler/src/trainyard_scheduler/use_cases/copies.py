"""Copies of live artifacts, and what comes of them when the object store comes back without what it held.

Some stores forget: an emulator keeps its objects in memory, a bucket is deleted by mistake. A mark in the bucket tells
the life of a store from the one before. Where it is missing, every live artifact is put back from its copy; a version
without a copy is recorded as lost, for people and for the doctor; and only then the mark is written, so that whoever
dies in between leaves the work to the next look. The other objects are made again by the publisher, queues by whoever
needs one.
"""

from __future__ import annotations

import hashlib
import io
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from trainyard import logs
from trainyard.contracts.blobs import BlobExistsError, BlobMissingError
from trainyard.contracts.copies import IN_DATABASE, ON_SHELF, STORE_MARK
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.copies import LiveArtifact, Shelf
    from trainyard.contracts.scheduling import Store

#: What the mark holds is for people.
_MARK_TEXT = (
    b"Written once by the scheduler. Without it the scheduler takes the bucket for one that has lost its objects.\n"
)
#: Artifacts that one step copies, and how often the whole bucket is looked at.
_AT_ONCE = 20
_LOOK_SECONDS = 60.0
_NAMED = 100
_PIECE_BYTES = 1 << 20
_ACTOR = "scheduler"
_log = logs.get(__name__)


class CopyKeeper:
    """Puts back what the store lost and copies what has no copy yet; used by one thread.

    Artifacts of up to ``most_bytes`` are copied into the database, larger ones to ``shelf``, if there is one.
    """

    def __init__(self, store: Store, blobs: BlobStore, shelf: Shelf | None, *, most_bytes: int, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._shelf = shelf
        self._most_bytes = most_bytes
        self._clock = clock
        self._looked_at: float | None = None
        self._strays: frozenset[str] = frozenset()

    def step(self) -> int:
        """Do what is due; return how many artifacts were put back or copied.

        Raises:
            TransientError: the database, the store or the shelf does not answer; the next step goes on.
        """
        marked = self._marked()
        done = 0
        if not marked or self._due():
            done = self._look(marked=marked)
            self._tidy()
            self._looked_at = self._clock.monotonic()
        return done + self._copy()

    def _marked(self) -> bool:
        try:
            self._blobs.get(STORE_MARK)
        except BlobMissingError:
            return False
        return True

    def _due(self) -> bool:
        return self._looked_at is None or self._clock.monotonic() - self._looked_at >= _LOOK_SECONDS

    # --- what the store lost ---

    def _look(self, *, marked: bool) -> int:
        """Hold the bucket against the records."""
        # A version's object is there before its row: what is missing is looked at again, one by one.
        objects = {info.key for info in self._blobs.list("models/")}
        with self._store.begin() as records:
            missing = [artifact for artifact in records.copies.live() if artifact.key not in objects]
        restored = [artifact.key for artifact in missing if self._put_back(artifact)]
        if restored:
            self._tell_restored(restored)
        if marked:
            self._find(objects)
        else:
            self._begin(objects.union(restored), len(restored))
        return len(restored)

    def _put_back(self, artifact: LiveArtifact) -> bool:
        """Write one artifact from its copy; False: it has none that is whole, or somebody was faster."""
        copy = self._opened(artifact)
        if copy is None:
            return False
        with closing(copy):
            try:
                self._blobs.put(artifact.key, copy, only_if_absent=True)
            except BlobExistsError:
                return False
        _log.info("artifact.restored", key=artifact.key, model=artifact.model)
        return True

    def _opened(self, artifact: LiveArtifact) -> BinaryIO | None:
        """Return the copy; one that is damaged is dropped, to be made anew when the object is there again."""
        copy: BinaryIO | None = None
        if artifact.copy == IN_DATABASE:
            with self._store.begin() as records:
                data = records.copies.data(artifact.key)
            copy = None if data is None else io.BytesIO(data)
        elif artifact.copy == ON_SHELF and self._shelf is not None:
            copy = self._shelf.open(artifact.sha256)
        if copy is not None and _hash_of(copy) == artifact.sha256:
            copy.seek(0)
            return copy
        if copy is not None:
            copy.close()
        if artifact.copy is not None:
            _log.error("artifact.copy_damaged", key=artifact.key, where=artifact.copy)
            with self._store.begin() as records:
                records.copies.drop([artifact.key])
        return None

    def _tell_restored(self, keys: Sequence[str]) -> None:
        with self._store.begin() as records:
            details = {"artifacts": len(keys), "keys": list(keys[:_NAMED])}
            records.journal.audit(actor=_ACTOR, action="artifact.restore", subject="store", details=details)
            records.journal.announce("artifact.restored", "store", {"artifacts": len(keys)})

    def _find(self, objects: Iterable[str]) -> None:
        """Versions that counted as lost serve again when somebody has put their objects back."""
        with self._store.begin() as records:
            lost = {key for key, is_lost in records.copies.stored().items() if is_lost}
            back = sorted(lost.intersection(objects))
            if back and records.copies.find(back):
                details = {"artifacts": len(back), "keys": back[:_NAMED]}
                records.journal.audit(actor=_ACTOR, action="artifact.find", subject="store", details=details)

    def _begin(self, objects: set[str], restored: int) -> None:
        """Record a new life of the store with what it cost, then mark the bucket."""
        with self._store.begin() as records:
            first = not records.copies.lives()
            # Where nobody has seen a bucket before, what it does not have was not lost by it: the doctor names it.
            stored, extracts = ({}, []) if first else (records.copies.stored(), sorted(records.copies.extracts()))
        gone = [key for key, is_lost in stored.items() if not (is_lost or key in objects or self._exists(key))]
        rows_gone = [key for key in extracts if not self._exists(key)]
        with self._store.begin() as records:
            lost, released = records.copies.lose(gone, rows_gone)
            records.copies.began(restored=restored, lost=lost, lost_extracts=released)
            if not first:
                details = {"restored": restored, "lost": lost, "lost_extracts": released, "keys": gone[:_NAMED]}
                records.journal.audit(actor=_ACTOR, action="store.empty", subject="store", details=details)
                counts = {"restored": restored, "lost": lost, "lost_extracts": released}
                records.journal.announce("store.empty", "store", counts)
        if not first:
            _log.error("store.empty", restored=restored, lost=lost, lost_extracts=released)
        self._blobs.put(STORE_MARK, _MARK_TEXT)

    def _exists(self, key: str) -> bool:
        try:
            self._blobs.open(key).close()
        except BlobMissingError:
            return False
        return True

    # --- copies ---

    def _copy(self) -> int:
        """Copy live artifacts that have no copy."""
        if not self._most_bytes:
            return 0
        with self._store.begin() as records:
            bare = [artifact for artifact in records.copies.live() if artifact.copy is None]
        work = (artifact for artifact in bare if artifact.size <= self._most_bytes or self._shelf is not None)
        return sum(self._copy_one(artifact) for artifact in islice(work, _AT_ONCE))

    def _copy_one(self, artifact: LiveArtifact) -> bool:
        try:
            with closing(self._blobs.open(artifact.key)) as source:
                data = self._taken(artifact, source)
        except BlobMissingError:
            return False  # the doctor names it
        except ValueError as e:
            _log.error("artifact.damaged", key=artifact.key, reason=str(e))
            return False
        with self._store.begin() as records:
            records.copies.keep(artifact, data)
        _log.info("artifact.copied", key=artifact.key, bytes=artifact.size)
        return True

    def _taken(self, artifact: LiveArtifact, source: BinaryIO) -> bytes | None:
        """Return the bytes for the database; None: they are on the shelf.

        Raises:
            ValueError: they are not those of the version.
        """
        if artifact.size > self._most_bytes and self._shelf is not None:
            self._shelf.put(artifact.sha256, source)
            return None
        data = source.read()
        if hashlib.sha256(data).hexdigest() != artifact.sha256:
            raise ValueError("the object is not the file that was registered")
        return data

    def _tidy(self) -> None:
        """Forget copies of what is not live any more, and files that no record knows in two looks."""
        with self._store.begin() as records:
            surplus = records.copies.surplus(_NAMED)
            records.copies.drop(surplus)
            known = records.copies.on_shelf()
        if surplus:
            _log.info("artifact.copies_dropped", artifacts=len(surplus))
        if self._shelf is None:
            return
        strays = frozenset(self._shelf.hashes()) - known
        for sha256 in strays & self._strays:
            self._shelf.remove(sha256)
        self._strays = strays


def _hash_of(file: BinaryIO) -> str:
    hashed = hashlib.sha256()
    try:
        while piece := file.read(_PIECE_BYTES):
            hashed.update(piece)
    except OSError as e:
        raise TransientError(f"a copy cannot be read: {e}") from e
    return hashed.hexdigest()
