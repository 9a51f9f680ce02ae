"""Erasure by key: every row of a key goes, and with it whatever still tells of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from trainyard.adapters.postgres import dataset_records, journal
from trainyard.adapters.postgres.copying import table_of
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.idempotency import store_answer, stored_answer
from trainyard.adapters.postgres.keeping.removal import Tombstone, conclude, settle
from trainyard.adapters.postgres.sql import run
from trainyard.contracts.keeping import Erasure
from trainyard.schema import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.warehouse import Dataset

#: Rejected cells that hold a value of the key: of its column, or, where the value is a text, wherever it stands.
_FORGET_REJECTS = """
    DELETE FROM core.reject r USING core.batch b
    WHERE b.dataset_id = :dataset AND r.batch_id = b.id AND r.got = :got
          AND (r.column_name = :column OR CAST(:anywhere AS boolean))"""


def erase(
    engine: sa.Engine, dataset: Dataset, key: Mapping[str, Any], *, actor: str, once: Repeatable | None
) -> Erasure:
    """Find the rows before the lock is taken, for that looks through the whole table; then those that came since."""
    condition, values = _condition(dataset, key)
    upto, found = _look(engine, dataset, condition, values)
    with transaction(engine) as connection:
        earlier = None if once is None else stored_answer(connection, once)
        if earlier is not None:
            return _read(earlier[1])
        current = dataset_records.by_id(connection, dataset.id, "FOR NO KEY UPDATE")
        later = _rows(connection, current, condition, {**values, "after": upto})
        gone = _delete(connection, current, [*found, *later])
        ident = str(uuid.uuid4())
        stone = Tombstone(ident, "key", actor, _digest(ident, key))
        versions = settle(connection, current, gone, stone)
        _forget_rejects(connection, current, key)
        erasure = Erasure(ident, len(gone), tuple(versions))
        subject = f"dataset/{dataset.name}"
        journal.audit(connection, actor=actor, action="dataset.erase", subject=subject, details=erasure.as_dict())
        journal.announce(connection, "dataset.erased", subject, erasure.as_dict())
        if once is not None:
            store_answer(connection, once, 200, json.dumps(erasure.as_dict()))
        conclude(connection, stone)
        return erasure


def _condition(dataset: Dataset, key: Mapping[str, Any]) -> tuple[sql.Composed, dict[str, Any]]:
    physical = dict(zip(dataset.schema.names, dataset.physical, strict=True))
    parts = [sql.SQL("{} = {}").format(sql.Identifier(physical[name]), sql.Placeholder(physical[name])) for name in key]
    return sql.SQL(" AND ").join(parts), {physical[name]: value for name, value in key.items()}


def _look(
    engine: sa.Engine, dataset: Dataset, condition: sql.Composed, values: Mapping[str, Any]
) -> tuple[int, list[int]]:
    """Return the last row's number, and the numbers of the key's rows up to there."""
    with transaction(engine) as connection:
        run(connection, "SET LOCAL statement_timeout = '10min'")
        upto = dataset_records.by_id(connection, dataset.id).last_seq
        # What is committed by then is seen by the next statement; rows behind it are looked for under the lock.
        return upto, _rows(connection, dataset, condition, {**values, "after": 0})


def _rows(connection: sa.Connection, dataset: Dataset, condition: sql.Composed, values: Mapping[str, Any]) -> list[int]:
    query = sql.SQL("SELECT ingest_seq FROM {} WHERE {} AND ingest_seq > %(after)s")
    cursor: Any = connection.connection.cursor()
    cursor.execute(query.format(table_of(dataset), condition), dict(values))
    return [seq for (seq,) in cursor.fetchall()]


def _delete(connection: sa.Connection, dataset: Dataset, seqs: list[int]) -> list[int]:
    """Delete the rows; return those that were there: another erasure may have been quicker."""
    cursor: Any = connection.connection.cursor()
    statement = sql.SQL("DELETE FROM {} WHERE ingest_seq = ANY(%s) RETURNING ingest_seq").format(table_of(dataset))
    cursor.execute(statement, (seqs,))
    return [seq for (seq,) in cursor.fetchall()]


def _forget_rejects(connection: sa.Connection, dataset: Dataset, key: Mapping[str, Any]) -> None:
    for name, value in key.items():
        text = dataset.schema.column(name).type in ("text", "category")
        got = value if text else value.isoformat() if isinstance(value, date) else str(value)
        run(
            connection,
            _FORGET_REJECTS,
            dataset=dataset.id,
            got=shown(got),
            column=name,
            anywhere=text,
        )


def _digest(ident: str, key: Mapping[str, Any]) -> str:
    """Return the key's hash, keyed by the erasure's id: who has the key can find its tombstone, nobody else."""
    plain = {k: v.isoformat() if isinstance(v, date | datetime) else v for k, v in sorted(key.items())}
    canonical = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hmac.new(uuid.UUID(ident).bytes, canonical.encode(), hashlib.sha256).hexdigest()


def _read(answer: str) -> Erasure:
    said = json.loads(answer)
    versions = tuple((one["model"], one["version"]) for one in said["not_reproducible"])
    return Erasure(said["erasure_id"], said["erased_rows"], versions)
