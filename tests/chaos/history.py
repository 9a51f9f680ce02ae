"""What a client saw, and the verdict on it: the words are those of Jepsen's checker for queues.

A client asks for trainings and keeps a log of its own. Once everything has come to rest its log is held against what
the system then says: ``ok`` were asked for, accepted and done once; ``lost`` were accepted and are not done;
``unexpected`` are there and nobody asked for them; ``duplicated`` had more than one effect; ``recovered`` were accepted
by an answer that came only after an earlier one was lost or failed (they are part of ``ok``).
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """One training that a client asked for: the key of its request, and the answer in the end."""

    key: str
    model: str
    request_id: str
    tries: int


@dataclass(frozen=True)
class Effect:
    """What the system says about one request after everything has come to rest."""

    request_id: str
    model: str
    state: str
    versions: int


@dataclass(frozen=True)
class Verdict:
    """Counts, and the ids behind the bad ones."""

    asked: int
    ok: int
    lost: list[str]
    unexpected: list[str]
    duplicated: list[str]
    recovered: int

    @property
    def clean(self) -> bool:
        """True when nothing is lost, unexpected or duplicated."""
        return not (self.lost or self.unexpected or self.duplicated)


class History:
    """The client's log, in a file of JSON lines; any thread may write."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.entries: list[Entry] = []

    def accepted(self, entry: Entry) -> None:
        """Note that the system has accepted a request."""
        with self._lock:
            self.entries.append(entry)
            with self._file.open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(entry)) + "\n")


def check(entries: Iterable[Entry], effects: Iterable[Effect]) -> Verdict:
    """Return the verdict."""
    asked = {entry.request_id: entry for entry in entries}
    found = {effect.request_id: effect for effect in effects}
    done = {ident for ident, effect in found.items() if effect.state == "done" and effect.versions >= 1}
    good = {ident for ident in done & set(asked) if found[ident].versions == 1}
    return Verdict(
        asked=len(asked),
        ok=len(good),
        lost=sorted(set(asked) - done),
        unexpected=sorted(set(found) - set(asked)),
        duplicated=sorted(ident for ident, effect in found.items() if effect.versions > 1),
        recovered=sum(asked[ident].tries > 1 for ident in good),
    )
