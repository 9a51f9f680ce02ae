"""Snapshots that are taken while eight writers store batches, and read again later."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.schema import Column, Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from trainyard.contracts.warehouse import Dataset

WRITERS, SNAPSHOTS, BATCHES_BETWEEN = 8, 200, 100
ROWS = 5
SCHEMA = Schema([Column("id", "int", role="key"), Column("share", "float"), Column("city", "category")])


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """An engine with a connection for each writer, and for the reader and its blocks."""
    engine = make_engine(database_url, service="test", pool_size=WRITERS + 4)
    yield engine
    engine.dispose()


class Writers:
    """Eight threads that store small batches of rows, of which some correct others, until they are told to stop."""

    def __init__(self, warehouse: PostgresWarehouse, dataset: Dataset) -> None:
        self._warehouse = warehouse
        self._dataset = dataset
        self._stop = threading.Event()
        self._stored = threading.Condition()
        self._batches = 0
        self.failures: list[Exception] = []
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def batches(self) -> int:
        """Batches that are committed."""
        with self._stored:
            return self._batches

    def wait(self, batches: int) -> None:
        """Wait until so many batches are committed."""
        with self._stored:
            assert self._stored.wait_for(lambda: self._batches >= batches or self.failures, timeout=120)
        assert not self.failures

    def _write(self, number: int) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            lines = [f"{number * 7 + (turn * ROWS + n) % 50},{turn / 7},c{n}\n" for n in range(ROWS)]
            rows = Rows(SCHEMA.names, iter(["".join(lines).encode()]))
            intake = Intake("http", "test", fingerprint=uuid.uuid4().hex, body_sha256="0" * 64)
            try:
                self._warehouse.load(self._dataset, rows, lambda intake=intake: intake)  # type: ignore[misc]
            except Exception as e:  # noqa: BLE001 - the test looks at them
                with self._stored:
                    self.failures.append(e)
                    self._stored.notify_all()
                return
            with self._stored:
                self._batches += 1
                self._stored.notify_all()


def test_read_again_after_more_batches(engine: sa.Engine) -> None:
    """200 snapshots, each read again when 100 more batches have come: the same rows, the same hash."""
    warehouse = PostgresWarehouse(engine, SystemClock())
    dataset, _ = warehouse.create("d", SCHEMA, actor="test")
    snapshots = PostgresSnapshots(engine, block_rows=512)
    taken: list[tuple[int, int, int, str]] = []
    again = 0
    with Writers(warehouse, dataset) as writers:
        while again < SNAPSHOTS:
            if len(taken) < SNAPSHOTS:
                writers.wait(1 + (taken[-1][0] if taken else 0))
                upto = warehouse.dataset("d").last_seq
                snapshot = snapshots.read(dataset.id, upto)
                assert snapshot.seq.max() == upto
                taken.append((writers.batches, upto, snapshot.rows, snapshot.sha256))
            # Of those that are counted later, one of each writer may have been there already.
            due = taken[again][0] + BATCHES_BETWEEN + WRITERS
            if len(taken) == SNAPSHOTS or writers.batches >= due:
                writers.wait(due)
                snapshot = snapshots.read(dataset.id, taken[again][1])
                assert (snapshot.rows, snapshot.sha256) == taken[again][2:]
                again += 1
    assert not writers.failures
    assert len({sha256 for *_, sha256 in taken}) > SNAPSHOTS // 2
