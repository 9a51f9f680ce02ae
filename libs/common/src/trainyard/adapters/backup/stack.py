"""What a backup is taken of, and restored into."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from trainyard.config import Config
    from trainyard.contracts.blobs import BlobStore

    #: Is told how many bytes of which step were done.
    Progress = Callable[[str, int], None]

#: Everything of Trainyard's in a database, and nothing of anybody else's.
SCHEMAS = ("core", "data_", "data", "optuna")
APPLICATION = "trainyard-backup"


@dataclass(frozen=True)
class Stack:
    """A database, a bucket, and the files of the first keys by their name in the backup; files may not be there."""

    database_url: str
    blobs: BlobStore
    key_files: Mapping[str, Path] = field(default_factory=dict)


@contextmanager
def opened(config: Config, *, access_key: str | None = None, secret_key: str | None = None) -> Iterator[Stack]:
    """Open the stack that the settings name; credentials are looked for as boto3 does, unless they are given."""
    clients = AwsClients(config, access_key=access_key, secret_key=secret_key)
    named = {} if config.admin_key_file is None else {"admin.key": config.admin_key_file}
    with closing(clients):
        blobs = S3Blobs(clients.s3, config.bucket, on_missing=AwsSetup(clients, config).ensure)
        yield Stack(config.require_database(), blobs, named)


@contextmanager
def connected(database_url: str) -> Iterator[sa.Connection]:
    """Open a connection of one's own, without the limits that a service's sessions have.

    Raises:
        TransientError: the database does not answer, or does not let us in.
    """
    engine = sa.create_engine(database_url, poolclass=sa.NullPool, connect_args={"application_name": APPLICATION})
    try:
        try:
            connection = engine.connect()
        except sa.exc.OperationalError as e:
            raise TransientError(f"no connection to the database: {' '.join(str(e.orig).split())}") from e
        with connection:
            yield connection
    finally:
        engine.dispose()
