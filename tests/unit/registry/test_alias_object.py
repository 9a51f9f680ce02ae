"""The alias object: its bytes are canonical, and anything else is refused by name."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from trainyard.alias_object import (
    AliasObject,
    alias_key,
    artifact_key,
    decode_alias,
    encode_alias,
    model_key,
    version_key,
    version_object,
)

_SHA = "ab" * 32
_ALIAS = AliasObject("late", "champion", 3, artifact_key("late", _SHA), _SHA, 1234, 1.0, 7)


def _raw() -> dict[str, Any]:
    value: dict[str, Any] = msgpack.unpackb(encode_alias(_ALIAS))
    return value


def test_round_trip() -> None:
    """What was encoded comes back, and an alias is about 200 bytes."""
    assert decode_alias(encode_alias(_ALIAS)) == _ALIAS
    assert len(encode_alias(_ALIAS)) < 350


def test_keys() -> None:
    """The keys are those of the API page."""
    assert alias_key("late", "champion") == "aliases/late/champion"
    assert artifact_key("late", _SHA) == f"models/late/{_SHA}.msgpack"
    assert version_key("late", 12) == "versions/late/12"
    assert model_key("late") == "catalogue/late"
    with pytest.raises(ValueError, match="count from 1"):
        version_key("late", 0)


def test_a_versions_object_is_in_the_aliases_format() -> None:
    """It names the version, its artifact and no alias that could be asked for by mistake."""
    made = version_object("late", 12, _SHA, 99)
    assert decode_alias(encode_alias(made)) == made
    assert (made.version, made.key, made.size, made.seq) == (12, artifact_key("late", _SHA), 99, 0)


@pytest.mark.parametrize("name", ["", "..", "a/b", "Upper", "a" * 49, "a\n", "1a"])
def test_no_text_becomes_a_key(name: str) -> None:
    """A name that is not well-formed never becomes part of a key."""
    with pytest.raises(ValueError, match="not a name"):
        alias_key("late", name)
    with pytest.raises(ValueError, match="not a name"):
        artifact_key(name, _SHA)


@pytest.mark.parametrize("sha256", ["", "AB" * 32, "ab" * 31, "../" + "a" * 61])
def test_hash_must_be_a_hash(sha256: str) -> None:
    """Only 64 lower-case hex digits are a hash."""
    with pytest.raises(ValueError, match="not a SHA-256"):
        artifact_key("late", sha256)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"version": 0},
        {"version": "3"},
        {"version": True},
        {"size": -1},
        {"weight": float("nan")},
        {"weight": float("inf")},
        {"seq": -1},
        {"key": "models/other/x.msgpack"},
        {"model": "../x"},
        {"alias": "A"},
        {"more": 1},
    ],
)
def test_broken_object_is_refused(change: dict[str, Any]) -> None:
    """Every field is checked."""
    with pytest.raises(ValueError, match=r"alias object|not a name"):
        decode_alias(msgpack.packb({**_raw(), **change}))


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93", b"x" * 5000, msgpack.packb([1]), encode_alias(_ALIAS)[:-1],
                                  msgpack.packb({"v": 1, b"bytes": 1, "text": 1})])  # fmt: skip
def test_other_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no alias object raise ValueError and nothing else."""
    with pytest.raises(ValueError, match="alias object"):
        decode_alias(data)
