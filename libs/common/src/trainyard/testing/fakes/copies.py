"""Copies of artifacts in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from trainyard.contracts.copies import IN_DATABASE, ON_SHELF, Copies, LiveArtifact, Shelf, StoreLife
from trainyard.contracts.registry import PENDING_APPROVAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainyard.contracts.registry import VersionRecord
    from trainyard.testing.fakes.scheduling_state import State


class MemoryCopies(Copies):
    """Over one state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def live(self) -> list[LiveArtifact]:
        """Return the live artifacts."""
        found = {}
        for model in (model for model in self._state.models if not model.deleted):
            versions = [version for owner, version in self._state.versions if owner == model.id]
            pointed = {alias.version for (owner, _), alias in self._state.aliases.items() if owner == model.id}
            newest = {version.version for version in versions[::-1][: model.policy.keep_copies]}
            for version in versions:
                waits = version.approval is not None and version.approval.state == PENDING_APPROVAL
                if waits or version.version in pointed | newest:
                    found[version.artifact_key] = self._artifact(version)
        return [found[key] for key in sorted(found)]

    def _artifact(self, version: VersionRecord) -> LiveArtifact:
        where = None
        if version.artifact_key in self._state.copies:
            where = ON_SHELF if self._state.copies[version.artifact_key][1] is None else IN_DATABASE
        return LiveArtifact(version.model, version.artifact_key, version.sha256, version.size_bytes, where)

    def keep(self, artifact: LiveArtifact, data: bytes | None) -> None:
        """Keep it."""
        self._state.copies.setdefault(artifact.key, (artifact.sha256, data))

    def data(self, key: str) -> bytes | None:
        """Return it."""
        return self._state.copies.get(key, ("", None))[1]

    def surplus(self, limit: int) -> list[str]:
        """Return copies that are not live."""
        live = {artifact.key for artifact in self.live()}
        return [key for key in self._state.copies if key not in live][:limit]

    def drop(self, keys: Sequence[str]) -> None:
        """Drop them."""
        for key in keys:
            self._state.copies.pop(key, None)

    def on_shelf(self) -> frozenset[str]:
        """Return the hashes of copies without bytes."""
        return frozenset(sha256 for sha256, data in self._state.copies.values() if data is None)

    def stored(self) -> dict[str, bool]:
        """Return the keys of all artifacts."""
        deleted = {model.id for model in self._state.models if model.deleted}
        return {
            version.artifact_key: version.lost_at is not None
            for owner, version in self._state.versions
            if owner not in deleted
        }

    def extracts(self) -> frozenset[str]:
        """Return the keys of all extracts."""
        return frozenset(version.extract_key for _, version in self._state.versions if version.extract_key)

    def lose(self, keys: Sequence[str], extracts: Sequence[str]) -> tuple[int, int]:
        """Mark the versions."""
        now = self._state.clock.now()
        lost = released = 0
        for place, (owner, version) in enumerate(self._state.versions):
            is_lost = version.artifact_key in keys and version.lost_at is None
            is_released = version.extract_key in extracts
            lost, released = lost + is_lost, released + is_released
            changed = replace(
                version,
                lost_at=now if is_lost else version.lost_at,
                extract_key=None if is_released else version.extract_key,
            )
            self._state.versions[place] = (owner, changed)
        return lost, released

    def find(self, keys: Sequence[str]) -> int:
        """Take the mark away."""
        found = [v for _, v in self._state.versions if v.artifact_key in keys and v.lost_at is not None]
        self._state.versions = [
            (owner, replace(version, lost_at=None) if version in found else version)
            for owner, version in self._state.versions
        ]
        return len(found)

    def began(self, *, restored: int, lost: int, lost_extracts: int) -> None:
        """Append the life."""
        first = not self._state.store_lives
        self._state.store_lives.append(StoreLife(self._state.clock.now(), restored, lost, lost_extracts, first))

    def lives(self) -> list[StoreLife]:
        """Return the lives."""
        return list(self._state.store_lives)


class MemoryShelf(Shelf):
    """Files in a dictionary; ``outage`` is raised by every call while it is set."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.outage: Exception | None = None

    def put(self, sha256: str, data: BinaryIO) -> None:
        """Store it."""
        self._answer()
        read = data.read()
        if hashlib.sha256(read).hexdigest() != sha256:
            raise ValueError(f"the file is not the one with the hash {sha256}")
        self.files[sha256] = read

    def open(self, sha256: str) -> BinaryIO | None:
        """Return it."""
        self._answer()
        return io.BytesIO(self.files[sha256]) if sha256 in self.files else None

    def hashes(self) -> Iterator[str]:
        """Yield the hashes."""
        self._answer()
        yield from list(self.files)

    def remove(self, sha256: str) -> None:
        """Remove it."""
        self._answer()
        self.files.pop(sha256, None)

    def _answer(self) -> None:
        if self.outage is not None:
            raise self.outage
