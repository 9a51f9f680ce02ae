"""The bookkeeping of rows that go: whoever removes some, by key or by age, calls :func:`settle` in that transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.adapters.postgres.keeping.derived import forget_derived
from trainyard.adapters.postgres.sql import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset

#: The batches that the rows belonged to. What was computed from them is taken back: it would still tell of the rows.
_TAKE_BACK = """
    UPDATE core.batch b SET removed_count = b.removed_count + g.n, checksum = NULL, report = NULL, reported_at = NULL,
           changed_at = clock_timestamp()
    FROM (SELECT s.id, count(*) AS n FROM unnest(CAST(:seqs AS bigint[])) r (seq) CROSS JOIN LATERAL (
              SELECT id, last_seq FROM core.batch WHERE dataset_id = :dataset AND state = 'committed'
              AND first_seq <= r.seq AND row_count > 0 ORDER BY first_seq DESC LIMIT 1) s
          WHERE r.seq <= s.last_seq GROUP BY s.id) g
    WHERE b.id = g.id"""
#: Nobody registers a version of these models meanwhile: who does, locks the model's row in this way as well.
_HOLD_MODELS = "SELECT core.hold_models(:dataset)"
_MARK = """
    WITH touched AS (
        UPDATE core.version v SET not_reproducible = coalesce(v.not_reproducible, :why)
        FROM core.model m WHERE m.id = v.model_id AND m.dataset_id = :dataset AND v.upto_seq >= :first
        RETURNING m.name, v.version)
    SELECT name, version FROM touched ORDER BY name, version"""
#: One tombstone may be written in several steps.
_TOMBSTONE = """
    INSERT INTO core.erasure AS e (
        id, dataset_id, kind, key_sha256, rows, first_seq, last_seq, upto_seq, versions, actor)
    VALUES (CAST(:id AS uuid), :dataset, :kind, :key_sha256, :rows, :first, :last, :upto,
        CAST(:versions AS jsonb), :actor)
    ON CONFLICT (id) DO UPDATE SET rows = e.rows + excluded.rows, upto_seq = excluded.upto_seq,
        first_seq = least(e.first_seq, excluded.first_seq), last_seq = greatest(e.last_seq, excluded.last_seq),
        versions = excluded.versions"""


@dataclass(frozen=True)
class Tombstone:
    """What a removal is called; ``key_sha256`` is None for rows that went by age."""

    id: str
    kind: str
    actor: str
    key_sha256: str | None = None


def settle(connection: sa.Connection, dataset: Dataset, seqs: Sequence[int], stone: Tombstone) -> list[tuple[str, int]]:
    """Write what the removal of these rows means for everything else; return the versions it touches, by name.

    Call it under the dataset's lock, and :func:`conclude` last. A run that reads rows now and registers its version
    later looks for the tombstone itself (:mod:`trainyard.adapters.postgres.runs`).
    """
    versions: list[tuple[str, int]] = []
    first, last = (min(seqs), max(seqs)) if seqs else (None, None)
    if first is not None and last is not None:
        run(connection, _HOLD_MODELS, dataset=dataset.id)
        run(connection, _TAKE_BACK, dataset=dataset.id, seqs=list(seqs))
        run(
            connection,
            "UPDATE core.dataset SET removed_rows = removed_rows + :n WHERE id = :dataset",
            n=len(seqs),
            dataset=dataset.id,
        )
        why = f"rows of its snapshot were removed ({stone.kind}, erasure {stone.id})"
        versions = [(r.name, r.version) for r in run(connection, _MARK, dataset=dataset.id, first=first, why=why)]
        run(
            connection,
            "DELETE FROM core.level WHERE dataset_id = :dataset AND first_seq = ANY(:seqs)",
            dataset=dataset.id,
            seqs=list(seqs),
        )
        forget_derived(connection, dataset.id, first, last)
    run(
        connection,
        _TOMBSTONE,
        id=stone.id,
        dataset=dataset.id,
        kind=stone.kind,
        key_sha256=stone.key_sha256,
        rows=len(seqs),
        first=first,
        last=last,
        upto=dataset.last_seq,
        versions=json.dumps([{"model": model, "version": version} for model, version in versions]),
        actor=stone.actor,
    )
    return versions


def conclude(connection: sa.Connection, stone: Tombstone) -> None:
    """Say when the rows went: the last statement before COMMIT, so that no run begins and reads between the two."""
    run(
        connection,
        "UPDATE core.erasure SET last_at = clock_timestamp() WHERE id = CAST(:id AS uuid)",
        id=stone.id,
    )
