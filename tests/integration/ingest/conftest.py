"""The ingest service over a real Postgres, asked through Flask's test client."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from tests.integration.ingest.processes import Place

from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.adapters.postgres.loading import PostgresLoadingBoard, make_board_engine
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.adapters.web import make_app
from trainyard.auth import KEYS_OBJECT, KeyRing, LiveKey, encode_keys, make_key, parse_key
from trainyard.clock import SystemClock
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.fakes import MemoryBlobs
from trainyard.testing.processes import end
from trainyard.testing.pytest_plugin import isolated_environment
from trainyard_ingest import web
from trainyard_ingest.use_cases.datasets import KeepDatasets
from trainyard_ingest.use_cases.feedback import TakeFeedback
from trainyard_ingest.use_cases.intake import RowIntake

COLUMNS = [
    {"name": "id", "type": "int", "role": "key", "nullable": False},
    {"name": "age", "type": "int"},
    {"name": "income", "type": "float"},
    {"name": "city", "type": "category"},
    {"name": "day", "type": "date"},
    {"name": "at", "type": "timestamp"},
    {"name": "bought", "type": "bool", "role": "label"},
]


class Service:
    """The service in its role, its database (``engine``: as the owner) and keys with one scope each."""

    def __init__(self, url):
        self.engine = make_engine(url, service="test")
        self.own_engine = make_engine(url, service="ingest", role="trainyard_ingest")
        warehouse = PostgresWarehouse(self.own_engine, SystemClock())
        log = PostgresPredictionLog(self.own_engine)
        self.warehouse, self.log = warehouse, log
        self.board = PostgresLoadingBoard(
            make_board_engine(url, service="ingest", role="trainyard_ingest"), SystemClock()
        )
        blobs = MemoryBlobs()
        self.keys = {scope: make_key() for scope in ("admin", "operate", "ingest", "predict", "feedback", "read")}
        live = []
        for scope, key in self.keys.items():
            parsed = parse_key(key)
            live.append(LiveKey(parsed.key_id, parsed.secret_sha256, (scope,), None))
        blobs.put(KEYS_OBJECT, encode_keys(live))
        ring = KeyRing(blobs, SystemClock())
        ring.refresh()
        keeping = PostgresKeeping(self.own_engine)
        grow = KeepDatasets(warehouse, keeping).with_new_columns
        app = make_app(
            "ingest",
            web.routes(
                warehouse=warehouse,
                keeping=keeping,
                log=log,
                intake=RowIntake(warehouse, SystemClock(), board=self.board, grow=grow),
                feedback=TakeFeedback(log),
                board=self.board,
            ),
            ring=ring,
            clock=SystemClock(),
            ready=dict,
            hosts=["localhost"],
            version="1",
        )
        self.app = app

    def call(self, method, path, body=None, *, scope="admin", **headers):
        """Send a request; ``headers`` by their names with _ for -. Return the response."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if scope is not None:
            sent["Authorization"] = f"Bearer {self.keys[scope]}"
        announced = {"CONTENT_LENGTH": sent.pop("Content-Length")} if "Content-Length" in sent else {}
        if isinstance(body, dict | list):
            return self.app.test_client().open(path, method=method, json=body, headers=sent)
        return self.app.test_client().open(path, method=method, data=body, headers=sent, environ_overrides=announced)

    def close(self):
        """Let go of the database."""
        self.own_engine.dispose()
        self.engine.dispose()

    def scalar(self, query, **values):
        """Return the single value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query), values).scalar_one()

    def execute(self, statement, **values):
        """Run one statement."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def add_model(self, name, dataset):
        """Write a model's record as the scheduler does."""
        self.execute(
            "INSERT INTO core.model (name, dataset_id, label, task, policy) SELECT :name, id, 'x', 'auto', '{}'"
            " FROM core.dataset WHERE name = :dataset",
            name=name,
            dataset=dataset,
        )


def _started(database_url):
    """Return a service with an empty dataset ``shop`` and a model ``buys`` that reads it."""
    service = Service(database_url)
    assert service.call("PUT", "/v1/datasets/shop", {"columns": COLUMNS}).status_code == 201
    service.add_model("buys", "shop")
    return service


@pytest.fixture
def service(database_url):
    """A service of this test's own, with an empty dataset ``shop`` and a model ``buys`` that reads it."""
    service = _started(database_url)
    yield service
    service.close()


@pytest.fixture(scope="module")
def refusing(postgres, migrated_template):
    """The same, for a module whose tests all end in refusals and leave nothing behind."""
    name = postgres.create_database(template=migrated_template)
    service = _started(postgres.url(name))
    yield service
    service.close()
    postgres.drop_database(name)


@contextmanager
def _placed(emulator, aws_environment, database_url, directory):
    """Make a place; end its processes afterwards."""
    place = Place(emulator, aws_environment, database_url, directory)
    place.setup.ensure()
    yield place
    for worker in place.workers:
        worker.kill()
    for process in place.processes:
        end(process)
    place.engine.dispose()
    place.clients.close()


@pytest.fixture
def place(tmp_path, database_url, aws, aws_environment):
    """A place whose processes are ended after the test, with a bucket and queues of its own."""
    with _placed(aws, aws_environment, database_url, tmp_path) as place:
        yield place


@pytest.fixture
def place_apart(tmp_path, database_url):
    """The same for a test that kills its emulator: it has one of its own."""
    emulator = AwsEmulator(tmp_path / "aws")
    emulator.start()
    with _placed(emulator, isolated_environment(emulator), database_url, tmp_path) as place:
        yield place
    emulator.kill()
