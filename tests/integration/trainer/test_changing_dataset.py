"""Datasets that change between trainings: columns come and widen, rows go; models go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.model import Predictor, decode
from trainyard.schema import Column, Schema
from trainyard.testing.fakes.upkeep import MemoryUploads
from trainyard_scheduler.use_cases.sweep import Sweeper

if TYPE_CHECKING:
    from conftest import Yard

_WIDER = Schema(
    [
        Column("id", "int", "key", nullable=False),
        Column("income", "float"),
        Column("age", "float"),
        Column("city", "text"),
        Column("bought", "bool", "label"),
    ]
)


def test_training_on_an_evolved_dataset(yard: Yard) -> None:
    """The next training sees the new column and is held against the old champion, which still predicts."""
    yard.add_rows(1_000)
    yard.trainer(idle_seconds=20.0)
    yard.until(yard.request(gate={"min_rows": 100}), "done")
    shoppers = PostgresWarehouse(yard.engine, SystemClock()).dataset("shoppers")
    PostgresKeeping(yard.engine).reshape(shoppers, _WIDER, {}, actor="test")
    yard.add_rows(1_000, seed=1)
    yard.execute(f"UPDATE data_.t_{yard.dataset} SET c5 = CASE WHEN c4 THEN 100.5 ELSE 1 END WHERE ingest_seq > 1000")
    yard.until(yard.request(kinds=["tree_ensemble"], gate={"min_rows": 100}), "done")
    first, second = yard.versions()
    assert second["gate"]["promoted"], second["gate"]
    assert "beats_champion" in [check["name"] for check in second["gate"]["checks"]], second["gate"]
    old, new = (Predictor(decode(yard.blobs.get(version["artifact_key"]).data)) for version in (first, second))
    assert [column.name for column in old.model.schema.features] == ["age", "city"]
    assert [column.name for column in new.model.schema.features] == ["age", "city", "income"]
    assert old.predict([{"age": 79, "city": "C"}])[0].prediction is True
    # The first version is fitted again from rows that have got a column since.
    again = yard.request(reproduces=1)
    yard.until(again, "done")
    (run,) = yard.rows("SELECT reproduction FROM core.run WHERE request_id = CAST(:id AS uuid)", id=again)
    assert run["reproduction"]["identical"], run["reproduction"]
    assert len(yard.versions()) == 2
    rich, poor = new.predict([{"age": 50.5, "city": "A", "income": income} for income in (100.5, 1)])
    assert (rich.prediction, poor.prediction) == (True, False)


def test_training_after_rows_went(yard: Yard) -> None:
    """What was trained before an erasure cannot be reproduced and loses its extract; what is trained after it can."""
    yard.add_rows(600)
    yard.execute("UPDATE core.dataset SET last_seq = 600")
    yard.trainer(idle_seconds=20.0)
    yard.until(yard.request(gate={"min_rows": 50}, keep_extract=True), "done")
    shoppers = PostgresWarehouse(yard.engine, SystemClock()).dataset("shoppers")
    erasure = PostgresKeeping(yard.engine).erase(shoppers, {"id": 7}, actor="test")
    assert (erasure.rows, erasure.not_reproducible) == (1, (("buys", 1),))
    yard.until(yard.request(gate={"min_rows": 50}, keep_extract=True), "done")
    stored = {info.key for info in yard.blobs.list("extracts/")}
    first, second = yard.versions()
    assert stored == {first["extract_key"], second["extract_key"]}
    assert (first["snapshot_rows"], second["snapshot_rows"]) == (600, 599)
    assert erasure.id in first["not_reproducible"]
    assert second["not_reproducible"] is None
    sweeper = Sweeper(PostgresStore(yard.engine), yard.blobs, MemoryUploads(), keep_batch_days=30)
    assert [sweeper.step(), sweeper.step()] == [1, 0]
    assert [info.key for info in yard.blobs.list("extracts/")] == [second["extract_key"]]
    assert [version["extract_key"] for version in yard.versions()] == [None, second["extract_key"]]
