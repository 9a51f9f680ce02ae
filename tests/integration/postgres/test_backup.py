"""Backup and restore on a real Postgres and an emulator's bucket."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from tests.integration.scheduler.loops import BY, ask_for, make_model
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.backup import Stack, restore, take, verify
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.migrate import head
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.alias_object import artifact_key, extract_key
from trainyard.backup_file import BackupError
from trainyard.clock import ManualClock
from trainyard.doctor import Doctor, Sources
from trainyard.errors import TransientError
from trainyard.model import encode
from trainyard.testing.models import sample_model
from trainyard_scheduler.use_cases.publish import ModelPublisher
from trainyard_scheduler.use_cases.versions import set_alias

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.config import Config
    from trainyard.contracts.blobs import BlobStore
    from trainyard.testing.postgres import PostgresServer

ARTIFACT = encode(sample_model(name="late"))
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()
KEY, ROWS = artifact_key("late", SHA256), extract_key("late", "e" * 64)
#: Whatever is in a table, in an order that does not depend on where it lies on disk.
_CONTENT = "SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY t::text), '') FROM {} t"


def _quiet(_step: str, _size: int) -> None:
    pass


@pytest.fixture
def source(engine: sa.Engine, database_url: str, aws_setup: Any, aws_config: Config, aws_clients: AwsClients,
           tmp_path: Path) -> Stack:  # fmt: skip
    """A stack with two batches, a version with its extract, a champion, and a key file."""
    warehouse, store = Warehouse(engine), PostgresStore(engine)
    make_model(store, None)
    warehouse.add(10)
    warehouse.add(5)
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    blobs.put(KEY, ARTIFACT)
    blobs.put(ROWS, b"rows")
    request = ask_for(store)
    warehouse.claim(request.id)
    version = warehouse.finish(request.id, sha256=SHA256, size=len(ARTIFACT), extract_key=ROWS)
    with store.begin() as records:
        set_alias(records, "late", "champion", version, expected_seq=None, reason="test", by=BY)
    engine.dispose()
    key_file = tmp_path / "admin.key"
    key_file.write_text("ty_key\n")
    return Stack(database_url, blobs, {"admin.key": key_file, "console.key": tmp_path / "none.key"})


@pytest.fixture
def empty(postgres: PostgresServer, aws_clients: AwsClients, aws_config: Config, tmp_path: Path) -> Iterator[Stack]:
    """A database without anything, and an empty bucket."""
    name = postgres.create_database()
    bucket = f"{aws_config.bucket}-restored"
    aws_clients.s3.create_bucket(Bucket=bucket)
    (tmp_path / "restored").mkdir()
    yield Stack(postgres.url(name), S3Blobs(aws_clients.s3, bucket), {"admin.key": tmp_path / "restored" / "admin.key"})
    postgres.drop_database(name)


def taken(stack: Stack) -> io.BytesIO:
    """Return a backup."""
    file = io.BytesIO()
    take(stack, file, _quiet)
    file.seek(0)
    return file


def content(url: str) -> dict[str, str]:
    """Return what is in every table of ours, with the sequences and the revision."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        names = connection.execute(
            sa.text(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(relname) FROM pg_stat_user_tables"
                " WHERE relname NOT IN ('artifact_copy', 'block') ORDER BY 1"
            )
        ).scalars()
        found = {name: connection.execute(sa.text(_CONTENT.format(name))).scalar_one() for name in names}
        found["sequences"] = connection.execute(
            sa.text(
                "SELECT string_agg(schemaname || '.' || sequencename || ' ' || coalesce(last_value, 0), ' '"
                " ORDER BY schemaname, sequencename) FROM pg_sequences"
            )
        ).scalar_one()
    engine.dispose()
    return found


def test_a_stack_moves(source: Stack, empty: Stack) -> None:
    """Database, objects and keys are the same in an empty place, and the doctor is content there."""
    file = taken(source)
    assert file.getvalue()[:10] == b"about.json"
    done = restore(empty, file, _quiet)
    assert (done.missing, done.keys, done.ran, done.again) == ({}, ("admin.key",), (), False)
    assert content(empty.database_url) == content(source.database_url)
    assert [empty.blobs.get(key).data for key in (KEY, ROWS)] == [ARTIFACT, b"rows"]
    assert empty.key_files["admin.key"].read_text() == "ty_key\n"
    assert empty.key_files["admin.key"].stat().st_mode & 0o777 == 0o600
    engine = make_engine(empty.database_url, service="test")
    ModelPublisher(PostgresStore(engine), empty.blobs).step()
    report = Doctor(Sources(PostgresDatabase(engine), empty.blobs), ManualClock()).examine()
    engine.dispose()
    assert report.healthy, report.as_dict()


def test_rows_that_flow_in(source: Stack, empty: Stack) -> None:
    """A backup under load is of one moment: ledger, counters and rows agree, and no batch is there in part."""
    engine = make_engine(source.database_url, service="test")
    stop, batches = threading.Event(), []

    def load() -> None:
        warehouse = Warehouse(engine, existing=True)
        while not stop.is_set():
            batches.append(warehouse.add(7))

    writer = threading.Thread(target=load)
    writer.start()
    try:
        while not batches:
            stop.wait(0.01)
        file = taken(source)
    finally:
        stop.set()
        writer.join(30)
        engine.dispose()
    restore(empty, file, _quiet)
    engine = make_engine(empty.database_url, service="test")
    ledger = PostgresDatabase(engine).ledger(None)
    with engine.begin() as connection:
        rows, last = connection.execute(
            sa.text("SELECT (SELECT count(*) FROM data_.t_1), (SELECT last_seq FROM core.dataset)")
        ).one()
    engine.dispose()
    assert (ledger.gaps, ledger.strays) == ([], [])
    assert rows == last
    assert 15 < rows <= batches[-1]


@pytest.mark.parametrize("place", [0.02, 0.3, 0.6, 0.999])
def test_a_damaged_file(source: Stack, empty: Stack, place: float) -> None:
    """One byte changed anywhere, or the file cut off there: refused, and nothing is touched."""
    whole = taken(source).getvalue().rstrip(b"\0")
    at = int(len(whole) * place)
    for damaged in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
        with pytest.raises(BackupError):
            restore(empty, io.BytesIO(damaged), _quiet)
    assert content(empty.database_url) == {"sequences": None}
    assert list(empty.blobs.list("")) == []
    assert not empty.key_files["admin.key"].exists()


def test_what_is_no_backup(empty: Stack) -> None:
    """Neither a text nor nothing at all is."""
    for data in (b"", b"hello" * 1000):
        with pytest.raises(BackupError, match="backup"):
            verify(io.BytesIO(data), _quiet)


def test_a_full_place(source: Stack, empty: Stack) -> None:
    """It is refused unless it may be replaced; then nothing of what was there is left."""
    file = taken(source)
    with pytest.raises(BackupError, match="not empty"):
        restore(source, file, _quiet)
    before = content(source.database_url)
    engine = make_engine(source.database_url, service="test")
    Warehouse(engine, existing=True).add(3)
    make_model(PostgresStore(engine), None, "more")
    engine.dispose()
    file.seek(0)
    restore(source, file, _quiet, replace=True)
    assert content(source.database_url) == before


def test_services_at_work(source: Stack) -> None:
    """They are named, and nothing is done under them."""
    file = taken(source)
    engine = make_engine(source.database_url, service="ingest")
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
        with pytest.raises(BackupError, match="trainyard-ingest"):
            restore(source, file, _quiet, replace=True)
    engine.dispose()


class _Dying:
    """Blobs whose process ends at the n-th write."""

    def __init__(self, blobs: BlobStore, after: int) -> None:
        self._blobs = blobs
        self._left = after

    def put(self, key: str, data: bytes | IO[bytes], **more: Any) -> str:
        """Write, or not."""
        if self._left == 0:
            raise TransientError("killed")
        self._left -= 1
        return self._blobs.put(key, data, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_end_on_the_way(source: Stack, empty: Stack, after: int) -> None:
    """The database is as it was, and the same command again ends the work; once more, it has nothing to do."""
    file = taken(source)
    with pytest.raises(TransientError):
        restore(replace(empty, blobs=_Dying(empty.blobs, after)), file, _quiet)  # type: ignore[arg-type]
    assert not content(empty.database_url).get("core.dataset")
    file.seek(0)
    assert not restore(empty, file, _quiet).again
    first = content(empty.database_url)
    assert first == content(source.database_url)
    file.seek(0)
    assert restore(empty, file, _quiet).again
    assert content(empty.database_url) == first


def test_objects_that_the_store_lost(source: Stack, empty: Stack) -> None:
    """They are named, in the backup and when it is restored; a damaged artifact is refused at once."""
    source.blobs.delete(ROWS)
    file = io.BytesIO()
    said = {ROWS: "the object store does not have it"}
    assert take(source, file, _quiet).missing == said
    file.seek(0)
    assert restore(empty, file, _quiet).missing == said
    source.blobs.put(KEY, b"other")
    with pytest.raises(BackupError, match="not the file that was registered"):
        taken(source)


def test_a_later_release(source: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that this release does not know is refused, and the release named."""
    file = taken(source)
    monkeypatch.setattr("trainyard.adapters.backup.restoring.revisions", lambda: ["0001"])
    with pytest.raises(BackupError, match=f"is at revision {head()}"):
        verify(file, _quiet)


def test_no_superuser_is_needed(source: Stack, empty: Stack, postgres: PostgresServer) -> None:
    """Whoever owns a database restores into it, whatever the owner of the other one was called, and backs it up."""
    name = make_url(empty.database_url).database
    postgres.execute("CREATE ROLE plain LOGIN")
    postgres.execute(f'ALTER DATABASE "{name}" OWNER TO plain')
    plain = make_url(empty.database_url).set(username="plain").render_as_string(hide_password=False)
    owned = replace(empty, database_url=plain)
    try:
        restore(owned, taken(source), _quiet)
        assert content(plain) == content(source.database_url)
        assert verify(taken(owned), _quiet)[0].revision == head()
    finally:
        postgres.drop_database(str(name))
        postgres.execute("DROP ROLE plain")


def test_nothing_to_back_up(empty: Stack) -> None:
    """A database without our schemas is no stack."""
    with pytest.raises(BackupError, match="nothing of Trainyard"):
        take(empty, io.BytesIO(), _quiet)


def test_a_database_that_lets_nobody_in(empty: Stack) -> None:
    """Its own words in one sentence, whether it is away or does not know who asks."""
    nowhere = make_url(empty.database_url).set(host="127.0.0.1", port=1, query={})
    nobody = make_url(empty.database_url).set(username="nobody-of-this-name")
    for url in (nowhere, nobody):
        stack = replace(empty, database_url=url.render_as_string(hide_password=False))
        with pytest.raises(TransientError, match=r"^no connection to the database: .+") as caught:
            take(stack, io.BytesIO(), _quiet)
        assert "\n" not in str(caught.value)
