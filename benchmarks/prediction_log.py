"""The prediction log: what its index of trace ids costs each insert, and what it saves who asks for a trace.

Two logs on one Postgres (fsync on), one without that index, are filled alike with predictions of 30 columns, every one
with an id and a trace id of its own, as random as they are in life. After a checkpoint both take the same batches in
turns, by the product's own code. The WAL has each page of an index whole that is changed for the first time since.
"""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.clock import SystemClock
from trainyard.contracts.prediction_log import Prediction
from trainyard.testing.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

FILLED, BATCH, ROUNDS, BATCHES = 500_000, 250, 5, 20
COLUMNS = 30
_TRACE = "SELECT id FROM core.prediction WHERE trace_id = :trace"
_FILL = """
    INSERT INTO core.{month} (id, model, version, key_id, trace_id, inputs, output, latency_us, predicted_at, logged_at)
    SELECT 'pr_' || md5('id' || n), 'late', 3, '0123456789abcdef', md5('trace' || n),
        (SELECT jsonb_object_agg('c' || c, random() + 0 * n) FROM generate_series(1, :columns) c),
        '{{"prediction": true, "probabilities": {{"false": 0.25, "true": 0.75}}}}', 180, now(), now()
    FROM generate_series(1, :rows) n
"""
_MONTHS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = 'core.prediction'::regclass"
)
_DISK = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'core.prediction'::regclass"


class Log:
    """One log in a database of its own."""

    def __init__(self, postgres: PostgresServer, *, indexed: bool) -> None:
        url = postgres.url(postgres.create_database())
        migrate(url)
        self._engine = make_engine(url, service="benchmark")
        self._log = PostgresPredictionLog(self._engine)
        self.seconds: list[float] = []
        self.wal: list[int] = []
        self._log.add([])  # which makes this month's table
        if not indexed:
            months = [str(row[0]) for row in self._ask(_MONTHS)]
            with self._engine.begin() as connection:
                for table in ("prediction", *months):
                    connection.execute(sa.text(f"DROP INDEX core.{table}_trace_id_idx"))

    def _ask(self, statement: str, **values: Any) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(statement), values))

    def fill(self) -> None:
        """Put predictions into this month's table past the product's code, with everything like those that follow."""
        ((month,),) = self._ask("SELECT month FROM core.open_prediction_month()")
        with self._engine.begin() as connection:
            connection.execute(sa.text(_FILL.format(month=month)), {"rows": FILLED, "columns": COLUMNS})
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in (f"VACUUM (ANALYZE, FREEZE) core.{month}", "CHECKPOINT"):
                connection.execute(sa.text(statement))

    def measure(self, batches: Iterator[list[Prediction]]) -> None:
        """Add batches, and note how long that took and how much WAL it wrote."""
        ((before,),) = self._ask("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        began = time.monotonic()
        for batch in batches:
            self._log.add(batch)
        self.seconds.append(time.monotonic() - began)
        ((after,),) = self._ask("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")
        self.wal.append(int(after - before))

    def trace_ms(self) -> float:
        """Return how long it takes to find a trace."""
        began = time.monotonic()
        found = self._ask(_TRACE, trace=hashlib.md5(b"trace1").hexdigest())  # noqa: S324 - as the fill makes them
        assert len(found) == 1
        return 1_000 * (time.monotonic() - began)

    def figures(self) -> dict[str, float]:
        """Return what was noted, for each prediction."""
        rows = ROUNDS * BATCHES * BATCH
        disk = float(self._ask(_DISK)[0][0])
        return {
            "us": 1e6 * statistics.median(self.seconds) / (BATCHES * BATCH),
            "wal_bytes": sum(self.wal) / rows,
            "disk_bytes": disk / (FILLED + rows),
            "trace_ms": statistics.median(self.trace_ms() for _ in range(9)),
        }


def _batches(rng: np.random.Generator, count: int) -> Iterator[list[Prediction]]:
    now = SystemClock().now()
    for _ in range(count):
        yield [
            Prediction(
                f"pr_{rng.bytes(16).hex()}",
                "late",
                3,
                "0123456789abcdef",
                rng.bytes(16).hex(),
                {f"c{column}": rng.random() for column in range(COLUMNS)},
                {"prediction": True, "probabilities": {"false": 0.25, "true": 0.75}},
                180,
                now,
            )
            for _ in range(BATCH)
        ]


def run() -> dict[str, Any]:
    """Print the figures and return them."""
    with tempfile.TemporaryDirectory() as folder:
        postgres = PostgresServer(Path(folder), durable=True)
        postgres.start()
        try:
            for setting in ("autovacuum = off", "checkpoint_timeout = '1h'", "max_wal_size = '8GB'"):
                postgres.execute(f"ALTER SYSTEM SET {setting}")
            postgres.execute("SELECT pg_reload_conf()")
            logs = {"without the index": Log(postgres, indexed=False), "with it": Log(postgres, indexed=True)}
            for log in logs.values():
                log.fill()
            for seed in range(ROUNDS):
                for log in list(logs.values())[:: 1 if seed % 2 else -1]:
                    log.measure(_batches(np.random.default_rng(2 + seed), BATCHES))
            figures = {name: log.figures() for name, log in logs.items()}
        finally:
            postgres.stop()
    print(f"   {FILLED + ROUNDS * BATCHES * BATCH:,} predictions of {COLUMNS} columns, batches of {BATCH}")
    for name, one in figures.items():
        print(
            f"   {name}: {one['us']:.0f} us, {one['wal_bytes']:,.0f} bytes of WAL and {one['disk_bytes']:,.0f} bytes of"
            f" disk for each prediction; a trace is found in {one['trace_ms']:.1f} ms"
        )
    bare, whole = figures.values()
    print(
        "   ratios: "
        + ", ".join(f"{name} {whole[name] / bare[name]:.2f}" for name in ("us", "wal_bytes", "disk_bytes"))
    )
    return figures
