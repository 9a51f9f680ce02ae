"""gzip around bodies: what is unpacked, what is refused, and that nothing is unpacked that could not be a table."""

import gzip
import hashlib
import io
import zlib

import pytest
from tests.unit.ingest.reading import read

from trainyard.errors import ServiceError
from trainyard.schema import Column, Schema
from trainyard_ingest.domain import formats, limits
from trainyard_ingest.domain.packed import Unpacked
from trainyard_ingest.domain.source import Source

SCHEMA = Schema([Column("id", "int", nullable=False), Column("note", "text")])
CSV_BODY = b"id,note\n1,a\n2,b\n"


def _unpack(body, *, most=1 << 30, block=None, **floor):
    stream = io.BytesIO(body)
    if block:
        whole = stream.read
        stream.read = lambda _size: whole(block)
    return Unpacked(Source(stream, 1 << 30), most, **floor)


def _refusal(unpacked):
    with pytest.raises(ServiceError) as refused:
        for _ in unpacked.blocks():
            pass
    return refused.value


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (formats.CSV, CSV_BODY),
        (formats.NDJSON, b'{"id": 1, "note": "a"}\n{"id": 2, "note": "b"}\n'),
        (formats.JSON, b'[{"id": 1, "note": "a"}, {"id": 2, "note": "b"}]'),
    ],
)
def test_every_format_but_parquet(kind, body):
    """A packed body has the rows of the body within."""
    rows, tally = read(gzip.compress(body), formats.packed(kind), SCHEMA)
    assert rows == [[1, "a"], [2, "b"]]
    assert tally.rows == 2
    assert formats.by_name(f"x/Y{kind.endings[0].upper()}.GZ").name == formats.packed(kind).name == f"{kind.name}+gzip"


def test_parquet_is_not_packed_twice():
    """Parquet has a compression of its own; a packed one is refused, and a file of that name is none of ours."""
    with pytest.raises(ServiceError) as refused:
        formats.packed(formats.PARQUET)
    assert refused.value.code == "unsupported_media"
    assert formats.by_name("x.parquet.gz") is None
    assert formats.by_name("x.gz") is None
    assert formats.by_name("x.csv.gz.gz") is None


def test_the_hash_is_of_what_was_sent():
    """The packed bytes identify the body: they are what the sender can compare."""
    body = gzip.compress(CSV_BODY)
    source = Source(io.BytesIO(body), 1 << 20)
    assert b"".join(Unpacked(source, 1 << 20).blocks()) == CSV_BODY
    assert source.drain() == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("block", [1, 2, 7, None])
def test_however_it_is_cut(block):
    """Blocks of any size unpack to the same, damage is found in any of them, and so is what follows the end."""
    body = gzip.compress(CSV_BODY * 50)
    assert b"".join(_unpack(body, block=block).blocks()) == CSV_BODY * 50
    for more, said in ((b"\0", "no part"), (gzip.compress(b"x"), "another member"), (b"\x1f\x8b", "another member")):
        error = _refusal(_unpack(body + more, block=block or len(body)))
        assert error.code == "bad_gzip"
        assert said in error.message or block in (1, None)
    for cut in range(len(body)):
        assert _refusal(_unpack(body[:cut], block=block)).code == "bad_gzip"
        broken = body[:cut] + bytes([body[cut] ^ 0x10]) + body[cut + 1 :]
        try:
            unpacked = b"".join(_unpack(broken, block=block).blocks())
        except ServiceError as e:
            assert e.code == "bad_gzip"  # noqa: PT017 - either this, or nothing was damaged
        else:
            assert unpacked == CSV_BODY * 50  # only the head says nothing about the bytes within


@pytest.mark.parametrize("body", [b"", b"id\n1\n", zlib.compress(CSV_BODY), b"PK\x03\x04"])
def test_not_gzip(body):
    """Nothing is guessed: what is not gzip is refused, the body within zlib's own wrapping included."""
    assert _refusal(_unpack(body)).code == "bad_gzip"


def test_ratio():
    """Below the floor anything goes; beyond it the body may be a hundred times what was sent, not more."""
    floor = 100_000
    body = gzip.compress(b"x" * floor)
    assert sum(map(len, _unpack(body, floor=floor).blocks())) == floor
    assert _refusal(_unpack(gzip.compress(b"x" * (floor + 1)), floor=floor)).code == "bomb"
    plain = gzip.compress(b"0123456789abcdef" * 10_000, compresslevel=0)
    assert sum(map(len, _unpack(plain, floor=floor).blocks())) == 160_000


def test_a_bomb_of_many_rows_is_refused_before_the_first():
    """Nobody works on rows of a body whose first block shows what it is."""
    unpacked = _unpack(gzip.compress(b"1,x\n" * 5_000_000))
    with pytest.raises(ServiceError) as refused:
        next(unpacked.blocks())
    assert refused.value.code == "bomb"


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_most_unpacked(over, monkeypatch):
    """At the limit a body is read, one byte more is refused: as a bomb for any table, as too large for its format."""
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 1_000)
    body = gzip.compress(b"x" * (1_000 + over))
    for unpacked, code in (
        (_unpack(body), "bomb"),
        (_unpack(gzip.compress(b"x" * (500 + over)), most=500), "too_large"),
    ):
        if over > 0:
            assert _refusal(unpacked).code == code
        else:
            assert sum(map(len, unpacked.blocks())) in (1_000 + over, 500 + over)
