"""Entry of the process that decodes one Parquet file: ``python -I -m trainyard_ingest.parquet_decoder FD SIZE``.

The job comes as JSON on standard input: ``{"columns": [...]}`` for rows of a schema, ``{"infer": true}`` for a schema.
Answers are frames on standard output: two lengths, a JSON head, data. Its memory, processor time and files are limited
before the first byte of the file is read.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from trainyard.contracts.warehouse import MAX_REJECTS_KEPT
from trainyard.errors import Problem, ServiceError
from trainyard.schema import Schema
from trainyard_ingest.domain import limits
from trainyard_ingest.domain.parquet_file import ParquetRows, RowReader

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAME = struct.Struct(">II")
#: What it may say of its own death; standard error is a file, and no other file is written.
_MOST_WORDS_BYTES = 1 << 16
_STATM = Path("/proc/self/statm")


def main() -> int:
    """Do the job; return 0 whenever the answer is complete, a refusal included."""
    number, size = int(sys.argv[1]), int(sys.argv[2])
    job = json.loads(sys.stdin.buffer.read())
    _confine()
    try:
        for head, data in _answers(f"/dev/fd/{number}", size, job):
            _send(head, data)
    except ServiceError as e:
        _send({"error": [e.code, e.message, [_plain(problem) for problem in e.details]]})
        return 0
    except MemoryError:
        _send({"error": ["parquet_limit", "decoding takes more memory than a file may", []]})
        return 0
    _send({"end": True})
    return 0


def _answers(path: str, size: int, job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    file = ParquetRows(path, size)
    if "infer" in job:
        yield {"schema": file.infer().to_dict()}, b""
        return
    reader = RowReader(file.types, Schema.from_dict({"columns": job["columns"]}))
    written = kept = 0
    for batch in file.batches():
        data, rejected, problems = reader.read(batch, MAX_REJECTS_KEPT - kept)
        kept += len(problems)
        written += len(data)
        if written > limits.MAX_UNPACKED_BYTES:
            raise ServiceError("parquet_limit", f"its rows are more than {limits.MAX_UNPACKED_BYTES:,} bytes of CSV")
        rows = {"rows": batch.num_rows, "rejected": rejected, "problems": [_plain(p) for p in problems]}
        yield rows, data


def _plain(problem: Problem) -> list[Any]:
    return [problem.row, problem.column, problem.expected, problem.got]


def _send(head: dict[str, Any], data: bytes = b"") -> None:
    text = json.dumps(head).encode()
    out = sys.stdout.buffer
    out.write(_FRAME.pack(len(text), len(data)) + text)
    out.write(data)
    out.flush()


def _confine() -> None:
    """Limit what hostile bytes can make of this process; memory only where the kernel tells how much it has."""
    # Arrow imports pandas when it likes to: bytecode that is cut off at the limit of a file's size stays for everybody.
    sys.dont_write_bytecode = True
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limited = [
        (resource.RLIMIT_CPU, limits.MAX_DECODER_SECONDS),
        (resource.RLIMIT_FSIZE, _MOST_WORDS_BYTES),
        (resource.RLIMIT_CORE, 0),
    ]
    if _STATM.exists():
        taken = int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        limited.append((resource.RLIMIT_AS, taken + limits.MAX_DECODER_BYTES))
    for what, most in limited:
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    sys.exit(main())
