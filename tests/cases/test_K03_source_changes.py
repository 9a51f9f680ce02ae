"""A landing file is replaced while it is being read.

Set-up: the file changes its ETag when half of it has been read, and the connection that read it breaks. Seen: what was
read is discarded, the old file is not taken up again, the new one is a batch of its own, and no batch ever mixes the
two. Likewise when the file had been replaced before its notification was read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cases.yard import DATASET

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load
from trainyard.errors import TransientError
from trainyard.testing.emulator import ACCESS_KEY, SECRET_KEY
from trainyard_ingest.use_cases.landing import Landing

if TYPE_CHECKING:
    from tests.cases.wire import Wire
    from tests.cases.yard import Yard

KEY = f"landing/{DATASET}/moving.csv"
ROWS = 120_000


def body(city: str) -> bytes:
    """Return a file of a few MiB whose rows all carry one city, so that a mix would show."""
    lines = [f"{100_000 + n},40,{city},true" for n in range(ROWS)]
    return "\n".join(["id,age,city,bought", *lines]).encode()


def cities(yard: Yard) -> list[dict[str, object]]:
    """Return how many of the files' rows carry which city."""
    return yard.rows("SELECT city, count(*) AS n FROM data.shoppers WHERE id >= 100000 GROUP BY city ORDER BY city")


def test_replaced_while_it_was_read(yard: Yard, wire: Wire) -> None:
    """Half of A, then B: nothing of A is stored, a second try at A finds it gone, and B comes whole."""
    old, new = body("A"), body("B")
    old_etag = yard.blobs.put(KEY, old)
    clients = AwsClients(
        load({**yard.environment, "AWS_ENDPOINT_URL": wire.endpoint}), access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    landing = Landing(
        yard.config.bucket,
        S3Blobs(clients.s3, yard.config.bucket),
        yard.warehouse,
        yard.intake,
    )
    etags = []
    cut = wire.cut_answer(
        f"GET /{yard.config.bucket}/landing/".encode(),
        after_bytes=len(old) // 2,
        then=lambda: etags.append(yard.blobs.put(KEY, new)),
    )
    with pytest.raises(TransientError):
        landing.take(KEY, old_etag)
    assert cut.done == 1
    assert cities(yard) == []
    landing.take(KEY, old_etag)
    assert cities(yard) == []
    assert landing.sweep(lambda: False) == 1
    assert cities(yard) == [{"city": "B", "n": ROWS}]
    assert yard.rows("SELECT state, fingerprint FROM core.batch WHERE source = 'landing'") == [
        {"state": "committed", "fingerprint": f"s3:{yard.config.bucket}/{KEY}:{etags[0]}"}
    ]
    clients.close()


def test_replaced_before_it_was_read(yard: Yard) -> None:
    """A notification of the old file takes nothing; that of the new one takes the new one."""
    small_old, small_new = (b"id,age,city,bought\n100001,40,%s,true\n" % city for city in (b"A", b"B"))
    old_etag = yard.blobs.put(KEY, small_old)
    new_etag = yard.blobs.put(KEY, small_new)
    landing = Landing(yard.config.bucket, yard.blobs, yard.warehouse, yard.intake)
    landing.take(KEY, old_etag)
    assert cities(yard) == []
    landing.take(KEY, new_etag)
    assert cities(yard) == [{"city": "B", "n": 1}]
