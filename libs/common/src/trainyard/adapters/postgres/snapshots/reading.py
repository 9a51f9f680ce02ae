"""One reading of one table: what comes from blocks, what from rows, and how both become a snapshot.

Two threads work at it, because the server formats rows about as fast as one core parses them: the caller's receives
from the server, the other makes columns of what was received. Blocks that are new are stored by a third.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg2 import sql

from trainyard.adapters.postgres import blocks
from trainyard.adapters.postgres.blocks import Fresh, Stored
from trainyard.adapters.postgres.snapshots import wire
from trainyard.adapters.postgres.snapshots.filling import Filling
from trainyard.adapters.postgres.snapshots.lane import Lane
from trainyard.adapters.postgres.snapshots.text import TextParser, cell, view
from trainyard.errors import TrainyardError
from trainyard.snapshot.assembly import Assembler
from trainyard.snapshot.block import Block, join
from trainyard.snapshot.packing import BadBlockError, pack, unpack
from trainyard.snapshot.units import units_of_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import sqlalchemy as sa

    from trainyard.schema import Schema
    from trainyard.snapshot import Snapshot

_PIECES_WAITING = 2
_BLOCKS_WAITING = 1


class CorruptBlockError(TrainyardError):
    """The bytes of a stored block are not what was written."""

    def __init__(self, block: Stored, why: str) -> None:
        super().__init__(why)
        self.block = block


@dataclass(frozen=True)
class Table:
    """What is read: the rows ``first_seq`` to ``last_seq``, the newest that is not behind ``upto_seq``."""

    dataset_id: int
    revision: int
    schema: Schema
    physical: tuple[str, ...]
    first_seq: int
    last_seq: int
    upto_seq: int
    block_rows: int

    def begin(self, seq: int) -> int:
        """Return the first number of the block that ``seq`` is in."""
        return (seq - 1) // self.block_rows * self.block_rows + 1

    def end(self, begin: int) -> int:
        """Return the number up to which the block is wanted."""
        return min(begin + self.block_rows - 1, self.last_seq)


@dataclass(frozen=True)
class _Span:
    """Numbers that are read in one go, from blocks or from rows."""

    first_seq: int
    last_seq: int
    packed: bool


def spans(table: Table, known: dict[int, Stored]) -> Iterator[_Span]:
    """Yield what is to be read, in order, neighbours of one kind as one span."""
    open_span: _Span | None = None
    for begin in range(table.begin(table.first_seq), table.last_seq + 1, table.block_rows):
        stored, end = known.get(begin), table.end(begin)
        covered = begin - 1 if stored is None else min(stored.last_seq, end)
        for first, last, packed in ((begin, covered, True), (covered + 1, end, False)):
            if first > last:
                continue
            if open_span is not None and open_span.packed == packed:
                open_span = _Span(open_span.first_seq, last, packed)
                continue
            if open_span is not None:
                yield open_span
            open_span = _Span(first, last, packed)
    if open_span is not None:
        yield open_span


class Reading:
    """Reads a table once."""

    def __init__(
        self, connection: sa.Connection, table: Table, keeper: blocks.Keeper, progress: Callable[[int], None] | None
    ) -> None:
        self._connection = connection
        self._table = table
        self._keeper = keeper
        self._progress = progress
        stored = blocks.listed(connection, table.dataset_id, table.revision, table.last_seq)
        self._known = {each.first_seq: each for each in stored if (each.first_seq - 1) % table.block_rows == 0}

    def run(self) -> Snapshot:
        """Return the snapshot.

        Raises:
            CorruptBlockError: a block has to go before this can succeed.
        """
        driver: Any = self._connection.connection
        with Lane("blocks", self._keeper.keep, waiting=_BLOCKS_WAITING) as storing:
            columns = _Columns(self._table, self._known, storing)
            with Lane("columns", lambda step: step(), waiting=_PIECES_WAITING) as parsing, driver.cursor() as cursor:
                try:
                    for span in spans(self._table, self._known):
                        self._receive(cursor, span, columns, parsing)
                except BaseException:
                    self._connection.invalidate()  # half a COPY may be left in it
                    raise
                parsing.put(columns.finish)
        if self._progress is not None:
            self._progress(columns.rows)
        return columns.build()

    def _receive(self, cursor: Any, span: _Span, columns: _Columns, parsing: Lane) -> None:
        """Let the server send a span, and hand on what comes."""

        def hand_on(step: Callable[[], None]) -> None:
            parsing.put(step)
            if self._progress is not None:
                self._progress(columns.rows)

        if span.packed:
            blocks.fetch(
                cursor,
                self._table.dataset_id,
                self._table.begin(span.first_seq),
                span.last_seq,
                lambda begin, packed, units: hand_on(lambda: columns.add_packed(begin, packed, units)),
            )
            return
        query = _query(self._table, span).as_string(cursor)
        wire.receive(cursor.connection, query, lambda piece: hand_on(lambda: columns.add_text(piece)))


def _query(table: Table, span: _Span) -> sql.Composed:
    """Return the rows of a span: a scan of the primary key, in whose order the rows lie."""
    described = zip(table.schema.columns, table.physical, strict=True)
    cells = sql.SQL(", ").join(
        [sql.Identifier("ingest_seq"), *(cell(column, sql.Identifier(name)) for column, name in described)]
    )
    return sql.SQL("SELECT {} FROM {} WHERE ingest_seq BETWEEN {} AND {} ORDER BY ingest_seq").format(
        cells,
        sql.Identifier("data_", f"t_{table.dataset_id}"),
        sql.Literal(span.first_seq),
        sql.Literal(span.last_seq),
    )


class _Columns:
    """Makes blocks of what was received; everything here runs in one thread, in the order of the rows."""

    def __init__(self, table: Table, known: dict[int, Stored], storing: Lane) -> None:
        self._table = table
        self._known = known
        self._storing = storing
        self._parser = TextParser(table.schema)
        capacity = max(table.last_seq - table.first_seq + 1, 0)
        self._assembler = Assembler(table.schema, table.upto_seq, capacity=capacity, block_rows=table.block_rows)
        #: Under the time rule nobody asks for units, and a group's are computed level by level.
        self._wants_units = table.schema.event_time is None
        self._begin: int | None = None
        self._stored: Block | None = None
        self._filling = Filling(table.schema, table.block_rows)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self._assembler.rows

    def build(self) -> Snapshot:
        """Return the snapshot."""
        return self._assembler.build()

    def add_packed(self, begin: int, packed: bytes, units: bytes | None) -> None:
        """Take a stored block: as it is, up to where it is wanted, or as the beginning of one that goes on."""
        self.finish()
        stored, end = self._known[begin], self._table.end(begin)
        digest = hashlib.sha256(packed).digest()
        if digest != stored.sha256:
            raise CorruptBlockError(stored, "its hash is another one")
        try:
            block = unpack(self._table.schema, packed)
        except BadBlockError as e:
            raise CorruptBlockError(stored, str(e)) from e
        known = np.frombuffer(units, dtype="<u8") if units is not None else None
        if stored.last_seq == end:
            self._assembler.add(block, digest, known)
        elif stored.last_seq > end:
            block = block.upto(end)
            if block.rows:
                packed = pack(self._table.schema, block)
                cut = None if known is None else known[: block.rows]
                self._assembler.add(block, hashlib.sha256(packed).digest(), cut)
        else:
            self._begin, self._stored = begin, block

    def add_text(self, piece: memoryview) -> None:
        """Take the next bytes of COPY's text."""
        cells = self._parser.cells(piece)
        numbers = view(cells[0], np.int64)
        at = 0
        while at < len(numbers):
            begin = self._table.begin(int(numbers[at]))
            if begin != self._begin:
                self.finish()
                self._begin = begin
            upto = int(np.searchsorted(numbers, begin + self._table.block_rows))
            self._filling.add([values.slice(at, upto - at) for values in cells])
            at = upto

    def finish(self) -> None:
        """Make a block of the parts that were gathered, take it, and have it stored."""
        begin, block = self._begin, self._stored
        if begin is None:
            return
        if self._filling.rows:
            read = self._filling.take()
            block = read if block is None else join(block, read)
        self._begin, self._stored = None, None
        if block is None or not block.rows:
            return
        packed = pack(self._table.schema, block)
        digest = hashlib.sha256(packed).digest()
        block = unpack(self._table.schema, packed)
        units = units_of_block(self._table.schema, block) if self._wants_units else None
        self._assembler.add(block, digest, units)
        stored = Stored(begin, self._table.end(begin), block.rows, digest)
        self._storing.put(Fresh(stored, packed, None if units is None else units.astype("<u8").tobytes()))
