"""The database goes away after the artifact has been stored.

Set-up: Postgres refuses every connection from the PUT on, for less than the lease lasts, or until the run has given up.
Seen: a short outage is waited out by the run that has the lease; a long one costs it the lease, the message comes
again, and the next attempt finds the same object and publishes it. In the end there is one version.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.testing.toxics import Down

if TYPE_CHECKING:
    from tests.cases.yard import Yard

    from trainyard.testing.pgproxy import PgProxy


@pytest.mark.parametrize(("down_seconds", "fence"), [(0.3, 1), (None, 2)])
def test_one_version_in_the_end(
    yard: Yard, pg_proxy: PgProxy, proxied_database: str, down_seconds: float | None, fence: int
) -> None:
    """It is published by the run that held the lease when the database was back."""
    request_id = yard.request()
    down = Down()
    back = threading.Timer(down_seconds or 0.0, pg_proxy.remove, [down])

    class ThenDown(S3Blobs):
        """The bucket; with the first PUT the database goes."""

        def put(self, key: str, data: bytes, *, only_if_absent: bool = False) -> str:
            if not stored:
                pg_proxy.add(down)
                if down_seconds is not None:
                    back.start()
            stored.append(key)
            return super().put(key, data, only_if_absent=only_if_absent)

    stored: list[str] = []
    blobs = ThenDown(yard.clients.s3, yard.config.bucket)
    trainer = yard.trainer(database_url=proxied_database, blobs=blobs)
    trainer.step()
    if down_seconds is None:  # the database is away until the run has given up: no beat can renew its lease before
        pg_proxy.remove(down)
    else:
        back.join(10)
    yard.work_off(trainer)
    assert yard.row(request_id)["state"] == "done"
    (version,) = yard.versions()
    assert version["fence"] == fence
    assert len(stored) == fence
    assert yard.artifacts() == [version["artifact_key"]]
    assert [run["state"] for run in yard.runs(request_id)] == ["lost", "done"][-fence:]
