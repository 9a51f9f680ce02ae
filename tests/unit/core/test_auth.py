"""API keys: made, published, checked, revoked."""

import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainyard.auth import KEYS_OBJECT, KeyRing, LiveKey, decode_keys, encode_keys, make_key, parse_key
from trainyard.clock import ManualClock
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ConfigError, ServiceError, TransientError
from trainyard.testing.fakes import MemoryBlobs


def _live(key, *scopes, expires_at=None):
    parsed = parse_key(key)
    return LiveKey(parsed.key_id, parsed.secret_sha256, scopes, expires_at)


@pytest.fixture
def clock():
    """A clock moved by hand."""
    return ManualClock()


@pytest.fixture
def blobs():
    """An empty store."""
    return MemoryBlobs()


def test_a_published_key_is_recognised_with_its_scopes(blobs, clock):
    """Bearer + key gives the principal."""
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "predict")]))
    who = KeyRing(blobs, clock).authenticate(f"Bearer {key}")
    assert who.may("predict")
    assert not who.may("ingest")


def test_admin_carries_every_scope_and_operate_carries_read(blobs, clock):
    """Scopes include each other as documented."""
    admin, operator = make_key(), make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(admin, "admin"), _live(operator, "operate")]))
    ring = KeyRing(blobs, clock)
    assert ring.authenticate(f"bearer {admin}").may("feedback")
    assert ring.authenticate(f"Bearer {operator}").may("read")
    assert not ring.authenticate(f"Bearer {operator}").may("ingest")


@pytest.mark.parametrize("header", [None, ""])
def test_no_header_is_no_key(header, blobs, clock):
    """Nothing sent and something wrong sent are told apart."""
    with pytest.raises(ServiceError) as caught:
        KeyRing(blobs, clock).authenticate(header)
    assert (caught.value.code, caught.value.status) == ("no_key", 401)


def _with_last_digit_changed(key):
    return key[:-1] + ("0" if key[-1] != "0" else "1")


@pytest.mark.parametrize(
    "spoil", [lambda key: "x", _with_last_digit_changed, lambda key: make_key(), lambda key: key + "é"]
)
def test_wrong_keys_are_refused_alike(spoil, blobs, clock):
    """Malformed, mistyped and unknown keys give the same answer."""
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "admin")]))
    with pytest.raises(ServiceError) as caught:
        KeyRing(blobs, clock).authenticate(f"Bearer {spoil(key)}")
    assert caught.value.code == "bad_key"


def test_a_key_ends_at_its_expiry(blobs, clock):
    """One second before: fine; at the second: refused."""
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "read", expires_at=clock.now() + timedelta(seconds=60))]))
    ring = KeyRing(blobs, clock)
    clock.advance(59)
    assert ring.authenticate(f"Bearer {key}").may("read")
    clock.advance(1)
    with pytest.raises(ServiceError):
        ring.authenticate(f"Bearer {key}")


def test_a_revoked_key_is_refused_after_the_next_refresh(blobs, clock):
    """Revocation is a new object without the key."""
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "read")]))
    ring = KeyRing(blobs, clock)
    ring.authenticate(f"Bearer {key}")
    blobs.put(KEYS_OBJECT, encode_keys([]))
    ring.refresh()
    with pytest.raises(ServiceError):
        ring.authenticate(f"Bearer {key}")


def test_a_new_key_works_before_the_timer(blobs, clock):
    """An unknown id makes the ring look again."""
    blobs.put(KEYS_OBJECT, encode_keys([]))
    ring = KeyRing(blobs, clock)
    ring.refresh()
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "read")]))
    clock.advance(1)
    assert ring.authenticate(f"Bearer {key}").may("read")


class _Away(MemoryBlobs):
    trouble = None

    def get_if_changed(self, key, etag):
        """Answer, or not."""
        if self.trouble is not None:
            raise self.trouble
        return super().get_if_changed(key, etag)


@pytest.mark.parametrize("trouble", [TransientError("away"), ConfigError("no credentials"), BlobMissingError("gone")])
def test_the_last_keys_stay_in_force_while_the_store_is_away(clock, trouble):
    """An outage of S3, or of the instance's credentials, locks nobody out and ends no timer."""
    blobs = _Away()
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "read")]))
    ring = KeyRing(blobs, clock)
    ring.refresh()
    blobs.trouble = trouble
    ring.refresh()
    assert ring.authenticate(f"Bearer {key}").may("read")


def test_before_any_keys_were_read_the_answer_is_unavailable(blobs, clock):
    """Not 401: the caller's key may be fine."""
    with pytest.raises(ServiceError) as caught:
        KeyRing(blobs, clock).authenticate(f"Bearer {make_key()}")
    assert caught.value.code == "unavailable"


def test_publishing_is_canonical(clock):
    """The same keys in another order are the same bytes."""
    a, b = _live(make_key(), "read", "ingest"), _live(make_key(), "admin", expires_at=clock.now())
    assert encode_keys([a, b]) == encode_keys([b, a])
    assert decode_keys(encode_keys([b]))[b.key_id] == b


@given(st.text(max_size=120))
def test_parsing_never_fails(text):
    """Whatever is sent as a key, the answer is a key or None."""
    assert parse_key(text) is None


class _Slow(MemoryBlobs):
    """A store that answers when it is allowed to."""

    def __init__(self):
        super().__init__()
        self.reads = 0
        self.asked = threading.Event()
        self.may_answer = threading.Event()

    def get_if_changed(self, key, etag):
        """Count, wait, answer."""
        self.reads += 1
        self.asked.set()
        assert self.may_answer.wait(10)
        return super().get_if_changed(key, etag)


def test_callers_with_unknown_keys_share_one_slow_read(clock):
    """They wait a moment for the read that is under way and start no second one behind it."""
    blobs = _Slow()
    blobs.put(KEYS_OBJECT, encode_keys([]))
    ring = KeyRing(blobs, clock)
    reader = threading.Thread(target=ring.refresh)
    reader.start()
    assert blobs.asked.wait(10)
    clock.advance(60)
    with pytest.raises(ServiceError) as caught:
        ring.authenticate(f"Bearer {make_key()}")
    assert caught.value.code == "unavailable"
    blobs.may_answer.set()
    reader.join(10)
    with pytest.raises(ServiceError) as caught:
        ring.authenticate(f"Bearer {make_key()}")
    assert (caught.value.code, blobs.reads) == ("bad_key", 1)


def test_the_first_caller_waits_for_the_first_read(clock):
    """A service that has just started answers with the keys that are being read, not with an outage."""
    blobs = _Slow()
    key = make_key()
    blobs.put(KEYS_OBJECT, encode_keys([_live(key, "read")]))
    ring = KeyRing(blobs, clock)
    reader = threading.Thread(target=ring.refresh)
    reader.start()
    assert blobs.asked.wait(10)
    threading.Timer(0.05, blobs.may_answer.set).start()
    assert ring.authenticate(f"Bearer {key}").may("read")
    reader.join(10)
