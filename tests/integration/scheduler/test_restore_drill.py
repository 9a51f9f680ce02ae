"""The drill of restoring to a second: a base backup, the WAL since, a mistake, and the second before it.

RDS does the first two by itself; what is tried here is that the rest of the stack follows a database that went back.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.integration.scheduler.loops import BY, ask_for, make_model
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.alias_object import alias_key, artifact_key, decode_alias
from trainyard.clock import ManualClock
from trainyard.doctor import Doctor, Sources
from trainyard.model import encode
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.models import sample_model
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import wait_until
from trainyard_scheduler.use_cases.publish import ModelPublisher
from trainyard_scheduler.use_cases.versions import set_alias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARTIFACT = encode(sample_model(name="late"))
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A server whose WAL is archived."""
    archive = tmp_path / "archive"
    archive.mkdir()
    one = PostgresServer(tmp_path / "first", durable=True)
    one.start()
    one.execute("ALTER SYSTEM SET archive_mode = on")
    one.execute(f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'")
    one.stop()
    one.start()
    yield one
    one.stop()


def back_to(second: str, backup: Path, archive: Path, directory: Path) -> PostgresServer:
    """Start a server of its own that is what the first one was at ``second``."""
    shutil.copytree(backup, directory / "data")
    settings = {
        "archive_mode": "off",
        "restore_command": f"cp {archive}/%f %p",
        "recovery_target_time": second,
        "recovery_target_action": "promote",
    }
    with (directory / "data/postgresql.auto.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
    (directory / "data/recovery.signal").touch()
    (directory / "data").chmod(0o700)
    restored = PostgresServer(directory, durable=True)
    restored.start()
    return restored


def value(engine: sa.Engine, statement: str) -> str:
    with engine.connect() as connection:
        return str(connection.execute(sa.text(statement)).scalar_one())


def test_restored_to_the_second_before_a_mistake(server: PostgresServer, tmp_path: Path) -> None:
    """Rows, version and champion of that second are there, what came later is not, and the doctor finds nothing."""
    migrate(server.url())
    engine = make_engine(server.url(), service="test")
    store, warehouse, blobs = PostgresStore(engine), Warehouse(engine), MemoryBlobs()
    make_model(store, None)
    warehouse.add(10)
    backup = tmp_path / "backup"
    subprocess.run(
        server._command("pg_basebackup", "-D", str(backup), "-d", server.dsn(), "--checkpoint=fast"),
        check=True,
        timeout=60,
    )
    warehouse.add(5)
    request = ask_for(store)
    warehouse.claim(request.id)
    blobs.put(artifact_key("late", SHA256), ARTIFACT)
    version = warehouse.finish(request.id, sha256=SHA256, size=len(ARTIFACT))
    with store.begin() as records:
        set_alias(records, "late", "champion", version, expected_seq=None, reason="test", by=BY)
    good = value(engine, "SELECT clock_timestamp()")
    warehouse.add(7)
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM core.alias"))
        connection.execute(sa.text("SELECT pg_switch_wal()"))
    ModelPublisher(store, blobs).step()  # S3 follows the mistake
    last = value(engine, "SELECT pg_walfile_name(pg_switch_wal())")
    archive = tmp_path / "archive"
    wait_until((archive / last).exists, f"{last} in the archive", seconds=30)
    engine.dispose()
    server.kill()

    restored = back_to(good, backup, archive, tmp_path / "second")
    engine = make_engine(restored.url(), service="test")
    try:
        wait_until(lambda: value(engine, "SELECT pg_is_in_recovery()") == "False", "the end of recovery", seconds=30)
        assert value(engine, "SELECT last_seq FROM core.dataset") == "15"
        ModelPublisher(PostgresStore(engine), blobs).step()
        with engine.begin() as connection:  # the doctor gives a fresh alias some seconds
            connection.execute(sa.text("UPDATE core.alias SET updated_at = updated_at - interval '60 s'"))
        report = Doctor(Sources(PostgresDatabase(engine), blobs), ManualClock()).examine()

        assert [check.problems for check in report.checks if not check.passed] == []
        assert decode_alias(blobs.get(alias_key("late", "champion")).data).version == version
    finally:
        engine.dispose()
        restored.stop()
