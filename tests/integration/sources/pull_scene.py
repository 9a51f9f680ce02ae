"""A warehouse with one dataset, pull sources, and a worker's puller over whatever tables a test brings."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import certifi
import sqlalchemy as sa

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.schema import Schema
from trainyard_ingest.domain.pull_draft import read_draft
from trainyard_ingest.pulling.addresses import AddressRule
from trainyard_ingest.pulling.engines import Access
from trainyard_ingest.pulling.fetching import Limits, UrlFetcher
from trainyard_ingest.pulling.tables import SqlTables
from trainyard_ingest.use_cases.intake import RowIntake
from trainyard_ingest.use_cases.pulls import Puller

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = [
    {"name": "id", "type": "int", "nullable": False},
    {"name": "price", "type": "float"},
    {"name": "city", "type": "text"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "timestamp"},
    {"name": "ok", "type": "bool"},
]
LOOPBACK = ("127.0.0.1", "localhost")


class PullScene:
    """One dataset ``shop`` and a puller; ``pauses`` are the lags that were waited out."""

    def __init__(self, database_url: str, directory: Path, *, hosts=LOOPBACK, http=True, limits=None, secrets=None):
        self.engine = make_engine(database_url, service="test")
        clock = SystemClock()
        self.warehouse = PostgresWarehouse(self.engine, clock)
        self.sources = PostgresSources(self.engine)
        self.dataset, _ = self.warehouse.create("shop", Schema.from_dict({"columns": COLUMNS}), actor="k")
        self.pauses: list[float] = []
        rule = AddressRule(hosts)
        self.access = Access(rule, secrets, directory, certifi.where())
        self.fetcher = UrlFetcher(rule, clock, limits or Limits(1 << 20), http=http, ca_file=certifi.where())
        self.puller = Puller(
            self.sources,
            warehouse=self.warehouse,
            intake=RowIntake(self.warehouse, clock, directory),
            tables=SqlTables(self.access, clock, self.pauses.append),
            fetcher=self.fetcher,
            spool=directory,
        )

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def put(self, **body):
        """Make or change the source ``s``, which is due when somebody asks."""
        draft = read_draft(body, datetime(2026, 1, 1, tzinfo=UTC))
        return self.sources.put(self.dataset, "s", draft, actor="k")[0]

    def pull(self):
        """Ask for a pull, do it, and return the source behind it."""
        self.sources.ask(self.dataset, "s", actor="k", once=None)
        assert self.puller.step()
        return self.source()

    def again(self):
        """Take the source up as another worker does after the lease of one that died."""
        with self.engine.begin() as connection:
            connection.execute(sa.text("UPDATE core.source SET lease_until = now() - interval '1 s'"))
        assert self.puller.step()
        return self.source()

    def source(self):
        """Return the source as it is."""
        return self.sources.source(self.dataset, "s")

    def error(self) -> str:
        """Pull, and return what went wrong."""
        last = self.pull().last
        assert last.error is not None
        return last.error

    def rows(self, columns: str = "id"):
        """Return rows of the dataset in the order they came."""
        with self.engine.connect() as connection:
            query = f"SELECT {columns} FROM (SELECT row_number() OVER () AS n, * FROM data.shop) v ORDER BY n"
            found = [tuple(row) for row in connection.execute(sa.text(query))]
        return [row[0] for row in found] if "," not in columns else found

    def batches(self):
        """Return the ledger, oldest first."""
        return self.warehouse.batches(self.dataset, limit=1000)[::-1]
