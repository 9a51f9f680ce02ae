"""Copies of artifacts beside the object store, for a store that may lose what it holds.

An artifact is *live* while an alias leads to one of its versions, one of them waits for a person, or one of them is
among the newest ``keep_copies`` (:class:`trainyard.policy.Policy`) of its model. Live artifacts have a copy: up to a
size in the database, written with the version; larger ones on a shelf, which is a directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from typing import BinaryIO

IN_DATABASE, ON_SHELF = "database", "shelf"
#: An object that the scheduler writes once: a bucket without it is taken for one that has lost what it held.
STORE_MARK = "store/begun"


@dataclass(frozen=True)
class LiveArtifact:
    """A live artifact; ``copy`` is where its copy lies: :data:`IN_DATABASE`, :data:`ON_SHELF`, None: it has none."""

    model: str
    key: str
    sha256: str
    size: int
    copy: str | None


@dataclass(frozen=True)
class StoreLife:
    """A look at a store that did not have our mark: what was put back, and what nobody had a copy of.

    ``first``: no store had been seen before, so nothing can have been lost.
    """

    found_at: datetime
    restored: int
    lost: int
    lost_extracts: int
    first: bool = False


class Copies(Protocol):
    """The records of the copies, inside one transaction."""

    def live(self) -> list[LiveArtifact]:
        """Return every live artifact, by key."""
        ...

    def keep(self, artifact: LiveArtifact, data: bytes | None) -> None:
        """Note the copy of an artifact: its bytes, or None when they lie on the shelf; a copy that is there stays."""
        ...

    def data(self, key: str) -> bytes | None:
        """Return the bytes of a copy that lies in the database."""
        ...

    def surplus(self, limit: int) -> list[str]:
        """Return keys of copies whose artifact is not live any more."""
        ...

    def drop(self, keys: Sequence[str]) -> None:
        """Forget these copies."""
        ...

    def on_shelf(self) -> frozenset[str]:
        """Return the hashes of the copies that lie on the shelf."""
        ...

    def stored(self) -> dict[str, bool]:
        """Return the keys of all artifacts of models that were not deleted; True: it counts as lost."""
        ...

    def extracts(self) -> frozenset[str]:
        """Return the keys of all extracts that versions have."""
        ...

    def lose(self, keys: Sequence[str], extracts: Sequence[str]) -> tuple[int, int]:
        """Note that the store lost these artifacts, and take these extracts from their versions.

        Return how many versions lost the one, and the other.
        """
        ...

    def find(self, keys: Sequence[str]) -> int:
        """Note that these artifacts are there again; return how many versions counted as lost."""
        ...

    def began(self, *, restored: int, lost: int, lost_extracts: int) -> None:
        """Note that a life of the store began, and what that cost."""
        ...

    def lives(self) -> list[StoreLife]:
        """Return the lives of the store, the oldest first."""
        ...


class Shelf(Protocol):
    """Files by their SHA-256; :class:`~trainyard.errors.TransientError` when they cannot be read or written."""

    def put(self, sha256: str, data: BinaryIO) -> None:
        """Store a file, whole or not at all.

        Raises:
            ValueError: it has another hash; nothing is stored.
        """
        ...

    def open(self, sha256: str) -> BinaryIO | None:
        """Return the file, to be closed by the caller; None when there is none."""
        ...

    def hashes(self) -> Iterator[str]:
        """Yield the hash of every file."""
        ...

    def remove(self, sha256: str) -> None:
        """Remove the file, if it is there."""
        ...
