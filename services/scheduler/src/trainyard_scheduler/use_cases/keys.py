"""API keys: made, listed, revoked; the first ones come from files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainyard import auth, logs
from trainyard.errors import ConfigError, Problem, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trainyard.contracts.api_keys import KeyRecord
    from trainyard.contracts.scheduling import Records, Store
    from trainyard_scheduler.use_cases.answers import By

MAX_DAYS = 3650
_log = logs.get(__name__)


def make_key(records: Records, name: object, scopes: object, expires_in_days: object, by: By) -> tuple[KeyRecord, str]:
    """Make a key; return its record and the key itself, which is kept nowhere.

    Raises:
        ServiceError: ``bad_request`` with every problem.
    """
    problems = []
    if not isinstance(name, str) or not 0 < len(name) <= 100 or not name.isprintable():
        problems.append(Problem(None, "name", "printable text of 1 to 100 characters", repr(name)[:120]))
    if not isinstance(scopes, list) or not scopes or any(scope not in auth.SCOPES for scope in scopes):
        problems.append(Problem(None, "scopes", f"a list of some of {', '.join(auth.SCOPES)}", repr(scopes)[:120]))
    days = expires_in_days
    if days is not None and (not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MAX_DAYS):
        expected = f"a whole number from 1 to {MAX_DAYS}, or null"
        problems.append(Problem(None, "expires_in_days", expected, repr(days)[:120]))
    if problems or not isinstance(name, str) or not isinstance(scopes, list):
        raise ServiceError("bad_request", "the key cannot be made", problems)
    key = auth.make_key()
    chosen = [scope for scope in auth.SCOPES if scope in scopes]
    record = _register(
        records, key, name=name, scopes=chosen, actor=by.key_id, days=days if isinstance(days, int) else None
    )
    if record is None:
        raise ServiceError("conflict", "the random key id is taken; send the request again")
    return record, key


def revoke_key(records: Records, key_id: str, by: By) -> None:
    """Revoke a key; twice is once.

    Raises:
        ServiceError: ``unknown_key``, or ``conflict`` for the key that asks: it would lock its owner out.
    """
    found = records.keys.get(key_id) if is_key_id(key_id) else None
    if found is None:
        raise ServiceError("unknown_key", f"there is no API key {key_id[:80]!r}")
    if key_id == by.key_id:
        raise ServiceError("conflict", "a key cannot revoke itself; use another admin key")
    if found.revoked_at is not None:
        return
    records.keys.revoke(key_id)
    records.journal.announce("key.revoked", f"key/{key_id}", {"name": found.name})
    records.journal.audit(actor=by.key_id, action="key.revoke", subject=f"key/{key_id}", details={"name": found.name})


def is_key_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a key's id."""
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def register_files(store: Store, files: Sequence[tuple[Path | None, str, str]]) -> None:
    """Register the keys in ``files`` (path, name, scope); a key that is registered already stays as it is.

    Raises:
        ConfigError: a file cannot be read or holds no key.
    """
    for path, name, scope in files:
        if path is None:
            continue
        try:
            text = path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"the file {path} with the {name} API key cannot be read: {e}") from e
        with store.begin() as records:
            added = _register(records, text, name=name, scopes=[scope], actor="start", days=None, where=str(path))
            if added is not None:
                _log.info("key.registered", name=name, scope=scope)


def _register(
    records: Records, key: str, *, name: str, scopes: Sequence[str], actor: str, days: int | None, where: str = ""
) -> KeyRecord | None:
    parsed = auth.parse_key(key)
    if parsed is None:
        raise ConfigError(f"the file {where} does not hold an API key")
    record = records.keys.add(parsed, name=name, scopes=scopes, expires_in_days=days)
    if record is not None:
        details = {"name": name, "scopes": list(scopes)}
        records.journal.announce("key.created", f"key/{record.id}", details)
        records.journal.audit(actor=actor, action="key.create", subject=f"key/{record.id}", details=details)
    return record
