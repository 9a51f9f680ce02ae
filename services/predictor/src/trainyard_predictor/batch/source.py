"""A job's input as lines: read from the store piece by piece, unpacked if need be, from any line on."""

from __future__ import annotations

import io
import zlib
from typing import TYPE_CHECKING

from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ServiceError
from trainyard_predictor.batch.job import CSV

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.contracts.part_store import PartStore
    from trainyard_predictor.batch.job import Job

#: Longest line in bytes.
MAX_LINE_BYTES = 1 << 20
_PIECE_BYTES = 4 << 20
_GZIP = 31
#: What a packed input may unpack to: so many times its size, or the floor.
_MAX_RATIO = 100
_FLOOR_BYTES = 16 << 20


class Source:
    """The input of one job; ``taken`` counts the bytes of the object that were read."""

    def __init__(self, blobs: PartStore, job: Job) -> None:
        self._blobs = blobs
        self._job = job
        self.taken = 0

    def lines(self, start: int) -> Iterator[bytes]:
        """Yield the lines, with their ends, from byte ``start`` of the unpacked input on.

        Raises:
            ServiceError: ``conflict`` when the object was changed or is gone, ``bad_gzip``, ``bomb``, ``csv_limit`` or
                ``json_limit`` for a line that is too long.
        """
        rest = b""
        for block in self._unpacked(start) if self._job.packed else self._pieces(start):
            lines = io.BytesIO(rest + block).readlines()
            rest = b"" if not lines or lines[-1].endswith(b"\n") else lines.pop()
            for line in lines:
                if len(line) > MAX_LINE_BYTES:
                    raise self._too_long()
                yield line
            if len(rest) > MAX_LINE_BYTES:
                raise self._too_long()
        if rest:
            yield rest

    def _pieces(self, start: int) -> Iterator[bytes]:
        job = self._job
        self.taken = start
        while self.taken < job.size:
            try:
                piece = self._blobs.read_range(job.source, self.taken, _PIECE_BYTES, etag=job.etag)
            except BlobMissingError as e:
                raise ServiceError("conflict", f"the input {job.source} was changed or removed meanwhile") from e
            self.taken += len(piece)
            yield piece

    def _unpacked(self, start: int) -> Iterator[bytes]:
        """Yield the unpacked bytes from ``start`` on; those before are unpacked again, which gzip cannot go without."""
        most = max(self._job.size * _MAX_RATIO, _FLOOR_BYTES)
        total = 0
        unpacker, begun = zlib.decompressobj(_GZIP), True
        try:
            for piece in self._pieces(0):
                data = piece
                while data:
                    out = unpacker.decompress(data, _PIECE_BYTES)
                    data, begun = unpacker.unconsumed_tail, True
                    if unpacker.eof:  # another stream may follow, as where files were joined
                        data, begun = unpacker.unused_data, False
                        unpacker = zlib.decompressobj(_GZIP)
                    total += len(out)
                    if total > most:
                        raise ServiceError("bomb", f"the input unpacks to more than {most:,} bytes")
                    if total > start:
                        yield out[max(0, len(out) - (total - start)) :]
        except zlib.error as e:
            raise ServiceError("bad_gzip", f"the input is not one whole gzip stream: {e}") from e
        if begun:
            raise ServiceError("bad_gzip", "the input ends before its gzip stream does")

    def _too_long(self) -> ServiceError:
        code = "csv_limit" if self._job.form == CSV else "json_limit"
        return ServiceError(code, f"a line of the input is longer than {MAX_LINE_BYTES:,} bytes")
