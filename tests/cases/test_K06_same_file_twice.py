"""The same file is taken twice, and eight times at once.

Set-up: a file in ``landing/`` that eight takers have heard of, and the same body sent by eight uploads. Seen: one row
in the ledger, its rows once in the table, and every answer names the same batch.
"""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.cases.yard import DATASET

from trainyard_ingest.domain import formats
from trainyard_ingest.use_cases.intake import Origin
from trainyard_ingest.use_cases.landing import Landing

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.contracts.warehouse import Stored

BODY = b"id,age,city,bought\n9001,20,A,false\n9002,70,C,true\n9003,40,B,true\n"
KEY = f"landing/{DATASET}/again.csv"
TAKERS = 8


def stored_rows(yard: Yard) -> int:
    """Return how many of the file's rows the table holds."""
    return int(yard.rows("SELECT count(*) AS n FROM data.shoppers WHERE id > 9000")[0]["n"])


def test_landing_file(yard: Yard) -> None:
    """Eight notifications of one file, taken at once by eight takers, then one more: one batch."""
    etag = yard.blobs.put(KEY, BODY)
    barrier = threading.Barrier(TAKERS)

    def take(_: int) -> None:
        landing = Landing(yard.config.bucket, yard.blobs, yard.warehouse, yard.intake)
        barrier.wait(10)
        landing.take(KEY, etag)

    with ThreadPoolExecutor(TAKERS) as pool:
        list(pool.map(take, range(TAKERS)))
    barrier = threading.Barrier(1)
    take(TAKERS)
    (batch,) = yard.rows("SELECT state, row_count FROM core.batch WHERE source = 'landing'")
    assert batch == {"state": "committed", "row_count": 3}
    assert stored_rows(yard) == 3


def test_upload(yard: Yard) -> None:
    """Eight uploads of one body at once: one is told that its batch is new, seven that it is there already."""
    barrier = threading.Barrier(TAKERS)
    kind = formats.by_name("again.csv")
    assert kind is not None

    def upload(_: int) -> Stored:
        barrier.wait(10)
        return yard.intake.take(DATASET, io.BytesIO(BODY), kind, Origin("http", "", None, None))

    with ThreadPoolExecutor(TAKERS) as pool:
        answers = list(pool.map(upload, range(TAKERS)))
    assert sorted(answer.new for answer in answers) == [False] * (TAKERS - 1) + [True]
    assert len({answer.batch.id for answer in answers}) == 1
    assert stored_rows(yard) == 3
