"""The doctor over real queues, a real log, a real fleet and real sessions: damage is named, and gone when mended."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.integration.scheduler.loops import ask_for, make_model

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.ensure import AwsSetup, dead_letter_name
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.machine import ThisMachine
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine
from trainyard.clock import ManualClock, SystemClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.contracts.queue import Outgoing
from trainyard.doctor import CHECKS, Doctor, Sources
from trainyard.messages import TrainingRequest
from trainyard_scheduler.use_cases.publish import ModelPublisher

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config

MESSAGE = Outgoing("training_request", "body")
PREDICTION = """
    INSERT INTO core.prediction (id, model, version, inputs, output, predicted_at, logged_at)
    VALUES (:id, 'late', :version, '{}', '{}', now(), now() - interval '1 hour')"""


class World:
    """A model without versions, four queues, a fleet and a disk, and the doctor before them."""

    def __init__(
        self, store: PostgresStore, engine: sa.Engine, clients: AwsClients, settings: Config, directory: Path
    ) -> None:
        self.engine = engine
        self.queues = {
            name: (SqsQueue(clients.sqs, queue), SqsQueue(clients.sqs, dead_letter_name(queue)))
            for name, queue in {
                "training": settings.queue_training,
                "arrived": settings.queue_arrived,
                "objects": settings.queue_objects,
                "predictions": settings.queue_predictions,
                "batch": settings.queue_batch,
            }.items()
        }
        self.fleet = Ec2Fleet(clients.ec2, settings.env, on_missing=AwsSetup(clients, settings).ensure)
        self.blobs = S3Blobs(clients.s3, settings.bucket)
        self.work, self.spool = directory / "work", directory / "spool"
        machine = ThisMachine(self.work, self.spool, SystemClock())
        sources = Sources(PostgresDatabase(engine), self.blobs, self.queues, self.fleet, machine)
        self.doctor = Doctor(sources, ManualClock())
        make_model(store, None)
        self.publisher = ModelPublisher(store, self.blobs)
        self.publisher.step()

    def sql(self, statement: str, **values: object) -> None:
        """Change the database behind the services' back."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def problems(self) -> dict[str, list[str]]:
        """Return what is wrong by check."""
        return {check.id: check.problems for check in self.doctor.examine().checks if not check.passed}

    def mend(self, ident: str) -> str:
        """Return what is advised for a check."""
        return {check.id: check.mend for check in self.doctor.examine().checks}[ident]


@pytest.fixture
def world(
    store: PostgresStore,
    warehouse: Warehouse,
    engine: sa.Engine,
    aws_setup: AwsSetup,
    aws_clients: AwsClients,
    settings: Config,
    tmp_path: Path,
) -> World:
    """A sound world."""
    aws_setup.ensure()
    warehouse.add(10, announce=False)
    world = World(store, engine, aws_clients, settings, tmp_path)
    for queue, _ in (world.queues["objects"], world.queues["batch"]):
        while greetings := queue.receive(limit=10, wait_seconds=1, visibility_seconds=60):
            for message in greetings:
                queue.delete(message.receipt)  # S3 greets a new notification with a test event
    assert world.problems() == {}
    return world


def test_messages(world: World, store: PostgresStore) -> None:
    """A message without work and a dead letter are named; an open request explains the message."""
    training, dead = world.queues["training"]
    training.send([MESSAGE])
    (problem,) = world.problems()["I5"]
    assert problem.startswith("queue training holds 1 messages (1 visible)")
    request = ask_for(store)
    assert "I5" not in world.problems()
    world.sql("UPDATE core.training_request SET state = 'cancelled', finished_at = now() WHERE id = :id", id=request.id)
    assert "I5" not in world.problems()  # the system was at work just now
    world.sql("UPDATE core.training_request SET finished_at = now() - interval '5 minutes'")
    world.sql("UPDATE core.outbox SET sent_at = now() - interval '5 minutes'")
    assert "I5" in world.problems()

    dead.send([MESSAGE])
    assert any(p.startswith("queue training has 1 dead letter: 1 training_request") for p in world.problems()["I5"])
    assert "redrive" not in world.mend("I5")  # nobody can read it
    dead.send([TrainingRequest(request.id).outgoing()])
    assert "redrive" not in world.mend("I5")  # its request has ended
    world.sql("UPDATE core.training_request SET state = 'queued', finished_at = NULL")
    assert "trainyard queue redrive training" in world.mend("I5")
    world.sql("UPDATE core.training_request SET state = 'cancelled', finished_at = now() - interval '5 minutes'")
    for queue in (training, dead, dead):
        (message,) = queue.receive(limit=1, wait_seconds=1, visibility_seconds=60)
        queue.delete(message.receipt)
    assert world.problems() == {}


def test_outbox(world: World) -> None:
    """A message that nobody relays is named after two minutes."""
    world.sql("INSERT INTO core.outbox (queue, type, body, created_at) VALUES ('arrived', 't', 'b', now())")
    assert world.problems() == {}
    world.sql("UPDATE core.outbox SET created_at = now() - interval '121 seconds' WHERE sent_at IS NULL")
    (problem,) = world.problems()["I5"]
    assert "1 messages wait in the database to be sent, the oldest for 12" in problem
    world.sql("UPDATE core.outbox SET sent_at = now()")
    assert world.problems() == {}


def test_prediction_log(world: World, store: PostgresStore, warehouse: Warehouse) -> None:
    """Entries of unknown versions and doubled ids are named; a label without prediction is counted."""
    world.sql(PREDICTION, id="p1", version=7)
    assert world.problems()["I6"] == ["1 predictions were logged for version 7 of model late, which does not exist"]
    world.sql("UPDATE core.prediction SET version = 1")
    request = ask_for(store)
    warehouse.claim(request.id)
    warehouse.finish(request.id)
    world.blobs.put(f"models/late/{'ab' * 32}.msgpack", b"x" * 10)
    world.publisher.step()
    assert world.problems() == {}

    world.sql("ALTER TABLE core.prediction DISABLE TRIGGER prediction_redirected")  # past the look for known ids
    world.sql(PREDICTION, id="p1", version=1)
    assert world.problems()["I6"] == ["prediction p1 stands in the log more than once"]
    world.sql("DELETE FROM core.prediction WHERE seq = 2")

    world.sql("INSERT INTO core.feedback (prediction_id, label) VALUES ('p1', 'true'), ('p1', 'false'), ('p9', '1')")
    notes = next(check.notes for check in world.doctor.examine().checks if check.id == "I6")
    assert any(note.startswith("1 labels name a prediction that is not in the log") for note in notes)
    assert world.problems() == {}
    world.sql("ALTER TABLE core.feedback DROP CONSTRAINT feedback_pkey")
    world.sql("INSERT INTO core.feedback (seq, prediction_id, label) OVERRIDING SYSTEM VALUE VALUES (2, 'p1', 'true')")
    assert world.problems()["I6"] == ["prediction p1 has more than one current label"]


def test_spool(world: World) -> None:
    """A segment that no queue has taken is named; one without records, or one that was sent, is none."""
    world.spool.mkdir()
    for name, content in [("a.spool", b"x"), ("b.spool", b""), ("c.sent", b"x")]:
        (world.spool / name).write_bytes(content)
        os.utime(world.spool / name, (1.0, 1.0))
    (problem,) = world.problems()["I6"]
    assert problem.startswith("segment a.spool of the prediction log has waited for ")
    (world.spool / "a.spool").unlink()
    assert world.problems() == {}


def test_objects(world: World, store: PostgresStore, warehouse: Warehouse) -> None:
    """A version without artifact, an artifact of another size, a stranger and a lost catalogue entry are named."""
    request = ask_for(store)
    warehouse.claim(request.id)
    warehouse.finish(request.id)
    key = f"models/late/{'ab' * 32}.msgpack"
    world.publisher.step()
    assert world.problems()["I7"] == [f"version 1 of model late: there is no object {key}"]
    world.sql("UPDATE core.model SET deleted_at = now()")
    assert not any(key in problem for problem in world.problems().get("I7", ()))
    world.sql("UPDATE core.model SET deleted_at = NULL")
    world.blobs.put(key, b"short")
    assert world.problems()["I7"] == [f"version 1 of model late: {key} has 5 bytes, registered were 10"]
    world.blobs.put(key, b"x" * 10)
    world.blobs.put("models/notes.txt", b"x")
    world.blobs.delete("catalogue/late")
    world.blobs.put("versions/late/1", b"x")
    world.blobs.put("versions/late/2", b"x")
    assert world.problems()["I7"] == [
        "models/notes.txt is an object that no version refers to",
        "catalogue/late is missing",
        "versions/late/1 is not what the database says",
        "versions/late/2 is an object of something that does not exist",
    ]
    world.blobs.delete("models/notes.txt")
    world.publisher.step()
    assert world.problems() == {}


def test_old_orphan(world: World, store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreferenced artifact is a problem after a day and a bit, unless its model is being trained."""
    orphan = f"models/late/{'cd' * 32}.msgpack"
    world.blobs.put(orphan, b"x")
    assert world.problems() == {}
    now = PostgresDatabase.now
    monkeypatch.setattr(PostgresDatabase, "now", lambda self: now(self) + timedelta(hours=27))
    assert world.problems()["I7"] == [f"{orphan} has had no version for 27 h"]
    ask_for(store)
    assert "I7" not in world.problems()


def test_instances_and_launches(world: World) -> None:
    """An instance that the ledger does not know, one without trainer, and a launch without instance are named."""
    launch = str(uuid.uuid4())
    instance = world.fleet.launch(launch, LaunchSpec(("c7i.large",), spot=False))
    (problem,) = world.problems()["I8"]
    assert f"instance {instance.instance_id} (c7i.large, " in problem
    assert "belongs to no launch of the ledger" in problem
    world.sql(
        "INSERT INTO core.launch (id, state, instance_id, instance_types, spot, created_at, launched_at)"
        " VALUES (CAST(:id AS uuid), 'launched', :instance, '{}', false, now() - interval '10 minutes',"
        " now() - interval '10 minutes')",
        id=launch,
        instance=instance.instance_id,
    )
    assert "has had no trainer for 60" in world.problems()["I8"][0]
    world.sql(
        "INSERT INTO core.worker (id, instance_id, state, seen_at) VALUES ('h:1', :instance, 'busy', now())",
        instance=instance.instance_id,
    )
    assert world.problems() == {}
    world.sql("UPDATE core.worker SET seen_at = now() - interval '4 minutes'")
    assert f"worker h:1 on instance {instance.instance_id}" in world.problems()["I8"][0]
    world.fleet.terminate([instance.instance_id])
    assert f"launch {launch} has been 'launched' for 60" in world.problems()["I8"][0]
    world.sql("UPDATE core.launch SET state = 'ended', ended_at = now()")
    assert world.problems() == {}


def test_sessions_and_locks(world: World, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that idles inside a transaction, or on an advisory lock, is named by its pid and its program."""
    monkeypatch.setattr("trainyard.doctor.leftovers.IDLE_SECONDS", 0.0)
    stranger = make_engine(database_url, service="stranger")
    with stranger.connect() as connection:
        pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        assert any(
            problem.startswith(f"session {pid} (trainyard-stranger) has been idle inside a transaction")
            for problem in world.problems()["I8"]
        )
        connection.execute(sa.text("SELECT pg_advisory_lock(1)"))
        connection.commit()
        assert any(
            problem.startswith(f"session {pid} (trainyard-stranger) has held an advisory lock and done nothing")
            for problem in world.problems()["I8"]
        )
    stranger.dispose()
    assert "stranger" not in str(world.problems())


def test_runs_and_directories(world: World, store: PostgresStore, warehouse: Warehouse) -> None:
    """A run that goes on after its request ended, and a directory of an instance that is gone, are named."""
    request = ask_for(store)
    warehouse.claim(request.id)
    world.sql("UPDATE core.training_request SET state = 'failed', finished_at = now()")
    (problem,) = world.problems()["I8"]
    assert problem.endswith(f"counts as running, but its request {request.id} is failed")
    world.sql("UPDATE core.run SET state = 'lost', ended_at = now()")
    assert world.problems() == {}
    left = world.work / "i-0123"
    left.mkdir(parents=True)
    os.utime(left, (1.0, 1.0))
    assert "the work directory of instance i-0123, which is gone" in world.problems()["I8"][0]
    left.rmdir()
    assert world.problems() == {}


def test_done_without_version(world: World, store: PostgresStore) -> None:
    """A request that counts as done has its version; a second version for one is named."""
    request = ask_for(store)
    world.sql("UPDATE core.training_request SET state = 'done', finished_at = now()")
    assert world.problems()["I3"] == [f"request {request.id} of model late is done and has no version"]


def test_second_version(world: World, store: PostgresStore, warehouse: Warehouse) -> None:
    """Two versions for one request are named, even where the constraint was removed."""
    request = ask_for(store)
    warehouse.claim(request.id)
    warehouse.finish(request.id)
    world.sql("ALTER TABLE core.version DROP CONSTRAINT version_request_id_key")
    columns = (
        "request_id, run_id, fence, artifact_key, sha256, size_bytes, upto_seq, snapshot_rows, snapshot_hash,"
        " holdout, metrics, gate, passed"
    )
    world.sql(
        f"INSERT INTO core.version (model_id, version, {columns}) SELECT model_id, 2, {columns} FROM core.version"
    )
    assert f"request {request.id} has 2 versions" in world.problems()["I3"]


def test_outage(store: PostgresStore, warehouse: Warehouse, engine: sa.Engine, aws_config: Config) -> None:
    """Without AWS nothing raises: what needs it is unknown, the rest is looked at."""
    gone = AwsClients(replace(aws_config, aws_endpoint_url="http://127.0.0.1:9"), access_key="x", secret_key="x")
    queues = {"training": (SqsQueue(gone.sqs, "q"), SqsQueue(gone.sqs, "q-dlq"))}
    sources = Sources(PostgresDatabase(engine), S3Blobs(gone.s3, "b"), queues, Ec2Fleet(gone.ec2, "x"))
    report = Doctor(sources, ManualClock()).examine()
    assert {check.id for check in report.checks if check.state == "unknown"} == {"I4", "I5", "I7", "I8"}
    assert (report.healthy, report.state) == (False, "unknown")
    engine_gone = make_engine("postgresql+psycopg2://x:x@127.0.0.1:9/x", service="test")
    report = Doctor(Sources(PostgresDatabase(engine_gone), S3Blobs(gone.s3, "b")), ManualClock()).examine()
    assert {check.state for check in report.checks} == {"unknown"}
    assert list(CHECKS) == [check.id for check in report.checks]
    json.dumps(report.as_dict())
