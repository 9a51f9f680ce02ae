"""Datasets: made, changed, and kept in order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.idempotency import Repeatable
from trainyard.dataset_settings import DatasetSettings
from trainyard.errors import ServiceError
from trainyard_ingest.domain.keys import read_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trainyard.contracts.keeping import Erasure, Keeping
    from trainyard.contracts.warehouse import Dataset, Warehouse
    from trainyard.schema import Column, Schema

_log = logs.get(__name__)


class KeepDatasets:
    """What people ask of datasets, besides rows; and what is done for them without being asked."""

    def __init__(self, warehouse: Warehouse, keeping: Keeping) -> None:
        self._warehouse = warehouse
        self._keeping = keeping

    def put(self, name: str, schema: Schema, settings: Any, *, actor: str) -> tuple[Dataset, bool]:
        """Make the dataset, or bring the one that exists to these columns and settings; True: it was made.

        ``settings`` as somebody sent them: those that are not named are the defaults for a new one, and stay as they
        are for one that exists.

        Raises:
            ServiceError: ``bad_request`` for settings that cannot be; what :meth:`Keeping.reshape` raises.
        """
        wanted = DatasetSettings().changed(settings)
        try:
            dataset, made = self._warehouse.create(name, schema, actor=actor, settings=wanted)
        except ServiceError as e:
            if e.code != "conflict":
                raise
            dataset, made = self._warehouse.dataset(name), False
        if not made:
            dataset = self._keeping.reshape(dataset, schema, settings, actor=actor)
        return dataset, made

    def with_new_columns(self, dataset: Dataset, columns: Sequence[Column], *, actor: str) -> Dataset:
        """Return the dataset with the columns that a batch brings added behind its own, nullable, as features.

        Raises:
            ServiceError: ``invalid_schema``: a name that no column can have, or too many of them.
        """
        if not columns:
            return dataset
        evolved = self._keeping.evolve(dataset, columns, actor=actor)
        _log.info("dataset.evolved", dataset=dataset.name, columns=", ".join(c.name for c in columns)[:200])
        return evolved

    def erase(self, name: str, key: str, *, actor: str, idempotency_key: str | None) -> Erasure:
        """Remove every row of the key, which is written as :func:`read_key` takes it.

        Raises:
            ServiceError: ``unknown_dataset``; ``bad_request`` for what is no key; ``key_reused``.
        """
        dataset = self._warehouse.dataset(name)
        values = read_key(dataset.schema, key)
        once = None
        if idempotency_key is not None:
            # Of the dataset itself, not of its name: one that is made anew has nothing to do with the old one.
            digest = hashlib.sha256(f"{dataset.id}\n{key}".encode()).hexdigest()
            once = Repeatable("DELETE /v1/datasets/rows", actor, idempotency_key, digest)
        erasure = self._keeping.erase(dataset, values, actor=actor, once=once)
        _log.info("dataset.erased", dataset=name, erasure=erasure.id, rows=erasure.rows)
        return erasure

    def report_all(self, stopping: Callable[[], bool]) -> int:
        """Make the reports that are missing; return how many were."""
        made = 0
        while not stopping() and self._keeping.take_report():
            made += 1
        return made

    def expire_all(self, stopping: Callable[[], bool]) -> int:
        """Remove the rows that have outlived their datasets' retention, piece by piece; return how many."""
        gone = 0
        while not stopping():
            piece = self._keeping.expire()
            if not piece:
                break
            gone += piece
        if gone:
            _log.info("datasets.expired", rows=gone)
        return gone
