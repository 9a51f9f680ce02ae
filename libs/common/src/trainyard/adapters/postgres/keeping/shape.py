"""Columns that change: the record, its revision, and the table beneath, in one transaction that does not wait long."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql
from sqlalchemy.exc import DBAPIError

from trainyard.adapters.postgres import dataset_records, journal
from trainyard.adapters.postgres.copying import shape, table_of
from trainyard.adapters.postgres.engine import transaction
from trainyard.adapters.postgres.keeping.derived import forget_derived
from trainyard.adapters.postgres.sql import run
from trainyard.errors import Problem, ServiceError
from trainyard.schema.evolution import EXACT_AS_FLOAT, Evolution, evolution, with_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset
    from trainyard.dataset_settings import DatasetSettings
    from trainyard.schema import Column, Schema

_DEPENDED_ON, _CANCELLED = "2BP01", "57014"
_KEEP_REVISION = """
    INSERT INTO core.dataset_revision (dataset_id, revision, columns, changes, actor)
    VALUES (:id, :revision, CAST(:columns AS jsonb), CAST(:changes AS jsonb), :actor)
    ON CONFLICT DO NOTHING"""


def reshape(engine: sa.Engine, dataset: Dataset, wanted: Schema, settings: Mapping[str, Any], *, actor: str) -> Dataset:
    """Carry out what differs; what does not differ takes no lock."""
    # What cannot be is said before anybody is waited for.
    changed = dataset.settings.changed(settings)
    if not evolution(dataset.schema, wanted).changes and changed == dataset.settings:
        return dataset
    with _changing(engine) as connection:
        current = dataset_records.by_id(connection, dataset.id, "FOR NO KEY UPDATE")
        plan = evolution(current.schema, wanted)
        _carry_out(connection, current, plan, actor)
        changed = current.settings.changed(settings)
        if changed != current.settings:
            _set(connection, current, changed, actor)
        return dataset_records.by_id(connection, dataset.id)


def evolve(engine: sa.Engine, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
    """Add the columns that are not there yet."""
    with _changing(engine) as connection:
        current = dataset_records.by_id(connection, dataset.id, "FOR NO KEY UPDATE")
        _carry_out(connection, current, evolution(current.schema, with_columns(current.schema, columns)), actor)
        return dataset_records.by_id(connection, dataset.id)


@contextmanager
def _changing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that gives up soon: whoever reads the table would wait behind it as well."""
    try:
        with transaction(engine) as connection:
            run(connection, "SET LOCAL lock_timeout = '4s'")
            yield connection
    except (DBAPIError, psycopg2.Error) as e:
        state = getattr(e.orig if isinstance(e, DBAPIError) else e, "pgcode", None)
        if state == _DEPENDED_ON:
            raise ServiceError("in_use", "another view is built on the dataset's; drop that one first") from e
        if state == _CANCELLED:
            raise ServiceError("unavailable", "the table could not be changed within a minute; nothing was") from e
        raise


def _carry_out(connection: sa.Connection, dataset: Dataset, plan: Evolution, actor: str) -> None:
    if not plan.changes:
        return
    _check_exact(connection, dataset, plan.exact)
    changes = [change.as_dict() for change in plan.changes]
    columns = dataset_records.columns_json(plan.schema)
    # The revision before is written where it is not: the first one is, when it is about to be no more.
    before = {"revision": dataset.revision, "columns": dataset_records.columns_json(dataset.schema), "changes": []}
    _keep_revision(connection, dataset, before, actor)
    run(
        connection,
        "UPDATE core.dataset SET columns = CAST(:columns AS jsonb), revision = revision + 1 WHERE id = :id",
        columns=json.dumps(columns),
        id=dataset.id,
    )
    after = {"revision": dataset.revision + 1, "columns": columns, "changes": changes}
    _keep_revision(connection, dataset, after, actor)
    if plan.reshape:
        shape(connection, dataset.id)
    if plan.rewritten:
        _take_back(connection, dataset)
    subject = f"dataset/{dataset.name}"
    details = {"revision": dataset.revision + 1, "changes": changes}
    journal.audit(connection, actor=actor, action="dataset.evolve", subject=subject, details=details)
    journal.announce(connection, "dataset.evolved", subject, details)


def _keep_revision(connection: sa.Connection, dataset: Dataset, revision: dict[str, Any], actor: str) -> None:
    run(
        connection,
        _KEEP_REVISION,
        id=dataset.id,
        revision=revision["revision"],
        columns=json.dumps(revision["columns"]),
        changes=json.dumps(revision["changes"]),
        actor=actor,
    )


def _check_exact(connection: sa.Connection, dataset: Dataset, names: Sequence[str]) -> None:
    """Refuse to make floats of whole numbers that no float holds."""
    problems = []
    physical = dict(zip(dataset.schema.names, dataset.physical, strict=True))
    for name in names:
        cursor: Any = connection.connection.cursor()
        query = sql.SQL("SELECT {c} FROM {table} WHERE {c} > %(most)s OR {c} < -%(most)s LIMIT 1")
        statement = query.format(c=sql.Identifier(physical[name]), table=table_of(dataset))
        cursor.execute(statement, {"most": EXACT_AS_FLOAT})
        found = cursor.fetchone()
        if found is not None:
            problems.append(Problem(None, name, "whole numbers that a float holds exactly (to 2^53)", str(found[0])))
    if problems:
        raise ServiceError("narrowing", f"{len(problems)} column(s) would lose digits; nothing was changed", problems)


def _take_back(connection: sa.Connection, dataset: Dataset) -> None:
    """Let be computed anew whatever was computed from values that have another type now."""
    run(
        connection,
        "UPDATE core.batch SET checksum = NULL, report = NULL, reported_at = NULL, changed_at = clock_timestamp()"
        " WHERE dataset_id = :id AND state = 'committed'",
        id=dataset.id,
    )
    forget_derived(connection, dataset.id, 1, dataset.last_seq)


def _set(connection: sa.Connection, dataset: Dataset, settings: DatasetSettings, actor: str) -> None:
    run(
        connection,
        "UPDATE core.dataset SET settings = CAST(:settings AS jsonb) WHERE id = :id",
        settings=json.dumps(settings.as_dict()),
        id=dataset.id,
    )
    subject, details = f"dataset/{dataset.name}", settings.as_dict()
    journal.audit(connection, actor=actor, action="dataset.settings", subject=subject, details=details)
    journal.announce(connection, "dataset.settings", subject, details)
