"""The table ``core.block``: rows once more, packed as columns, for whoever reads a snapshot again.

It is a cache. Readers write it; whoever takes rows away calls :func:`forget` in the same transaction.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
import sqlalchemy as sa
from psycopg2 import errors

from trainyard import logs
from trainyard.adapters.postgres.engine import transaction
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = logs.get(__name__)

#: A block that is larger is not kept: a bytea must fit into the server's memory several times.
MAX_BYTES = 64 << 20
_SENT_BYTES = 1 << 18
_LOCK = "hashtextextended('trainyard.block', :dataset)"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)
_END = b"\xff\xff"


@dataclass(frozen=True)
class Stored:
    """What the table says of a block without its bytes: ``first_seq`` to ``last_seq`` are covered."""

    first_seq: int
    last_seq: int
    rows: int
    sha256: bytes


@dataclass(frozen=True)
class Fresh:
    """A block to be stored; ``units`` are the unit hashes as bytes, None where nobody will ask for them."""

    stored: Stored
    packed: bytes
    units: bytes | None


def forget(connection: sa.Connection, dataset_id: int, first_seq: int, last_seq: int) -> None:
    """Drop the blocks that overlap these numbers; call it in the transaction that takes the rows away.

    Until that transaction ends no reader writes blocks of the dataset, and none that began before it will afterwards.
    """
    span = {"dataset": dataset_id, "first": first_seq, "last": last_seq}
    connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_LOCK})"), span)
    connection.execute(
        sa.text(
            "INSERT INTO core.block_epoch (dataset_id, epoch) VALUES (:dataset, 1)"
            " ON CONFLICT (dataset_id) DO UPDATE SET epoch = core.block_epoch.epoch + 1"
        ),
        span,
    )
    connection.execute(
        sa.text("DELETE FROM core.block WHERE dataset_id = :dataset AND first_seq <= :last AND last_seq >= :first"),
        span,
    )


def epoch_of(connection: sa.Connection, dataset_id: int) -> int:
    """Return how often blocks of the dataset were forgotten."""
    found = connection.execute(
        sa.text("SELECT epoch FROM core.block_epoch WHERE dataset_id = :dataset"), {"dataset": dataset_id}
    ).scalar_one_or_none()
    return int(found or 0)


def listed(connection: sa.Connection, dataset_id: int, revision: int, upto_seq: int) -> list[Stored]:
    """Return the blocks of this revision that begin at or before ``upto_seq``, in order."""
    found = connection.execute(
        sa.text(
            "SELECT first_seq, last_seq, rows, sha256 FROM core.block"
            " WHERE dataset_id = :dataset AND revision = :revision AND first_seq <= :upto ORDER BY first_seq"
        ),
        {"dataset": dataset_id, "revision": revision, "upto": upto_seq},
    )
    return [Stored(row.first_seq, row.last_seq, row.rows, bytes(row.sha256)) for row in found]


def fetch(
    cursor: Any, dataset_id: int, first_seq: int, last_seq: int, take: Callable[[int, bytes, bytes | None], None]
) -> None:
    """Hand ``take`` the blocks that begin in ``first_seq`` to ``last_seq``, in order: beginning, bytes, unit hashes."""
    query = cursor.mogrify(
        "SELECT first_seq, packed, units FROM core.block WHERE dataset_id = %s AND first_seq BETWEEN %s AND %s"
        " ORDER BY first_seq",
        (dataset_id, first_seq, last_seq),
    ).decode()
    cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", _Unpacker(take))


class _Unpacker:
    """What a binary COPY of three columns writes to: the driver hands over a whole row at a time."""

    def __init__(self, take: Callable[[int, bytes, bytes | None], None]) -> None:
        self._take = take

    def write(self, data: bytes) -> None:
        """Take the next row."""
        at = len(_HEADER) if data.startswith(_SIGNATURE) else 0
        if data[at : at + 2] in (b"", _END):
            return
        at += 2  # the number of columns
        cells: list[bytes | None] = []
        for _ in range(3):
            (length,) = struct.unpack_from(">i", data, at)
            at += 4
            cells.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        first_seq, packed, units = cells
        assert first_seq is not None and packed is not None  # noqa: S101, PT018 - both columns are NOT NULL
        self._take(int.from_bytes(first_seq, "big"), packed, units)


class Keeper:
    """Stores the blocks of one reading of a dataset; what goes wrong is logged and nobody's concern."""

    def __init__(self, engine: sa.Engine, dataset_id: int, *, revision: int, epoch: int) -> None:
        """``epoch`` was read before the first row."""
        self._engine = engine
        self._dataset_id = dataset_id
        self._revision = revision
        self._epoch = epoch
        self._given_up = False

    def keep(self, block: Fresh) -> None:
        """Store a block in place of one that covers less, unless rows were taken away meanwhile."""
        if self._given_up or len(block.packed) > MAX_BYTES:
            return
        try:
            with transaction(self._engine) as connection:
                self._store(connection, block)
        except errors.UniqueViolation:
            pass  # another reader was faster
        except (TransientError, sa.exc.DBAPIError, psycopg2.Error) as e:
            self._given_up = True
            log.warning("block.not_stored", dataset=self._dataset_id, first_seq=block.stored.first_seq, reason=str(e))

    def drop(self, block: Stored) -> None:
        """Remove a block whose bytes are not what they were."""
        with transaction(self._engine) as connection:
            connection.execute(
                sa.text(
                    "DELETE FROM core.block WHERE dataset_id = :dataset AND first_seq = :first AND sha256 = :sha256"
                ),
                {"dataset": self._dataset_id, "first": block.first_seq, "sha256": block.sha256},
            )

    def _store(self, connection: sa.Connection, block: Fresh) -> None:
        values = {
            "dataset": self._dataset_id,
            "first": block.stored.first_seq,
            "last": block.stored.last_seq,
            "revision": self._revision,
        }
        connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})"), values)
        if epoch_of(connection, self._dataset_id) != self._epoch:
            self._given_up = True
            return
        connection.execute(
            sa.text(
                "DELETE FROM core.block WHERE dataset_id = :dataset AND first_seq = :first"
                " AND (last_seq < :last OR revision <> :revision)"
            ),
            values,
        )
        better = connection.execute(
            sa.text("SELECT 1 FROM core.block WHERE dataset_id = :dataset AND first_seq = :first"), values
        )
        if better.one_or_none() is None:
            driver: Any = connection.connection
            with driver.cursor() as cursor:
                cursor.copy_expert("COPY core.block FROM STDIN (FORMAT binary)", self._row(block), size=_SENT_BYTES)

    def _row(self, block: Fresh) -> _Parts:
        """Return the row as a binary COPY: each column with its length before it."""
        stored = block.stored
        cells = (
            struct.pack(">q", self._dataset_id),
            struct.pack(">q", stored.first_seq),
            struct.pack(">q", stored.last_seq),
            struct.pack(">i", self._revision),
            struct.pack(">i", stored.rows),
            stored.sha256,
            block.units,
            block.packed,
        )
        head = [_HEADER, struct.pack(">h", len(cells))]
        for cell in cells[:-1]:
            head += [struct.pack(">i", -1)] if cell is None else [struct.pack(">i", len(cell)), cell]
        head.append(struct.pack(">i", len(block.packed)))
        return _Parts([b"".join(head), block.packed, _END])


class _Parts:
    """What a COPY is read from: bytes that lie in several places, without a copy of the whole."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = deque(memoryview(part) for part in parts)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``; none when there are no more."""
        if not self._parts:
            return b""
        part = self._parts.popleft()
        if len(part) > size:
            self._parts.appendleft(part[size:])
        return bytes(part[:size])
