"""JSON (`{"rows": [...]}` or `[...]`) and NDJSON (one object a line): strict JSON, columns bound by name."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from trainyard import strict_json
from trainyard.contracts.warehouse import Rows
from trainyard.errors import Problem, ServiceError
from trainyard_ingest.domain.cells import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from trainyard.schema import Schema
    from trainyard_ingest.domain.source import Source
    from trainyard_ingest.domain.tally import Tally

CHUNK_ROWS = 1_000
MAX_LINE_BYTES = 1 << 20
#: Where :meth:`Schema.check_rows` stops listing problems, and takes the rest of the rows for bad.
_MAX_PROBLEMS = 10_000


def read_json(source: Source, schema: Schema, tally: Tally) -> Rows:
    """Parse the whole body, then check its rows.

    Raises:
        ServiceError: ``bad_json``, ``bad_request`` or ``empty_body``.
    """
    return _rows(json_objects(source), schema, tally)


def read_ndjson(source: Source, schema: Schema, tally: Tally) -> Rows:
    """Check rows line by line as they arrive; errors of the format are raised by the chunks."""
    return _rows(ndjson_objects(source), schema, tally)


def json_objects(source: Source) -> Iterator[Any]:
    """Return the rows of a JSON body."""
    value = strict_json.loads(b"".join(source.blocks()))
    if isinstance(value, dict) and set(value) == {"rows"}:
        value = value["rows"]
    if not isinstance(value, list):
        raise ServiceError("bad_request", 'the body must be {"rows": [...]} or [...]')
    return iter(value)


def ndjson_objects(source: Source) -> Iterator[Any]:
    """Yield the value of each line that is not blank."""
    number = 0
    for line in _lines(source.blocks()):
        number += 1
        if line.isspace():
            continue
        if len(line) > MAX_LINE_BYTES:
            _refuse_line(number)
        try:
            yield strict_json.loads(line)
        except ServiceError as e:
            raise ServiceError(e.code, f"line {number:,}: {e.message}", e.details) from e


def _refuse_line(number: int) -> NoReturn:
    raise ServiceError("bad_json", f"line {number:,} is longer than {MAX_LINE_BYTES:,} bytes")


def _lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    rest, count = b"", 0
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        count += len(lines)
        if len(rest) > MAX_LINE_BYTES:
            _refuse_line(count + 1)
        yield from (line + b"\n" for line in lines)
    if rest:
        yield rest + b"\n"


def _rows(objects: Iterator[Any], schema: Schema, tally: Tally) -> Rows:
    return Rows(schema.names, _checked(objects, schema, tally))


def _checked(objects: Iterator[Any], schema: Schema, tally: Tally) -> Iterator[bytes]:
    names = schema.names
    size = max(1, min(CHUNK_ROWS, _MAX_PROBLEMS // (2 * len(names))))
    while chunk := list(islice(objects, size)):
        clean, problems = _check(schema, chunk)
        good = [",".join(_cell(row[name]) for name in names) for row in clean if row is not None]
        before = tally.rows
        renumbered = (Problem(before + (p.row or 0), p.column, p.expected, p.got) for p in problems)
        tally.add(len(chunk), len(chunk) - len(good), renumbered)
        if good:
            yield ("\n".join(good) + "\n").encode()


def _cell(value: Any) -> str:
    """Return a clean value as a cell: texts in quotes, so that the empty one differs from the missing."""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return as_text(value, missing="")


def _check(schema: Schema, chunk: Sequence[Any]) -> tuple[list[dict[str, Any] | None], list[Problem]]:
    """Check rows; when there are more problems than the schema lists at once, row by row."""
    clean, problems = schema.check_rows(chunk)
    if len(problems) <= _MAX_PROBLEMS:
        return clean, problems
    clean, problems = [], []
    for number, value in enumerate(chunk, start=1):
        checked, found = schema.check_rows([value])
        clean += checked
        problems += [Problem(number, p.column, p.expected, p.got) for p in found[:_MAX_PROBLEMS]]
    return clean, problems
