"""API keys: what is made and told, what is refused, how they are revoked and read from files."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from trainyard import auth
from trainyard.clock import ManualClock
from trainyard.contracts.api_keys import KeyRecord
from trainyard.errors import ConfigError, Problem, ServiceError
from trainyard.testing.fakes import MemoryStore
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.keys import is_key_id, make_key, register_files, revoke_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BY = By("admin", "trace")
NAME = "printable text of 1 to 100 characters"
SCOPES = "a list of some of admin, operate, ingest, predict, feedback, read"
DAYS = "a whole number from 1 to 3650, or null"


@pytest.fixture
def store() -> MemoryStore:
    """No keys."""
    return MemoryStore(ManualClock())


def make(store: MemoryStore, name: object, scopes: object, days: object = None) -> tuple[KeyRecord, str]:
    """Make a key."""
    with store.begin() as records:
        return make_key(records, name, scopes, days, BY)


@pytest.mark.parametrize(
    ("name", "scopes", "days", "kept"),
    [
        ("m", ["read", "admin"], None, ("admin", "read")),
        ("n" * 100, ["predict"], 1, ("predict",)),
        ("me", list(reversed(auth.SCOPES)), 3650, auth.SCOPES),
    ],
)
def test_a_key_is_made(
    store: MemoryStore, journal: Callable[..., Any], name: str, scopes: list[str], days: int | None, kept: Any
) -> None:
    """The record and the key fit each other, scopes stand in their usual order, and the journal has both."""
    made, key = make(store, name, scopes, days)
    parsed = auth.parse_key(key)
    assert parsed is not None
    now = store.state.clock.now()
    assert made == KeyRecord(parsed.key_id, name, kept, now, None if days is None else now + timedelta(days=days), None)
    assert store.state.keys[made.id][1].secret_sha256 == parsed.secret_sha256
    details = {"name": name, "scopes": list(kept)}
    subject = f"key/{made.id}"
    assert journal(store) == ([("key.created", subject, details)], [("admin", "key.create", subject, details)])


@pytest.mark.parametrize(
    ("name", "scopes", "days", "problems"),
    [
        ("", ["read"], None, [("name", NAME, "''")]),
        ("n" * 101, ["read"], None, [("name", NAME, repr("n" * 101))]),
        ("a\n", ["read"], None, [("name", NAME, r"'a\n'")]),
        (7, "read", None, [("name", NAME, "7"), ("scopes", SCOPES, "'read'")]),
        ("n" * 200, ["x" * 200], None, [("name", NAME, "'" + "n" * 119), ("scopes", SCOPES, "['" + "x" * 118)]),
        ("me", [], None, [("scopes", SCOPES, "[]")]),
        ("me", ["read", "fly"], None, [("scopes", SCOPES, "['read', 'fly']")]),
        ("me", ["read"], 0, [("expires_in_days", DAYS, "0")]),
        ("me", ["read"], 3651, [("expires_in_days", DAYS, "3651")]),
        ("me", ["read"], True, [("expires_in_days", DAYS, "True")]),
        ("me", ["read"], "9" * 200, [("expires_in_days", DAYS, "'" + "9" * 119)]),
        (None, None, 1.5, [("name", NAME, "None"), ("scopes", SCOPES, "None"), ("expires_in_days", DAYS, "1.5")]),
    ],
)
def test_what_no_key_can_be(store: MemoryStore, name: object, scopes: object, days: object, problems: Any) -> None:
    """Every problem is listed at once, each cut to a readable length; nothing is kept."""
    with pytest.raises(ServiceError) as caught:
        make(store, name, scopes, days)
    assert (caught.value.code, caught.value.message) == ("bad_request", "the key cannot be made")
    assert list(caught.value.details) == [Problem(None, *problem) for problem in problems]
    assert store.state.keys == {}


def test_a_random_id_that_is_taken(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second key of an id is a conflict to repeat, and leaves no trace."""
    key = auth.make_key()
    monkeypatch.setattr(auth, "make_key", lambda: key)
    make(store, "me", ["read"])
    with pytest.raises(ServiceError) as caught:
        make(store, "you", ["read"])
    assert (caught.value.code, caught.value.message) == (
        "conflict",
        "the random key id is taken; send the request again",
    )
    assert len(store.state.audit) == 1


def test_revoking(store: MemoryStore, journal: Callable[..., Any]) -> None:
    """A key is revoked once; one that is not there, and the one that asks, are refused."""
    made, _ = make(store, "me", ["read"])
    mine, _ = make(store, "mine", ["admin"])
    with store.begin() as records:
        revoke_key(records, made.id, By(mine.id, "t"))
        revoke_key(records, made.id, By(mine.id, "t"))
    assert store.state.keys[made.id][0].revoked_at == store.state.clock.now()
    assert store.state.keys[mine.id][0].revoked_at is None
    subject, details = f"key/{made.id}", {"name": "me"}
    assert journal(store, (2, 2)) == (
        [("key.revoked", subject, details)],
        [(mine.id, "key.revoke", subject, details)],
    )
    for ident, code, message in (
        ("0" * 16, "unknown_key", f"there is no API key {'0' * 16!r}"),
        ("X" * 90, "unknown_key", f"there is no API key {'X' * 80!r}"),
        (mine.id, "conflict", "a key cannot revoke itself; use another admin key"),
    ):
        with store.begin() as records, pytest.raises(ServiceError) as caught:
            revoke_key(records, ident, By(mine.id, "t"))
        assert (caught.value.code, caught.value.message) == (code, message)


@pytest.mark.parametrize(
    ("text", "valid"),
    [("0123456789abcdef", True), ("0123456789abcde", False), ("0123456789abcdef0", False), ("0123456789ABCDEF", False)],
)
def test_form_of_a_key_id(text: str, valid: bool) -> None:
    """Sixteen lower-case hex digits."""
    assert is_key_id(text) is valid


def test_keys_from_files(
    store: MemoryStore, journal: Callable[..., Any], said: Callable[..., Any], tmp_path: Path
) -> None:
    """Each file's key is registered once, in the name of the start; no file is no key."""
    first, second = auth.make_key(), auth.make_key()
    (tmp_path / "a").write_text(f"{first}\n")
    (tmp_path / "b").write_text(second)
    files = [(None, "none", "read"), (tmp_path / "a", "cli", "admin"), (tmp_path / "b", "web", "read")]
    for _ in range(2):
        register_files(store, files)
    ids = [parsed.key_id for parsed in map(auth.parse_key, (first, second)) if parsed is not None]
    made = [store.state.keys[ident][0] for ident in ids]
    assert [(one.name, one.scopes, one.expires_at) for one in made] == [
        ("cli", ("admin",), None),
        ("web", ("read",), None),
    ]
    assert [(actor, details) for actor, _, _, details in journal(store)[1]] == [
        ("start", {"name": "cli", "scopes": ["admin"]}),
        ("start", {"name": "web", "scopes": ["read"]}),
    ]
    assert said() == [
        ("INFO", "key.registered", {"name": "cli", "scope": "admin"}),
        ("INFO", "key.registered", {"name": "web", "scope": "read"}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^the file .*/key with the cli API key cannot be read: .*No such file"),
        ("ty_ключ".encode(), r"^the file .*/key with the cli API key cannot be read: 'ascii' codec"),
        (b"ty_no_key", r"^the file .*/key does not hold an API key$"),
    ],
)
def test_files_without_a_key(store: MemoryStore, tmp_path: Path, content: bytes | None, message: str) -> None:
    """The error names the file."""
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        register_files(store, [(tmp_path / "key", "cli", "admin")])
