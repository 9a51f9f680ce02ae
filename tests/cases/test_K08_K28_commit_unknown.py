"""The answer to COMMIT is lost, at the end of a batch and at the end of a publication.

Set-up: a proxy before Postgres lets the COMMIT through, swallows its answer and resets the connection. Seen: whoever
sent it looks the outcome up in the ledger, or at the request, and goes on; the effect is there exactly once.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from tests.cases.yard import DATASET, UNHURRIED

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.testing.toxics import DropCommitReply
from trainyard_ingest.domain import formats
from trainyard_ingest.use_cases.intake import Origin, RowIntake

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.testing.pgproxy import PgProxy

BODY = b"id,age,city,bought\n9001,20,A,false\n9002,70,C,true\n"


def test_batch(yard: Yard, pg_proxy: PgProxy, proxied_database: str) -> None:
    """The batch is stored once and reported as new; sent again it is the same batch."""
    engine = make_engine(proxied_database, service="test")
    intake = RowIntake(PostgresWarehouse(engine, SystemClock()), SystemClock())
    kind = formats.by_name("rows.csv")
    assert kind is not None
    origin = Origin("http", "", None, None)
    with pg_proxy.toxic(DropCommitReply(nth=2)):  # the first COMMIT ends the look at the dataset
        stored = intake.take(DATASET, io.BytesIO(BODY), kind, origin)
    assert pg_proxy.commits_dropped == 1
    assert (stored.new, stored.batch.rows) == (True, 2)
    again = intake.take(DATASET, io.BytesIO(BODY), kind, origin)
    assert (again.new, again.batch.id) == (False, stored.batch.id)
    assert yard.rows("SELECT count(*) AS n FROM data.shoppers WHERE id > 9000") == [{"n": 2}]
    assert yard.rows("SELECT count(*) AS n FROM core.batch WHERE row_count = 2") == [{"n": 1}]
    engine.dispose()


def test_publication(yard: Yard, pg_proxy: PgProxy, proxied_database: str) -> None:
    """The version is published once, by this run, and the message is settled; nothing is trained twice."""
    request_id = yard.request()
    lost = DropCommitReply()

    class StoredJustNow(S3Blobs):
        """The bucket; the next COMMIT after a PUT is the one whose answer is lost."""

        def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> str:
            etag = super().put(key, data, only_if_absent=only_if_absent)
            pg_proxy.add(lost)
            return etag

    blobs = StoredJustNow(yard.clients.s3, yard.config.bucket)
    trainer = yard.trainer(database_url=proxied_database, blobs=blobs, lease_seconds=UNHURRIED)
    yard.work_off(trainer)
    assert pg_proxy.commits_dropped == 1
    assert [run["state"] for run in yard.runs(request_id)] == ["done"]
    (version,) = yard.versions()
    assert (version["request_id"], version["fence"]) == (yard.row(request_id)["id"], 1)
    assert yard.rows("SELECT version, seq FROM core.alias") == [{"version": 1, "seq": 1}]
    assert len(yard.rows("SELECT 1 FROM core.audit WHERE action = 'version.publish'")) == 1
