"""The doctor over a real Postgres and S3: sound data pass, and each way to spoil them is named."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.integration.scheduler.loops import BY, ask_for, make_model

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.alias_object import artifact_key
from trainyard.clock import ManualClock
from trainyard.doctor import CHECKS, Doctor, Limits, Sources
from trainyard.model import encode
from trainyard.testing.models import sample_model
from trainyard_scheduler.use_cases.publish import ModelPublisher
from trainyard_scheduler.use_cases.versions import set_alias

if TYPE_CHECKING:
    from tests.integration.scheduler.warehouse import Warehouse

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.adapters.postgres.scheduling import PostgresStore
    from trainyard.config import Config
    from trainyard.contracts.blobs import Blob

ARTIFACT = encode(sample_model(name="late"))
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()
KEY = artifact_key("late", SHA256)


@pytest.fixture
def blobs(aws_setup: AwsSetup, aws_config: Config, aws_clients: AwsClients) -> S3Blobs:
    """The test's bucket."""
    return S3Blobs(aws_clients.s3, aws_config.bucket)


@pytest.fixture
def doctor(store: PostgresStore, warehouse: Warehouse, engine: sa.Engine, blobs: S3Blobs) -> Doctor:
    """A doctor before a sound world: two batches, a version, a champion and its objects."""
    make_model(store, None)
    warehouse.add(10)
    warehouse.add(5)
    request = ask_for(store)
    warehouse.claim(request.id)
    blobs.put(KEY, ARTIFACT)
    version = warehouse.finish(request.id, sha256=SHA256, size=len(ARTIFACT))
    with store.begin() as records:
        set_alias(records, "late", "champion", version, expected_seq=None, reason="test", by=BY)
    ModelPublisher(store, blobs).step()
    moved_before(engine, seconds=60)
    return Doctor(Sources(PostgresDatabase(engine), blobs), ManualClock())


def moved_before(engine: sa.Engine, *, seconds: float) -> None:
    """Let every alias have been moved that long ago."""
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE core.alias SET updated_at = clock_timestamp() - make_interval(secs => :seconds)"),
            {"seconds": seconds},
        )


def problems(doctor: Doctor) -> dict[str, list[str]]:
    """Return what is wrong by check; every failed check says how to mend it."""
    report = doctor.examine()
    failed = [check for check in report.checks if not check.passed]
    assert report.healthy == (not failed)
    assert all(check.mend for check in failed)
    return {check.id: check.problems for check in failed}


def test_sound_world(doctor: Doctor) -> None:
    """Nothing is wrong, and everything was looked at."""
    assert [check.id for check in doctor.examine().checks] == list(CHECKS)
    assert problems(doctor) == {}


@pytest.mark.parametrize(
    ("statement", "check", "said"),
    [
        ("DELETE FROM data_.t_1 WHERE ingest_seq = 3", "I1", "has 9 rows where the ledger has 10"),
        ("UPDATE data_.t_1 SET c1 = 7.5 WHERE ingest_seq = 3", "I1", "has rows of checksum"),
        (
            "INSERT INTO data_.t_1 VALUES (16, gen_random_uuid(), 1, true, 1)",
            "I1",
            "1 rows belong to no committed batch",
        ),
        (
            "INSERT INTO data_.t_1 VALUES (0, gen_random_uuid(), 1, true, 1)",
            "I1",
            "1 rows belong to no committed batch",
        ),
        ("UPDATE core.dataset SET last_seq = 14", "I1", "said to be 14, the ledger ends with 15"),
        ("UPDATE core.dataset SET removed_rows = 1", "I1", "1 rows are said to be removed, 0 in the ledger"),
        ("UPDATE core.batch SET removed_count = 1 WHERE first_seq = 1", "I1", "has 10 rows where the ledger has 9"),
        (
            "UPDATE core.batch SET checksum = NULL, created_at = now() - interval '2 hours'",
            "I1",
            "2 batches have no checksum, the oldest for 120 minutes",
        ),
        ("DROP TABLE data_.t_1", "I1", "its table is gone"),
        (
            """INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by,
            created_at) VALUES (gen_random_uuid(), 1, 'x', 9, 1, '{}', 'x', now() - interval '1 hour')""",
            "I2",
            "is queued: its message was never sent",
        ),
        ("UPDATE core.training_request SET fence = fence + 1", "I3", "carries fence 1"),
        ("UPDATE core.training_request SET state = 'failed'", "I3", "is failed with fence 1"),
        (
            """UPDATE core.version SET holdout = '{"rule": "time", "fit_upto_seq": 9, "test_from_seq": 9}'""",
            "I3",
            "was judged on rows from 9, but version 1 was fitted on rows up to 9",
        ),
        ("UPDATE core.version SET sha256 = repeat('0', 64)", "I4", "is not the file that was registered"),
        ("UPDATE core.alias SET seq = seq + 1", "I4", "the database says 1, 2"),
        ("UPDATE core.audit SET actor = 'somebody' WHERE id = 2", "I9", "audit entry 2 (request.create of"),
        ("DELETE FROM core.audit WHERE id = 2", "I9", "audit entries 2 to 2 are missing"),
    ],
)
def test_spoilt_records(doctor: Doctor, engine: sa.Engine, statement: str, check: str, said: str) -> None:
    """A change behind the services' back is found and said."""
    with engine.begin() as connection:
        connection.execute(sa.text(statement.replace(":", r"\:")))
    found = problems(doctor)
    assert check in found
    assert any(said in problem for problem in found[check]), found


def test_removed_rows_and_later_columns(doctor: Doctor, engine: sa.Engine) -> None:
    """Rows that were erased, checksums that wait to be taken again, and columns that came later are no problem."""
    with engine.begin() as connection:
        for statement in (
            "DELETE FROM data_.t_1 WHERE ingest_seq IN (3, 4)",
            "UPDATE core.batch SET removed_count = 2, checksum = NULL WHERE first_seq = 1",
            "UPDATE core.dataset SET removed_rows = 2",
            "ALTER TABLE data_.t_1 ADD COLUMN c4 text",
            "UPDATE core.batch SET checksum_columns = 3 WHERE first_seq = 11",
            """UPDATE core.dataset SET columns = columns || '[{"name": "d", "type": "text", "role": "feature",
               "nullable": true, "physical": "c4"}]'""",
        ):
            connection.execute(sa.text(statement.replace(":", r"\:")))
    assert problems(doctor) == {}
    check = doctor.examine().checks[0]
    assert check.notes == ["dataset flights: 1 batches have no checksum yet"]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE data_.t_1 SET c3 = 0 WHERE ingest_seq = 12"))
    assert "has rows of checksum" in problems(doctor)["I1"][0]


def test_spoilt_objects(doctor: Doctor, blobs: S3Blobs) -> None:
    """A lost or changed artifact, and a lost or strange alias object, are found."""
    blobs.put(KEY, ARTIFACT[:-1] + b"x")
    blobs.put("aliases/late/champion", b"x")
    artifact, alias = problems(doctor)["I4"]
    assert "is not the file that was registered" in artifact
    assert "cannot be read" in alias
    blobs.delete(KEY)
    blobs.delete("aliases/late/champion")
    assert [problem.split(": ")[1] for problem in problems(doctor)["I4"]] == [
        f"there is no object {KEY}",
        "there is no object aliases/late/champion",
    ]


def test_alias_that_was_moved_just_now(
    doctor: Doctor, blobs: S3Blobs, store: PostgresStore, warehouse: Warehouse, engine: sa.Engine
) -> None:
    """An object that does not say yet what the database says is being published; after some seconds it is a problem."""
    request = ask_for(store)
    warehouse.claim(request.id)
    version = warehouse.finish(request.id, sha256=SHA256, size=len(ARTIFACT))
    with store.begin() as records:
        set_alias(records, "late", "champion", version, expected_seq=None, reason="test", by=BY)
    assert "I4" not in problems(doctor)  # champion differs, previous has no object at all
    moved_before(engine, seconds=6)
    champion, previous = problems(doctor)["I4"]
    assert "aliases/late/champion says version 1, seq 1; the database says 2, 2" in champion
    assert "there is no object aliases/late/previous" in previous
    ModelPublisher(store, blobs).step()
    assert problems(doctor) == {}


def test_alias_that_is_moved_while_the_doctor_looks(
    doctor: Doctor, blobs: S3Blobs, store: PostgresStore, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object that is newer than the doctor's first look at the database is no problem."""
    look = S3Blobs.get

    def move_first(self: S3Blobs, key: str) -> Blob:
        monkeypatch.undo()
        with store.begin() as records:
            model = records.models.get("late")
            assert model is not None
            records.versions.point(model.id, "champion", 1)
        ModelPublisher(store, blobs).step()
        moved_before(engine, seconds=60)
        return look(self, key)

    monkeypatch.setattr(S3Blobs, "get", move_first)
    assert problems(doctor) == {}


def test_artifact_that_does_not_load(doctor: Doctor, blobs: S3Blobs, engine: sa.Engine) -> None:
    """An artifact that is what was registered but is no model, or another model, is found."""
    for data, said in [
        (json.dumps("no model").encode(), "does not load"),
        (encode(sample_model(name="other")), "is a model called other"),
    ]:
        blobs.put(KEY, data)
        with engine.begin() as connection:
            connection.execute(
                sa.text("UPDATE core.version SET sha256 = :sha256, size_bytes = :size"),
                {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
            )
        assert any(said in problem for problem in problems(doctor)["I4"])


def test_bounds(doctor: Doctor, engine: sa.Engine) -> None:
    """With bounds only the newest part is looked at, the rest is named, and a sound part passes."""
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM data_.t_1 WHERE ingest_seq = 3"))
        connection.execute(sa.text("UPDATE core.audit SET actor = 'somebody' WHERE id = 1"))
    checks = {check.id: check for check in doctor.examine(Limits(rows=5, versions=0, audit=1)).checks}
    assert {check.state for check in checks.values()} == {"passed"}
    assert checks["I1"].notes == ["looked at the newest 5 of 15 rows"]
    assert checks["I3"].notes == ["looked at the newest 0 of 1 versions"]
    assert checks["I9"].notes[0].startswith("looked at the newest 1 of ")
    assert {"I1", "I9"} <= problems(doctor).keys()


def test_question_that_takes_too_long(doctor: Doctor, engine: sa.Engine, blobs: S3Blobs) -> None:
    """A check whose statement is cancelled is unknown and says for how long it was waited."""
    with engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE core.audit RENAME TO audit_"))
        connection.execute(
            sa.text("CREATE VIEW core.audit AS SELECT a.* FROM core.audit_ a, pg_sleep(5) s WHERE s IS NOT NULL")
        )
    hasty = Doctor(Sources(PostgresDatabase(engine, statement_seconds=0.3), blobs), ManualClock())
    check = next(check for check in hasty.examine().checks if check.id == "I9")
    assert check.state == "unknown"
    assert "took longer than" in check.notes[0]
