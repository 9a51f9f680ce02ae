r"""The text that COPY writes, parsed into columns by Arrow, which holds no lock of the interpreter meanwhile.

COPY's text has a tab between cells and a line end behind a row; ``\N`` is a missing value, and in texts a tab, a line
end, a backslash and a few more are written as a backslash and a letter. So a line end always ends a row, and a text is
taken as it is written: what stands for what is looked up once for each distinct text.

Dates and times come as the server's own numbers (``date_send``, ``timestamptz_send``) in hexadecimal, ``\\\\x`` and the
digits: every year is exact, no setting of the session counts, and the server writes them faster than as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from psycopg2 import sql
from pyarrow import csv

if TYPE_CHECKING:
    from trainyard.schema import Column, Schema

NULL = r"\N"
_TYPES = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "text": pa.dictionary(pa.int32(), pa.string()),
    "date": pa.binary(),
    "timestamp": pa.binary(),
}
#: The pool that is Arrow's default here keeps what it has had: 20 MB more than this one at the end of a reading.
POOL = pa.system_memory_pool()


def cell(column: Column, name: sql.Composable) -> sql.Composable:
    """Return what is to be selected for a column of this physical name."""
    sent = {"date": "pg_catalog.date_send", "timestamp": "pg_catalog.timestamptz_send"}.get(column.type)
    return name if sent is None else sql.SQL(f"{sent}({{}})").format(name)


class TextParser:
    """Parses pieces of COPY's text, whole rows of ``ingest_seq`` and the schema's columns."""

    def __init__(self, schema: Schema) -> None:
        self._types = {"seq": pa.int64()} | {f"c{n}": _TYPES[c.type] for n, c in enumerate(schema.columns)}

    def cells(self, piece: memoryview) -> list[pa.Array]:
        """Return the columns of a piece: texts dictionary-encoded, dates and times as they came."""
        table = csv.read_csv(
            pa.py_buffer(piece),
            read_options=csv.ReadOptions(use_threads=False, block_size=len(piece) + 1, column_names=list(self._types)),
            parse_options=csv.ParseOptions(
                delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False
            ),
            convert_options=csv.ConvertOptions(
                column_types=self._types,
                null_values=[NULL],
                strings_can_be_null=True,
                true_values=["t"],
                false_values=["f"],
                check_utf8=False,  # the session's encoding is UTF8, so the server has checked it
            ),
            memory_pool=POOL,
        )
        return [column.chunk(0) for column in table.columns]  # it fits into the reader's one block


def view(values: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return the numbers of an array, whatever they are where one is missing; ``dtype`` is its type.

    Arrow's own ``to_numpy`` imports pandas where that is installed: a second of nothing else.
    """
    size = np.dtype(dtype).itemsize
    return np.frombuffer(values.buffers()[1], dtype, len(values), values.offset * size)
