"""Run by the release before this one, in a process of its own: everything that its services do in the database.

Arguments: a step (``migrate``, ``work`` or ``read``), the database's address, a word that names what it makes; for
``work`` also the datasets that are there already. Prints what it saw as one JSON object. Nothing of it may fail.
"""

from __future__ import annotations

import io
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from trainyard import crashpoints
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.contracts.prediction_log import Label, Prediction
from trainyard.contracts.runs import NewVersion, Trial
from trainyard.contracts.upkeep import KINDS
from trainyard.schema import Schema
from trainyard_ingest.domain.formats import CSV
from trainyard_ingest.use_cases.intake import Origin, RowIntake
from trainyard_scheduler.use_cases import monitor
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.models import put_model
from trainyard_scheduler.use_cases.requests import ask

SCHEMA = Schema.from_dict(
    {
        "columns": [
            {"name": "id", "type": "int", "role": "key", "nullable": False},
            {"name": "age", "type": "int"},
            {"name": "bought", "type": "bool", "role": "label"},
        ]
    }
)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROWS = 40


class Release:
    """The services' hands on one database."""

    def __init__(self, url: str, word: str) -> None:
        self._word = word
        self.engine = make_engine(url, service="old")
        self.warehouse = PostgresWarehouse(self.engine, SystemClock())
        self.log = PostgresPredictionLog(self.engine)
        self.store = PostgresStore(self.engine)

    def work(self, known: list[str]) -> dict[str, Any]:
        """Make a dataset, load it and the known ones, train, predict, label."""
        name = f"d_{self._word}"
        self.warehouse.create(name, SCHEMA, actor="old")
        spans = {dataset: self._load(dataset) for dataset in [*known, name]}
        model = f"m_{self._word}"
        version = self._train(model, name)
        ids = [f"{self._word}-{number}" for number in range(3)]
        for _ in range(2):  # every message may come twice
            self.log.add([self._prediction(ident, model, version) for ident in ids])
        given = self.log.give([Label(True, ids[0]), Label(False, ids[0])], key_id=None, trace_id=None, once=None)
        return {"spans": spans, "version": version, "parked": given.parked}

    def _load(self, name: str) -> list[int]:
        lines = ["id,age,bought", *(f"{n},{20 + n % 9},{'true' if n % 2 else 'false'}" for n in range(ROWS))]
        body = io.BytesIO("\n".join(lines).encode())
        origin = Origin("http", self._word, f"{self._word}:{name}", None)
        batch = RowIntake(self.warehouse).take(name, body, CSV, origin).batch
        return [batch.first_seq or 0, batch.last_seq or 0]

    def _train(self, model: str, dataset: str) -> int:
        body = {"dataset": dataset, "label": "bought", "policy": {"min_new_rows": 5}}
        with self.store.begin() as records:
            put_model(records, model, body, By("old", "t"))
            _, request = ask(records, model, {}, By("old", "t"))
        runs = PostgresRuns(self.engine)
        job = runs.claim(request.id, worker="w", instance_id=None, instance_type=None, lease_seconds=60.0).job
        assert job is not None
        snapshot = PostgresSnapshots(self.engine).read(job.dataset_id, job.upto_seq)
        assert runs.beat(job.lease, lease_seconds=60.0, progress={"stage": "fit"}) is False
        trial = Trial(1, "linear", {"strength": 1.0}, {"loss": 0.5}, 0.1, chosen=True)
        new = NewVersion(
            artifact_key=f"models/{model}/{'a' * 64}.msgpack",
            sha256="a" * 64,
            size_bytes=10,
            snapshot_rows=snapshot.rows,
            snapshot_hash=snapshot.sha256,
            holdout={"rule": "hash", "test_rows": 20},
            metrics={"log_loss": 0.5},
            gate={"summary": "passed: better", "passed": True},
            passed=True,
            trials=[trial],
        )
        return runs.publish(job.lease, new, compared_with=None).version

    def _prediction(self, ident: str, model: str, version: int) -> Prediction:
        return Prediction(ident, model, version, None, None, {"age": 31}, {"prediction": True}, 9, AT)

    def read(self) -> dict[str, Any]:
        """Look at everything, as pages, the monitor, the upkeep and the doctor do."""
        seqs = [(row.seq, row.prediction.id, row.label) for row in self.log.page(model=None, version=None, limit=99)]
        monitor.Monitor(self.store, SystemClock()).step()
        with self.store.begin() as records:
            forgotten = {
                kind: records.upkeep.forget(kind, older_than_seconds=1e9, keep_newest=0, limit=9) for kind in KINDS
            }
        batches = {
            dataset.name: len(self.warehouse.batches(dataset, limit=99))
            for dataset in self.warehouse.datasets(limit=99)
        }
        doctor = PostgresDatabase(self.engine)
        seen = [
            doctor.ledger(None),
            doctor.open_requests(),
            doctor.versions(None),
            doctor.aliases(),
            doctor.traffic(),
            doctor.stored_versions(),
            doctor.published(),
            doctor.open_models(),
            doctor.leftovers(60.0, []),
            doctor.audit(None),
        ]
        return {
            "log": seqs,
            "forgotten": sum(forgotten.values()),
            "batches": batches,
            "predictions": asdict(doctor.predictions(None)),
            "looks": len(seen),
        }


def main() -> None:
    """Take the step and print what came of it."""
    step, url, word, *known = sys.argv[1:]
    crashpoints.arm({})
    if step == "migrate":
        migrate(url)
        found: dict[str, Any] = {}
    else:
        release = Release(url, word)
        found = release.work(known) if step == "work" else release.read()
    sys.stdout.write(json.dumps({"from": crashpoints.__file__, **found}))


if __name__ == "__main__":
    main()
