"""Parquet files by way of pyarrow, within limits. Used by the decoder's process only: the bytes may be hostile.

The footer is judged before a page is read. Columns are bound by name; whether a file's type can be a column's type is
settled for the whole file, whether each value fits for each row.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from trainyard.errors import Problem, ServiceError
from trainyard.schema import Column, Schema, check_value, infer_schema, shown
from trainyard_ingest.domain import limits
from trainyard_ingest.domain.arrow_csv import as_csv
from trainyard_ingest.domain.parquet_columns import Converter, converter, no_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_SAMPLE_ROWS = 20_000
_BATCH_ROWS, _BATCH_CELLS, _BATCH_BYTES = 8_192, 500_000, 4 << 20
_MAX_DETAILS = 100
#: Of which types of a file any value tells the type of the column.
_SPEAKERS: tuple[tuple[Callable[[Any], bool], Any], ...] = (
    (pa.types.is_floating, 0.5),
    (pa.types.is_decimal, 0.5),
    (pa.types.is_boolean, True),
    (pa.types.is_date, date(2000, 1, 1)),
    (pa.types.is_timestamp, datetime(2000, 1, 1, tzinfo=UTC)),
)
_TOO_LARGE = "Exceeded size limit"  # as Arrow's reader of the footer says it


class ParquetRows:
    """A file whose footer was found good.

    Args:
        path: the file; it is read at random, so it is on disk.
        size: its size in bytes.

    Raises:
        ServiceError: ``bad_parquet``, ``parquet_limit`` or ``empty_body``.
    """

    def __init__(self, path: str, size: int) -> None:
        try:
            self._file = parquet.ParquetFile(
                pa.OSFile(path),
                buffer_size=1 << 18,
                pre_buffer=False,
                thrift_string_size_limit=limits.MAX_FOOTER_BYTES,
                thrift_container_size_limit=limits.MAX_FOOTER_ENTRIES,
                page_checksum_verification=True,
                arrow_extensions_enabled=False,
            )
            self.types: pa.Schema = self._file.schema_arrow
        except (pa.ArrowException, OSError) as e:
            if _TOO_LARGE in str(e):
                raise _over(f"a list of the footer has more than {limits.MAX_FOOTER_ENTRIES:,} entries") from e
            raise _unreadable(e) from e
        self.rows, unpacked = _judge(self._file.metadata, size)
        width = unpacked // max(1, self.rows)
        most = min(_BATCH_ROWS, _BATCH_CELLS // max(1, len(self.types)), _BATCH_BYTES // max(1, width))
        self._batch_rows = max(1, most)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows; whatever is wrong with the pages shows here, as ``bad_parquet`` or ``parquet_limit``."""
        try:
            yield from self._file.iter_batches(batch_size=self._batch_rows, use_threads=False)
        except (pa.ArrowMemoryError, MemoryError) as e:
            raise ServiceError(
                "parquet_limit",
                f"decoding takes more than {limits.MAX_DECODER_BYTES >> 20} MiB of memory; write smaller pages",
            ) from e
        except (pa.ArrowException, OSError) as e:
            raise _unreadable(e) from e

    def infer(self) -> Schema:
        """Return the schema that types and first rows suggest."""
        _refuse_types(_named_twice(self.types.names))
        for name in self.types.names:
            _refuse_types([p for p in [no_column(self.types.field(name))] if p is not None])
        columns: dict[str, list[Any]] = {name: [] for name in self.types.names}
        taken = 0
        for batch in self.batches():
            for name, array in zip(self.types.names, batch.columns, strict=True):
                columns[name] += _sample(array)
            taken += batch.num_rows
            if taken >= _SAMPLE_ROWS:
                break
        if not taken:
            raise ServiceError("empty_body", "the sample holds no row")
        return infer_schema(columns)


def _sample(array: Any) -> list[Any]:
    """Return values that tell a column's type: texts as they are, of anything else one that speaks for all.

    A text that looks like a number or a truth value is a text all the same, and a number or time that no column takes
    (NaN, the year 10,000) is rejected by its row later; it makes no other type of its column.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.null_count == len(array):
        return []
    if pa.types.is_integer(array.type):
        return [pc.max(array).as_py()]
    for test, value in _SPEAKERS:
        if test(array.type):
            return [value]
    texts = array.cast(pa.string()).cast(pa.binary()).to_pylist()
    values = [v if v is None else v.decode(errors="replace") for v in texts]
    kinds = [Column("c", kind) for kind in ("date", "timestamp")]
    return [v if v is None or any(check_value(kind, v)[1] is None for kind in kinds) else f"~{v}" for v in values]


def _named_twice(names: Sequence[str]) -> list[Problem]:
    return [Problem(None, shown(n), "a column named once", "twice") for n in {n for n in names if names.count(n) > 1}]


class RowReader:
    """Binds a file's columns to a schema and turns its rows into CSV with a cell for every column of the schema.

    Raises:
        ServiceError: ``invalid_rows``: the file's columns do not fit the schema.
    """

    def __init__(self, types: pa.Schema, schema: Schema) -> None:
        self._schema = schema
        self._converters: dict[str, Converter] = {}
        names = list(types.names)
        problems = _named_twice(names)
        problems += [Problem(None, shown(n), "a column of the schema", shown(n)) for n in names if n not in schema]
        problems += [
            Problem(None, column.name, "the column to be present", "absent")
            for column in schema.columns
            if not column.nullable and column.name not in names
        ]
        if not problems:
            for column in schema.columns:
                if column.name in names:
                    found = converter(column, types.field(column.name))
                    if isinstance(found, Problem):
                        problems.append(found)
                    else:
                        self._converters[column.name] = found
        _refuse_types(problems)

    def read(self, batch: pa.RecordBatch, most_problems: int) -> tuple[bytes, int, list[Problem]]:
        """Return the good rows, how many were rejected, and their problems, rows counted from 1 in the batch."""
        rows = batch.num_rows
        arrays = []
        bad: dict[int, list[Problem]] = {}
        for column in self._schema.columns:
            if column.name not in self._converters:
                arrays.append(pa.nulls(rows, pa.string()))
                continue
            array, odd = self._converters[column.name].read(batch.column(column.name))
            arrays.append(array)
            for place, expected, got in odd:
                bad.setdefault(place, []).append(Problem(place + 1, column.name, expected, got))
        if bad:
            good = pa.array([place for place in range(rows) if place not in bad], pa.int64())
            arrays = [array.take(good) for array in arrays]
        problems = [problem for place in sorted(bad) for problem in bad[place]]
        return as_csv(arrays, rows - len(bad)), len(bad), problems[:most_problems]


def _judge(metadata: Any, size: int) -> tuple[int, int]:
    """Return rows and unpacked bytes as the footer claims them, or refuse the file."""
    groups = metadata.num_row_groups
    if groups > limits.MAX_ROW_GROUPS:
        raise _over(f"it has {groups:,} row groups; at most {limits.MAX_ROW_GROUPS:,} are read")
    if metadata.num_columns > limits.MAX_PARQUET_COLUMNS:
        raise _over(f"it has {metadata.num_columns:,} columns; at most {limits.MAX_PARQUET_COLUMNS:,} are read")
    rows = unpacked = 0
    for number in range(groups):
        group = metadata.row_group(number)
        sizes = [group.column(place).total_uncompressed_size for place in range(group.num_columns)]
        if group.num_rows < 0 or min(sizes, default=0) < 0:
            raise ServiceError("bad_parquet", "the footer claims less than nothing")
        rows += group.num_rows
        unpacked += max(group.total_byte_size, sum(sizes))
    if max(rows, metadata.num_rows) > limits.MAX_ROWS:
        raise _over(f"it claims {max(rows, metadata.num_rows):,} rows; at most {limits.MAX_ROWS:,} are read")
    if rows != metadata.num_rows:
        raise ServiceError("bad_parquet", f"the footer claims {metadata.num_rows:,} rows, its row groups {rows:,}")
    if unpacked > limits.MAX_UNPACKED_BYTES:
        raise _over(f"its pages unpack to {unpacked:,} bytes; at most {limits.MAX_UNPACKED_BYTES:,} are read")
    if unpacked > limits.UNPACKED_FLOOR_BYTES and unpacked > limits.MAX_UNPACKED_RATIO * size:
        raise _over(f"{size:,} bytes unpack to {unpacked:,}, more than {limits.MAX_UNPACKED_RATIO} times as many")
    return rows, unpacked


def _over(message: str) -> ServiceError:
    return ServiceError("parquet_limit", f"the file is over a limit: {message}")


def _unreadable(error: Exception) -> ServiceError:
    return ServiceError("bad_parquet", f"the file cannot be read: {shown(str(error))}")


def _refuse_types(problems: Sequence[Problem]) -> None:
    if problems:
        raise ServiceError(
            "invalid_rows",
            "the file's columns do not fit the schema; nothing was stored",
            list(problems)[:_MAX_DETAILS],
        )
