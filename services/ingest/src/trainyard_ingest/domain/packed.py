"""gzip around a body: one member, unpacked block by block, with limits that hold before the reader has the bytes."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from trainyard.errors import ServiceError
from trainyard_ingest.domain import limits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard_ingest.domain.source import Body

_PIECE_BYTES = 1 << 18
_GZIP_ONLY = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class Unpacked:
    """The body within a gzip body. The hash of :class:`~trainyard_ingest.domain.source.Source` is of what was sent.

    Args:
        source: the body as sent.
        most_bytes: unpacking more raises ``too_large``.
        floor: how many bytes may come out before the ratio is judged.
    """

    def __init__(self, source: Body, most_bytes: int, *, floor: int = limits.UNPACKED_FLOOR_BYTES) -> None:
        self._source = source
        self._most_bytes = most_bytes
        self._floor = floor
        self._packed = 0
        self._unpacked = 0

    @property
    def spool(self) -> Path | None:
        """Where the source puts what does not fit memory."""
        return self._source.spool

    def blocks(self) -> Iterator[bytes]:
        """Yield what the body unpacks to.

        Raises:
            ServiceError: ``bad_gzip``: not gzip, cut short, damaged, or followed by more; ``bomb``; ``too_large``.
        """
        inflater = zlib.decompressobj(_GZIP_ONLY)
        for block in self._source.blocks():
            if not self._packed:
                self._look_ahead(block)
            self._packed += len(block)
            if inflater.eof:
                raise _trailing(block)
            rest = block
            while True:
                try:
                    piece = inflater.decompress(rest, _PIECE_BYTES)
                except zlib.error as e:
                    raise ServiceError("bad_gzip", f"after {self._unpacked:,} unpacked bytes: {_reason(e)}") from e
                rest = inflater.unconsumed_tail
                if piece:
                    self._count(len(piece), self._packed - len(rest))
                    yield piece
                # Behind the end zlib hands the same rest out again and again.
                if inflater.eof or (not rest and len(piece) < _PIECE_BYTES):
                    break
            if inflater.eof and (behind := inflater.unused_data or rest):
                raise _trailing(behind)
        if not inflater.eof:
            raise ServiceError("bad_gzip", f"the body ends in the middle, after {self._packed:,} packed bytes")

    def _look_ahead(self, block: bytes) -> None:
        """Refuse a bomb that the first block shows, before anybody works on the millions of rows in it."""
        inflater, rest, unpacked = zlib.decompressobj(_GZIP_ONLY), block, 0
        while rest and unpacked <= self._floor:
            try:
                unpacked += len(inflater.decompress(rest, _PIECE_BYTES))
            except zlib.error:
                return  # who reads it to there says what is wrong
            self._judge(unpacked, len(block) - len(inflater.unconsumed_tail))
            rest = b"" if inflater.eof else inflater.unconsumed_tail

    def _count(self, size: int, packed: int) -> None:
        self._unpacked += size
        if self._unpacked > limits.MAX_UNPACKED_BYTES:
            raise ServiceError("bomb", f"the body unpacks to more than {limits.MAX_UNPACKED_BYTES:,} bytes")
        if self._unpacked > self._most_bytes:
            raise ServiceError("too_large", f"the body unpacks to more than {self._most_bytes:,} bytes")
        self._judge(self._unpacked, packed)

    def _judge(self, unpacked: int, packed: int) -> None:
        if unpacked > self._floor and unpacked > limits.MAX_UNPACKED_RATIO * packed:
            raise ServiceError(
                "bomb",
                f"{packed:,} packed bytes unpack to {unpacked:,} and more; from {self._floor:,} on they may"
                f" become {limits.MAX_UNPACKED_RATIO} times as many",
            )


def _trailing(rest: bytes) -> ServiceError:
    what = "another member" if rest.startswith(_MAGIC) else "bytes that are no part of it"
    return ServiceError("bad_gzip", f"behind the end of the gzip stream there is {what}; one member is read")


def _reason(error: zlib.error) -> str:
    """Return what zlib says without the words around it."""
    return str(error).partition(": ")[2] or str(error)
