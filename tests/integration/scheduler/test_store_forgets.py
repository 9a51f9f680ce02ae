"""An object store that comes back empty, as an emulator does: the scheduler's loops put everything back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from tests.integration.scheduler.loops import BY, ask_for, make_model, running

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.alias_object import alias_key, artifact_key
from trainyard.auth import KEYS_OBJECT
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.copies import STORE_MARK
from trainyard.doctor import Doctor, Sources
from trainyard.model import encode
from trainyard.policy import Policy
from trainyard.testing.models import sample_model
from trainyard.testing.processes import wait_until
from trainyard_scheduler.use_cases import keys
from trainyard_scheduler.use_cases.versions import set_alias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config
    from trainyard.contracts.blobs import BlobStore
    from trainyard.testing.emulator import Emulator

pytestmark = pytest.mark.any_aws
ARTIFACTS = [encode(sample_model(name="late", seed=seed)) for seed in range(3)]


@pytest.fixture
def aws(aws_name: str, new_emulator: Callable[[str], Emulator]) -> Iterator[Emulator]:
    """An emulator of this test's own, for it is killed."""
    emulator = new_emulator(aws_name)
    emulator.start()
    yield emulator
    emulator.stop()


@pytest.fixture
def clients(aws: Emulator) -> Iterator[AwsClients]:
    """Clients of it."""
    clients = AwsClients(load(aws.environment), access_key="test", secret_key="test")
    yield clients
    clients.close()


@pytest.fixture
def settings(aws: Emulator, database_url: str, tmp_path: Path) -> Config:
    """Only an artifact of a megabyte and more would go to the directory of copies."""
    return load(
        {
            **aws.environment,
            "TRAINYARD_ENV": "test",
            "TRAINYARD_BUCKET": "forgetful",
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_POLICY_TICK_SECONDS": "60",
            "TRAINYARD_RESEND_SECONDS": "60",
            "TRAINYARD_COPY_MOST_MB": "1",
            "TRAINYARD_COPIES_DIR": str(tmp_path / "copies"),
        }
    )


def test_everything_comes_back(
    aws: Emulator, clients: AwsClients, settings: Config, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine
) -> None:
    """Artifacts, aliases, catalogue, keys, queues; what had no copy is told as lost; the doctor is content."""
    AwsSetup(clients, settings).ensure()
    blobs = S3Blobs(clients.s3, settings.bucket, on_missing=AwsSetup(clients, settings).ensure)
    make_model(store, None)
    for data in ARTIFACTS:
        _publish(store, warehouse, blobs, data)
    with store.begin() as records:
        model = records.models.get("late")
        assert model is not None
        records.models.change_policy(model.id, Policy(min_new_rows=None, keep_copies=1))
        set_alias(records, "late", "champion", 1, expected_seq=None, reason="test", by=BY)
        keys.make_key(records, "some", ["read"], None, BY)
    with running(settings):
        wait_until(
            lambda: (
                _copied(store) == 2
                and {KEYS_OBJECT, alias_key("late", "champion"), STORE_MARK} <= _objects(blobs).keys()
            ),
            "copies, and what is published",
        )
        before = _objects(blobs)
    aws.kill()
    aws.start()
    if aws.keeps_objects:
        for info in list(blobs.list("")):
            blobs.delete(info.key)
    assert _objects(blobs) == {}
    with running(settings):
        lost = artifact_key("late", hashlib.sha256(ARTIFACTS[1]).hexdigest())
        wait_until(lambda: _objects(blobs).keys() == before.keys() - {lost}, "what had a copy")
        assert {name: data for name, data in before.items() if name != lost} == _objects(blobs)
        queue = SqsQueue(clients.sqs, settings.queue_training)
        assert queue.depth().total == 0
        report = Doctor(Sources(PostgresDatabase(engine), blobs), SystemClock()).examine()
    assert report.healthy, report.as_dict()
    (objects,) = [check for check in report.checks if check.id == "I7"]
    assert any("2 artifacts were put back from copies, 1 versions had none" in note for note in objects.notes)
    assert any("1 versions without a copy went" in note for note in objects.notes)


def _publish(store: PostgresStore, warehouse: Warehouse, blobs: BlobStore, data: bytes) -> int:
    warehouse.add(5)
    request = ask_for(store)
    warehouse.claim(request.id)
    sha256 = hashlib.sha256(data).hexdigest()
    blobs.put(artifact_key("late", sha256), data)
    return warehouse.finish(request.id, sha256=sha256, size=len(data))


def _copied(store: PostgresStore) -> int:
    with store.begin() as records:
        return sum(artifact.copy is not None for artifact in records.copies.live())


def _objects(blobs: BlobStore) -> dict[str, bytes]:
    return {info.key: blobs.get(info.key).data for info in blobs.list("")}
