"""Keeping the house: the fakes, Postgres and S3 behave alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from tests.contract.test_scheduling import MemoryWorld, PostgresWorld
from tests.integration.scheduler.warehouse import Warehouse

from trainyard.adapters.aws.uploads import S3Uploads
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.contracts.upkeep import Upload
from trainyard.testing.contracts import UpkeepContract
from trainyard.testing.contracts.scheduling import add_model
from trainyard.testing.fakes.upkeep import MemoryUploads

if TYPE_CHECKING:
    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config


class TestMemory(UpkeepContract):
    """The fake."""

    @pytest.fixture
    def world(self) -> MemoryWorld:
        """An empty one."""
        return MemoryWorld()


class TestPostgres(UpkeepContract):
    """The adapter."""

    @pytest.fixture
    def world(self, engine: sa.Engine) -> PostgresWorld:
        """An empty database."""
        return PostgresWorld(PostgresStore(engine), Warehouse(engine))

    def test_nothing_opens_while_it_is_still(self, world: PostgresWorld, database_url: str) -> None:
        """A request of the model waits until the transaction that found it still has ended."""
        engine = make_engine(database_url, service="other")
        with world.store.begin() as records:
            model = add_model(records)
        insert = sa.text(
            "INSERT INTO core.training_request (id, model_id, reason, upto_seq, new_rows, settings, requested_by)"
            " VALUES (gen_random_uuid(), :model, 'x', 1, 1, '{}', 'x')"
        )
        with world.store.begin() as records:
            assert records.upkeep.still("late")
            with engine.connect() as other:
                other.execute(sa.text("SET LOCAL lock_timeout = '100ms'"))
                with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
                    other.execute(insert, {"model": model})
        with engine.begin() as other:
            other.execute(insert, {"model": model})
        engine.dispose()


class TestS3Uploads:
    """Unfinished uploads on the emulator, and the bucket's own rule for them."""

    def test_unfinished_uploads(self, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup) -> None:
        """A begun upload is listed with its time until it is aborted; aborting twice is no error."""
        aws_setup.ensure()
        uploads = S3Uploads(aws_clients.s3, aws_config.bucket)
        assert list(uploads.unfinished()) == []
        begun = aws_clients.s3.create_multipart_upload(Bucket=aws_config.bucket, Key="landing/big.csv")
        (upload,) = uploads.unfinished()
        assert (upload.key, upload.upload_id) == ("landing/big.csv", begun["UploadId"])
        assert abs(datetime.now(UTC) - upload.begun_at) < timedelta(minutes=5)
        uploads.abort(upload)
        uploads.abort(upload)
        assert list(uploads.unfinished()) == []

    def test_the_bucket_aborts_them_itself(
        self, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup
    ) -> None:
        """The rule is made once, beside the rules of others."""
        aws_setup.ensure()
        aws_setup.ensure()
        rules = aws_clients.s3.get_bucket_lifecycle_configuration(Bucket=aws_config.bucket)["Rules"]
        assert [rule["AbortIncompleteMultipartUpload"] for rule in rules] == [{"DaysAfterInitiation": 1}]


def test_the_fakes_uploads() -> None:
    """The fake forgets what is aborted."""
    uploads = MemoryUploads()
    upload = Upload("key", "1", datetime(2026, 1, 1, tzinfo=UTC))
    uploads.begun.append(upload)
    assert list(uploads.unfinished()) == [upload]
    uploads.abort(upload)
    assert list(uploads.unfinished()) == []
