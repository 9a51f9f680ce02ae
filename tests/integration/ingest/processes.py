"""The processes of ingest, as they really run: a place for them, and gunicorn with a key."""

from __future__ import annotations

import subprocess
import sys

import requests
import sqlalchemy as sa

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.auth import KEYS_OBJECT, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.schema import Column, Schema
from trainyard.testing.processes import GUNICORN, answers, free_port, wait_until


class Place:
    """An emulator that may be killed, a database, and the processes that were started on them."""

    def __init__(self, emulator, aws_environment, database_url, directory):
        self.emulator = emulator
        self.directory = directory
        self.environment = {
            **aws_environment,
            "TRAINYARD_DATABASE_URL": database_url,
            "TRAINYARD_LANDING_SWEEP_SECONDS": "3600",
            "PATH": "/usr/bin:/bin",
            "HOME": str(directory),
        }
        self.config = load(self.environment)
        access = {"access_key": emulator.environment["AWS_ACCESS_KEY_ID"], "secret_key": "test"}
        self.clients = AwsClients(self.config, **access)
        self.setup = AwsSetup(self.clients, self.config)
        self.blobs = S3Blobs(self.clients.s3, self.config.bucket)
        self.engine = make_engine(database_url, service="test")
        self.warehouse = PostgresWarehouse(self.engine, SystemClock())
        self.warehouse.create("shop", Schema([Column("id", "int"), Column("note", "text")]), actor="k")
        self.processes = []
        self.workers = []

    def start(self, *command, **environment):
        """Start a Python module as a process."""
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command], env={**self.environment, **environment}, stderr=log
            )
        self.processes.append(process)
        return process

    def worker(self, **environment):
        """Start a worker; it is built to be killed at any time, so nobody waits for it at the end."""
        process = self.start("trainyard_ingest.main", **environment)
        self.workers.append(process)
        return process

    def batches(self):
        return self.warehouse.batches(self.warehouse.dataset("shop"), limit=10)

    def stored(self):
        """Return rows of the table, batches in the ledger and messages in the outbox."""
        queries = (
            "SELECT count(*) FROM data.shop",
            "SELECT count(*) FROM core.batch",
            "SELECT count(*) FROM core.outbox",
        )
        with self.engine.connect() as connection:
            return tuple(connection.execute(sa.text(query)).scalar_one() for query in queries)


class Web:
    """gunicorn with the service, and a key for it."""

    def __init__(self, place, **environment):
        key = make_key()
        parsed = parse_key(key)
        place.blobs.put(
            KEYS_OBJECT, encode_keys([LiveKey(parsed.key_id, parsed.secret_sha256, ("ingest", "feedback"), None)])
        )
        self.port = free_port()
        place.start(*GUNICORN, "--bind", f"127.0.0.1:{self.port}", "trainyard_ingest.wsgi:app()", **environment)
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "text/csv"}
        self.wait()

    def wait(self):
        """Return when it is ready."""
        wait_until(lambda: answers(f"{self.url}/readyz"), "the service")

    def post(self, body, **headers):
        """Send rows to the dataset ``shop``."""
        url = f"{self.url}/v1/datasets/shop/rows"
        return requests.post(url, data=body, headers={**self.headers, **headers}, timeout=60)
