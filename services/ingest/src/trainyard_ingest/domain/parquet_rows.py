"""Parquet: the upload is put on disk, judged by its footer, and decoded by a process with little memory and no rights.

The decoder (:mod:`trainyard_ingest.parquet_decoder`) may be killed by what it reads; then the file is refused and
nothing else happens. It answers in frames: a JSON head and CSV.
"""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.warehouse import Rows
from trainyard.errors import Problem, ServiceError
from trainyard.schema import Schema
from trainyard_ingest.domain import limits

_log = logs.get(__name__)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from trainyard_ingest.domain.source import Body
    from trainyard_ingest.domain.tally import Tally

    _Frame = tuple[dict[str, Any], bytes]

_FRAME = struct.Struct(">II")
_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_TAIL_BYTES = 8
_LAST_WORDS = 500
#: One malloc arena and Arrow on it: what is freed can be taken again, and address space is what is used.
_ENVIRONMENT = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}


def read_parquet(source: Body, schema: Schema, tally: Tally) -> Rows:
    """Return the checked rows; everything is read, and refused, by the chunks."""
    return Rows(schema.names, _chunks(source, schema, tally))


def parquet_schema(source: Body) -> Schema:
    """Return the schema that a sample suggests.

    Raises:
        ServiceError: ``bad_parquet``, ``parquet_limit``, ``empty_body``, ``invalid_rows`` or ``invalid_schema``.
    """
    with _on_disk(source) as (file, size):
        for head, _ in _decoded(file, size, {"infer": True}):
            if "schema" in head:
                return Schema.from_dict(head["schema"])
    raise ServiceError("bad_parquet", "the file holds no schema")


def _chunks(source: Body, schema: Schema, tally: Tally) -> Iterator[bytes]:
    columns = [{**column.to_dict(), "categories": None} for column in schema.columns]
    with _on_disk(source) as (file, size):
        for head, data in _decoded(file, size, {"columns": columns}):
            before = tally.rows
            problems = [Problem(*problem) for problem in head["problems"]]
            tally.add(head["rows"], head["rejected"], (replace(p, row=before + (p.row or 0)) for p in problems))
            if data:
                yield data


@contextmanager
def _on_disk(source: Body) -> Iterator[tuple[IO[bytes], int]]:
    """Give the body as a file without a name, whose both ends look like Parquet."""
    with TemporaryFile(dir=source.spool, buffering=0) as file:
        for block in source.blocks():
            file.write(block)
        size = file.tell()
        _check_ends(file, size)
        yield file, size


def _check_ends(file: IO[bytes], size: int) -> None:
    if size == 0:
        raise ServiceError("empty_body", "the body is empty; send a Parquet file")
    file.seek(0)
    head = file.read(len(_MAGIC))
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    if _ENCRYPTED in (head, tail[4:]):
        raise ServiceError("bad_parquet", "the file is encrypted")
    if head != _MAGIC:
        raise ServiceError("bad_parquet", "the body does not begin like a Parquet file")
    if size < len(_MAGIC) + _TAIL_BYTES or tail[4:] != _MAGIC:
        raise ServiceError("bad_parquet", "the file is cut short: it does not end like a Parquet file")
    footer = int.from_bytes(tail[:4], "little")
    if footer > limits.MAX_FOOTER_BYTES:
        raise ServiceError(
            "parquet_limit", f"the footer has {footer:,} bytes; at most {limits.MAX_FOOTER_BYTES:,} are read"
        )
    if footer > size - len(_MAGIC) - _TAIL_BYTES:
        raise ServiceError("bad_parquet", f"the footer claims {footer:,} bytes of a file of {size:,}")


def _decoded(file: IO[bytes], size: int, job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the decoder's frames.

    Raises:
        ServiceError: what the decoder found, or ``bad_parquet`` when it did not live to tell.
    """
    number = file.fileno()
    command = (sys.executable, "-I", "-m", "trainyard_ingest.parquet_decoder", str(number), str(size))
    with (
        TemporaryFile() as words,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, pass_fds=(number,), env=_ENVIRONMENT
        ) as process,
    ):
        try:
            ended = yield from _frames(process, job)
            if not ended:
                status = process.wait()
                words.seek(0)
                last = words.read()[-_LAST_WORDS:].decode(errors="replace")
                _log.warning("parquet.decoder_died", status=status, said=last)
                raise _death(status)
        finally:
            process.kill()


def _frames(process: subprocess.Popen[bytes], job: dict[str, Any]) -> Generator[_Frame, None, bool]:
    """Yield frames; return whether the last one said that it was the last."""
    if process.stdin is None or process.stdout is None:
        raise ValueError("the decoder has no pipes")
    try:
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
    except BrokenPipeError:
        return False
    while len(sizes := process.stdout.read(_FRAME.size)) == _FRAME.size:
        head_size, data_size = _FRAME.unpack(sizes)
        head, data = process.stdout.read(head_size), process.stdout.read(data_size)
        if len(head) + len(data) < head_size + data_size:
            break
        said = json.loads(head)
        if "error" in said:
            code, message, details = said["error"]
            raise ServiceError(code, message, [Problem(*problem) for problem in details])
        if "end" in said:
            return True
        yield said, data
    return False


def _death(status: int) -> ServiceError:
    if status == -signal.SIGXCPU:
        return ServiceError("parquet_limit", f"decoding takes more than {limits.MAX_DECODER_SECONDS} s of a processor")
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
    return ServiceError("bad_parquet", f"the file cannot be decoded: its decoder ended {how}")
