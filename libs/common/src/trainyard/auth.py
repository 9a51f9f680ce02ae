"""API keys: how they are made, published and checked.

A key is ``ty_<id>_<secret>_<crc>``: 8 random bytes, 32 random bytes and the CRC-32 of the rest, all in hex. The
secret has full entropy, so a plain SHA-256 of it is stored. The scheduler publishes the live keys as one object;
every service keeps a :class:`KeyRing` over it.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import threading
from datetime import UTC, datetime

import msgpack

from trainyard import logs
from trainyard.errors import ServiceError, TrainyardError
from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobStore

SCOPES = ("admin", "operate", "ingest", "predict", "feedback", "read")
KEYS_OBJECT = "auth/keys.msgpack"
_VERSION = 1
_log = logs.get(__name__)


@dataclass(frozen=True)
class ParsedKey:
    """A well-formed key's parts; says nothing about whether it is live."""

    key_id: str
    secret_sha256: bytes


@dataclass(frozen=True)
class LiveKey:
    """A key as published: no secret, only its hash."""

    key_id: str
    secret_sha256: bytes
    scopes: tuple[str, ...]
    expires_at: datetime | None


@dataclass(frozen=True)
class Principal:
    """Who is asking."""

    key_id: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Tell whether the key carries ``scope``; ``admin`` carries all, ``operate`` carries ``read``."""
        return scope in self.scopes or "admin" in self.scopes or (scope == "read" and "operate" in self.scopes)


def make_key() -> str:
    """Return a new random API key."""
    body = f"ty_{os.urandom(8).hex()}_{os.urandom(32).hex()}"
    return f"{body}_{binascii.crc32(body.encode()):08x}"


def parse_key(text: str) -> ParsedKey | None:
    """Return the key's parts, or None when ``text`` is not a well-formed key."""
    parts = text.split("_")
    if len(parts) != 4 or parts[0] != "ty" or len(parts[1]) != 16 or len(parts[2]) != 64:
        return None
    body = "_".join(parts[:3])
    if not text.isascii() or f"{binascii.crc32(body.encode()):08x}" != parts[3]:
        return None
    return ParsedKey(parts[1], hashlib.sha256(parts[2].encode()).digest())


def encode_keys(keys: Iterable[LiveKey]) -> bytes:
    """Return the object under :data:`KEYS_OBJECT` for ``keys``: canonical, so equal keys give equal bytes."""
    listed = [
        {
            "id": key.key_id,
            "sha256": key.secret_sha256,
            "scopes": sorted(key.scopes),
            "expires_at": None if key.expires_at is None else int(key.expires_at.timestamp()),
        }
        for key in sorted(keys, key=lambda key: key.key_id)
    ]
    packed: bytes = msgpack.packb({"v": _VERSION, "keys": listed})
    return packed


def decode_keys(data: bytes) -> dict[str, LiveKey]:
    """Return the published keys by id.

    Raises:
        ValueError: the bytes are not a key object of this version.
    """
    raw: Any = msgpack.unpackb(data, strict_map_key=True)
    if not isinstance(raw, dict) or raw.get("v") != _VERSION:
        raise ValueError("not a key object of this version")
    return {
        item["id"]: LiveKey(
            item["id"],
            item["sha256"],
            tuple(item["scopes"]),
            None if item["expires_at"] is None else datetime.fromtimestamp(item["expires_at"], UTC),
        )
        for item in raw["keys"]
    }


class KeyRing:
    """The live keys as last published; refreshed by a timer, and at most twice a second for an unknown key.

    A header that was good once is known again by looking it up, for as long as the keys are the same.
    """

    _MIN_SECONDS_BETWEEN_READS = 0.5
    #: A caller whose key is unknown waits that long for a read that is under way, and never starts a second one:
    #: else callers without a key could hold every thread of a service while the store is slow.
    _LONGEST_WAIT_SECONDS = 1.0
    #: One key can be sent in many forms, which differ in their blanks.
    _MOST_KNOWN = 1_000

    def __init__(self, blobs: BlobStore, clock: Clock) -> None:
        self._blobs = blobs
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, LiveKey] | None = None
        self._known: dict[str, tuple[Principal, datetime | None]] = {}
        self._etag: str | None = None
        self._read_at = -1e9

    @property
    def ready(self) -> bool:
        """True once the keys have been read."""
        return self._keys is not None

    def refresh(self) -> None:
        """Read the published keys if they changed; when the store does not answer, the last ones stay in force."""
        with self._lock:
            self._read()

    def _read(self) -> None:
        try:
            blob = self._blobs.get_if_changed(KEYS_OBJECT, self._etag)
            if blob is not None:
                self._keys, self._known, self._etag = decode_keys(blob.data), {}, blob.etag
        except TrainyardError as e:  # credentials that cannot be had just now included: the timer's thread must live on
            _log.warning("keys.not_refreshed", reason=str(e))
        except (ValueError, KeyError, TypeError, OverflowError) as e:
            _log.error("keys.unreadable", error=e)
        finally:
            self._read_at = self._clock.monotonic()

    def answers_at_once(self, authorization: str | None) -> bool:
        """Tell whether :meth:`authenticate` will not read the store: the key is known, or is none at all."""
        parts = (authorization or "").split("_", 2)
        return self._keys is not None and (len(parts) < 3 or parts[1] in self._keys)

    def authenticate(self, authorization: str | None) -> Principal:
        """Return who sent the ``Authorization`` header.

        Raises:
            ServiceError: ``no_key`` or ``bad_key`` (401), or ``unavailable`` before the keys were ever read.
        """
        if not authorization:
            raise ServiceError("no_key", "this route needs an API key: Authorization: Bearer ty_...")
        known = self._known  # that of the keys which are looked at below: another thread may read new ones
        if (found := known.get(authorization)) is not None and not self._has_expired(found[1]):
            return found[0]
        scheme, _, text = authorization.partition(" ")
        parsed = parse_key(text.strip()) if scheme.lower() == "bearer" else None
        live = None if parsed is None else self._find(parsed.key_id)
        if (
            parsed is None
            or live is None
            or not hmac.compare_digest(live.secret_sha256, parsed.secret_sha256)
            or self._has_expired(live.expires_at)
        ):
            raise ServiceError("bad_key", "the API key is unknown, malformed, expired or revoked")
        who = Principal(live.key_id, frozenset(live.scopes))
        if len(known) < self._MOST_KNOWN:
            known[authorization] = who, live.expires_at
        return who

    def _has_expired(self, at: datetime | None) -> bool:
        return at is not None and at <= self._clock.now()

    def _find(self, key_id: str) -> LiveKey | None:
        if (self._keys is None or key_id not in self._keys) and self._lock.acquire(timeout=self._LONGEST_WAIT_SECONDS):
            try:
                if self._clock.monotonic() - self._read_at >= self._MIN_SECONDS_BETWEEN_READS:
                    self._read()
            finally:
                self._lock.release()
        if self._keys is None:
            raise ServiceError("unavailable", "the API keys have not been published yet; try again in a moment")
        return self._keys.get(key_id)
