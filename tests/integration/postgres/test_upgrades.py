"""A stack of every earlier revision, with data in it, under this release: the same answers, and a content doctor."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from tests.integration.postgres.schema import revisions

from trainyard.adapters.backup import Stack, restore, take
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.alias_object import alias_key, artifact_key, decode_alias
from trainyard.clock import ManualClock
from trainyard.doctor import Doctor, Sources
from trainyard.model import Predictor, decode, encode
from trainyard.testing.fakes import MemoryBlobs
from trainyard.testing.models import sample_model
from trainyard_scheduler.use_cases.copies import CopyKeeper
from trainyard_scheduler.use_cases.publish import ModelPublisher

if TYPE_CHECKING:
    from trainyard.testing.postgres import PostgresServer

MODEL = sample_model(name="late")
ARTIFACT = encode(MODEL)
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()
SEED = Path(__file__).with_name("seed.sql")


@pytest.fixture
def blobs() -> MemoryBlobs:
    """The bucket of the earlier release."""
    blobs = MemoryBlobs()
    blobs.put(artifact_key("late", SHA256), ARTIFACT)
    return blobs


def seed(url: str, revision: str) -> None:
    """Make the database of an earlier release, with rows, a served version, predictions and labels."""
    golden = MODEL.golden
    assert golden is not None
    outputs = [{"probabilities": {"false": row[0], "true": row[1]}} for row in golden.expected.tolist()]
    migrate(url, revision)
    text = SEED.read_text(encoding="utf-8")
    for word, value in {
        "<sha256>": SHA256,
        "<size>": str(len(ARTIFACT)),
        "<inputs>": json.dumps([dict(row) for row in golden.rows]),
        "<outputs>": json.dumps(outputs),
    }.items():
        text = text.replace(word, value)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        cursor = connection.connection.cursor()
        cursor.execute(text)
    engine.dispose()


def works(url: str, blobs: MemoryBlobs) -> None:
    """Look at it with the eyes of this release's services."""
    engine = make_engine(url, service="test")
    store = PostgresStore(engine)
    ModelPublisher(store, blobs).step()
    assert CopyKeeper(store, blobs, None, most_bytes=1 << 20, clock=ManualClock()).step() == 1
    pointer = decode_alias(blobs.get(alias_key("late", "champion")).data)
    assert (pointer.version, pointer.seq) == (1, 3)
    model = Predictor(decode(blobs.get(pointer.key).data))
    logged = PostgresPredictionLog(engine).page(model="late", version=1, limit=99)
    answers = model.golden_outputs([row.prediction.inputs for row in logged])
    said = [row.prediction.output["probabilities"] for row in logged]
    assert answers == [[one["false"], one["true"]] for one in said]
    assert [row.label for row in logged] == [True, *[None] * (len(logged) - 1)]
    assert PostgresSnapshots(engine).read(1, 40).rows == 30, "the latest of each key"
    with store.begin() as records:
        found = records.models.get("late")
        assert found is not None
        assert (found.champion, found.policy.min_new_rows) == (1, 30)
        assert found.policy.kinds == ("linear", "neural_network")
        version = records.versions.version(found.id, 1)
        assert version is not None
        assert (version.sha256, version.aliases, version.lost_at) == (SHA256, ("champion",), None)
        assert [move.version for move in records.versions.deployments(found.id, 9, None)] == [1]
    report = Doctor(Sources(PostgresDatabase(engine), blobs), ManualClock()).examine()
    engine.dispose()
    assert report.healthy, report.as_dict()


@pytest.mark.parametrize("revision", revisions()[:-1])
def test_in_its_place(url: str, blobs: MemoryBlobs, revision: str) -> None:
    """`trainyard up` on the data directory of an earlier release brings it to this one."""
    seed(url, revision)
    assert migrate(url) == [later for later in revisions() if later > revision]
    works(url, blobs)


@pytest.mark.parametrize("revision", [revisions()[-2]])
def test_from_a_backup(url: str, blobs: MemoryBlobs, postgres: PostgresServer, revision: str) -> None:
    """A backup of an earlier revision becomes a stack of this one."""
    seed(url, revision)
    file = io.BytesIO()
    assert take(Stack(url, blobs), file, _quiet).about.revision == revision
    file.seek(0)
    name = postgres.create_database()
    try:
        there = Stack(postgres.url(name), MemoryBlobs())
        assert restore(there, file, _quiet).ran == tuple(later for later in revisions() if later > revision)
        works(there.database_url, there.blobs)  # type: ignore[arg-type]
    finally:
        postgres.drop_database(name)


def _quiet(*_: Any) -> None:
    pass
