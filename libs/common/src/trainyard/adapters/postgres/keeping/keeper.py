"""The contract on Postgres; each method's work has a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainyard.adapters.postgres.keeping import erasure, reports, retention, shape
from trainyard.contracts.keeping import MOST_MERGED, BatchQuality, Erasure, Keeping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import sqlalchemy as sa

    from trainyard.contracts.idempotency import Repeatable
    from trainyard.contracts.warehouse import Dataset
    from trainyard.schema import Column, Schema


class PostgresKeeping(Keeping):
    """Datasets of the engine's database."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def reshape(self, dataset: Dataset, wanted: Schema, settings: Mapping[str, Any], *, actor: str) -> Dataset:
        """Change the record and, where values are stored otherwise, the table."""
        return shape.reshape(self._engine, dataset, wanted, settings, actor=actor)

    def evolve(self, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
        """Add columns to record and table."""
        return shape.evolve(self._engine, dataset, columns, actor=actor)

    def erase(self, dataset: Dataset, key: Mapping[str, Any], *, actor: str, once: Repeatable | None = None) -> Erasure:
        """Delete the key's rows."""
        return erasure.erase(self._engine, dataset, key, actor=actor, once=once)

    def expire(self) -> int:
        """Delete a piece of what is due."""
        return retention.expire(self._engine)

    def take_report(self) -> bool:
        """Look at one batch's rows."""
        return reports.take_report(self._engine)

    def quality(self, dataset: Dataset, *, limit: int, after: str | None = None) -> list[BatchQuality]:
        """Read it off ledger and reports."""
        return reports.quality(self._engine, dataset, limit=limit, after=after)

    def report(self, batch_id: str) -> dict[str, Any] | None:
        """Read the report."""
        return reports.report(self._engine, batch_id)

    def profile(self, dataset: Dataset, *, most: int = MOST_MERGED) -> dict[str, Any]:
        """Join the reports."""
        return reports.profile(self._engine, dataset, most)
