"""Small secrets in files that only their owner may read, each found by a random token and gone after its time.

The console keeps its sessions so, and ``trainyard up`` the one-time links to it. The token itself is not written down:
a file's name is its hash, so whoever lists the folder learns no token. Processes may share the folder: a record is
written whole or not at all, and of two that take it at once one gets it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING, Any

from trainyard import logs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainyard.clock import Clock

#: How long a one-time link to the console can be followed.
LINK_SECONDS = 3600.0
_MOST_TOKEN_CHARS = 100
_log = logs.get(__name__)


def links(console_dir: Path, clock: Clock) -> PrivateRecords:
    """Return the one-time links to the console: ``{"key": API key}`` each."""
    return PrivateRecords(console_dir / "links", clock)


def sessions(console_dir: Path, clock: Clock) -> PrivateRecords:
    """Return the console's sessions."""
    return PrivateRecords(console_dir / "sessions", clock)


class PrivateRecords:
    """Records in ``folder``, which is made when the first one is written."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def put(self, value: Mapping[str, Any], *, seconds: float) -> str:
        """Keep a JSON object for so long; return the token that finds it.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sweep()
        token = secrets.token_urlsafe(32)
        file = self._file(token)
        fresh = file.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump({"until": self._now() + seconds, "value": dict(value)}, opened)
        fresh.replace(file)
        return token

    def get(self, token: str) -> dict[str, Any] | None:
        """Return what the token finds; None when there is nothing, or not any more."""
        return self._read(self._file(token)) if len(token) <= _MOST_TOKEN_CHARS else None

    def take(self, token: str) -> dict[str, Any] | None:
        """Return what the token finds and remove it: of several callers one gets it."""
        if len(token) > _MOST_TOKEN_CHARS:
            return None
        file = self._file(token)
        taken = file.with_suffix(f".{secrets.token_hex(8)}.taken")
        try:
            file.rename(taken)
        except FileNotFoundError:
            return None
        value = self._read(taken)
        taken.unlink(missing_ok=True)
        return value

    def drop(self, token: str) -> None:
        """Forget what the token finds, if anything."""
        self._file(token).unlink(missing_ok=True)

    def _file(self, token: str) -> Path:
        return self._folder / f"{hashlib.sha256(token.encode()).hexdigest()}.json"

    def _read(self, file: Path) -> dict[str, Any] | None:
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            until, value = float(found["until"]), found["value"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as e:
            _log.warning("record.unreadable", file=str(file), reason=str(e))
            return None
        return value if isinstance(value, dict) and self._now() < until else None

    def _sweep(self) -> None:
        """Remove the records whose time is over."""
        for file in self._folder.glob("*.json"):
            if self._read(file) is None:
                file.unlink(missing_ok=True)

    def _now(self) -> float:
        return self._clock.now().timestamp()
