"""What chaos happens on: a real Postgres, a real AWS emulator, real services; and a yard of its own for each scenario.

A *yard* is one database, one AWS account (the emulator keeps accounts apart by the access key) and the processes that
work there, each under a keeper that starts it again whenever it ends, as a supervisor does.
"""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import threading
import uuid
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from nursery import Nursery, share_models

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.ensure import AwsSetup, dead_letter_name, queue_names
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine, transaction
from trainyard.adapters.postgres.migrate import migrate
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.clock import SystemClock
from trainyard.config import load
from trainyard.contracts.prediction_log import Prediction
from trainyard.contracts.warehouse import Intake, Rows
from trainyard.doctor import EVERYTHING, Doctor, Sources
from trainyard.drift import profile_of
from trainyard.errors import TransientError
from trainyard.messages import FeedbackGiven
from trainyard.schema import Column, Schema
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.postgres import PostgresServer
from trainyard.testing.processes import free_port
from trainyard_ingest.domain.pull_draft import read_draft
from trainyard_scheduler.use_cases.answers import By
from trainyard_scheduler.use_cases.keys import make_key
from trainyard_scheduler.use_cases.models import put_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from nursery import Process

DATASET, MODEL = "shoppers", "buyers"
SCHEMA = Schema(
    [
        Column("id", "int", role="key", nullable=False),
        Column("age", "int"),
        Column("bought", "bool", role="label"),
    ]
)
#: Rows that a policy waits for.
ENOUGH_ROWS = 100
POLICY = {"min_new_rows": ENOUGH_ROWS, "budget_seconds": 5, "kinds": ["linear"], "gate": {"min_rows": 10}}
SCHEDULER, TRAINER, INGEST, HOST, POLL, PREDICTOR = (
    "trainyard_scheduler.main",
    "trainyard_trainer.main",
    "trainyard_ingest.main",
    "trainyard_ec2host.__main__",
    "trainyard_predictor.poll",
    "predictor_service",
)
#: A training child that does not train (50 ms); all else is the product.
CHILD = "python -m trainyard.testing.training_child"
BY = By("chaos", "chaos")
_PAUSE_SECONDS, _RESUME_SECONDS = 0.1, 30.0
#: How late an answer may be seen, as a share of the time that it took.
_LATE = 0.01
_accounts = itertools.count(100_000_000_001)
clock = SystemClock()
#: Set when the run is interrupted: whatever waits gives up, so that everything can be taken down at once.
interrupted = threading.Event()


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: through every ``finally``; nothing outlives it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def wait_for(condition: Callable[[], Any], what: str | Callable[[], str], *, seconds: float) -> Any:
    """Return the first truthy value of ``condition()``; an outage while it is asked is no answer.

    It is asked ten times a second at first and less often the longer it takes: an answer is seen 1 % late at most, and
    no more than a third of the time is spent asking.

    Raises:
        TimeoutError: there was none within ``seconds``, or the run is interrupted; says ``what``.
    """
    begun = clock.monotonic()
    while True:
        asked = clock.monotonic()
        try:
            if value := condition():
                return value
        except TransientError:
            pass
        if interrupted.is_set():
            raise TimeoutError("the run was interrupted")
        now = clock.monotonic()
        if now > begun + seconds:
            raise TimeoutError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}")
        clock.sleep(max(_PAUSE_SECONDS, _LATE * (now - begun), 2 * (now - asked)))


class Keeper:
    """Keeps one process running: started again 0.1 s after every end, until ``release``."""

    def __init__(self, nursery: Nursery, module: str, environment: Mapping[str, str], log: Path) -> None:
        self.module = module
        self.log = log
        self.codes: list[int] = []
        self._nursery = nursery
        self._environment = dict(environment)
        self._changed = threading.Condition()
        self._wanted = True
        self._paused = False
        self.process: Process = nursery.start(module, self._environment, log)
        self._thread = threading.Thread(target=self._keep, name=f"keeper {module}", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """kill -9 of the process that runs now."""
        self.process.send(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send any signal to the process that runs now."""
        self.process.send(number)

    def hold(self) -> None:
        """Start nothing again until :meth:`resume`."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Keep it again; returns when it runs."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: not self.process.ended.is_set(), _RESUME_SECONDS):
                raise TimeoutError(f"{self.module} was not started again")

    def wait_end(self, count: int, *, seconds: float) -> int:
        """Return the exit code of the ``count``-th end (from 1).

        Raises:
            TimeoutError: there was none within ``seconds``.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.codes) >= count, seconds):
                raise TimeoutError(f"{self.module} did not end within {seconds:g} s; log: {self.log}")
            return self.codes[count - 1]

    def release(self) -> None:
        """Stop keeping and kill what runs."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()
        self.process.send(signal.SIGCONT)
        self.kill()
        self._thread.join(20)

    def _keep(self) -> None:
        while True:
            self.process.ended.wait()
            with self._changed:
                self.codes.append(self.process.code if self.process.code is not None else 1)
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._wanted, _PAUSE_SECONDS)
                self._changed.wait_for(lambda: not (self._wanted and self._paused))
                if not self._wanted:
                    return
                self.process = self._nursery.start(self.module, self._environment, self.log)
                self._changed.notify_all()


class Ground:
    """Postgres, the emulator and the nursery; ``with Ground(directory) as ground``.

    ``durable``: what was committed outlives a kill of Postgres, for scenarios that kill it.
    """

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.directory = directory
        self.postgres = PostgresServer(directory / "postgres", durable=durable)
        self.aws = AwsEmulator(directory / "aws")
        self._numbers = itertools.count(1)
        self._making = threading.Lock()

    def __enter__(self) -> Ground:
        self.directory.mkdir(parents=True, exist_ok=True)
        share_models()
        with ExitStack() as stack:  # what was started ends with whatever comes after it and fails
            stack.callback(self.postgres.kill)
            self.postgres.start()
            stack.callback(self.aws.kill)
            self.aws.start()
            self.nursery = Nursery(self.directory / "nursery.log")
            stack.callback(self.nursery.close)
            self._template = self._make_template()
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _make_template(self) -> str:
        """Make the database that every yard's is a copy of: migrated, with one dataset."""
        name = self.postgres.create_database()
        migrate(self.postgres.url(name))
        engine = make_engine(self.postgres.url(name), service="chaos")
        PostgresWarehouse(engine, clock).create(DATASET, SCHEMA, actor="chaos")
        engine.dispose()
        return name

    @contextmanager
    def yard(self, *, aws_endpoint: str | None = None, **settings: str) -> Iterator[Yard]:
        """Yield a new yard; ``settings`` are variables of every process in it; all is killed and dropped at the end.

        A failure in the block carries the requests and the end of every log with it.
        """
        with self._making:  # a template can be copied by one at a time
            database = self.postgres.create_database(template=self._template)
        directory = self.directory / f"yard-{next(self._numbers)}"
        directory.mkdir()
        environment = {
            **self.aws.environment,
            **({"AWS_ENDPOINT_URL": aws_endpoint} if aws_endpoint else {}),
            "PATH": "/usr/bin:/bin",
            "AWS_ACCESS_KEY_ID": str(next(_accounts)),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",  # nobody is there: this is no instance
            "TRAINYARD_ENV": "test",
            "TRAINYARD_DATABASE_URL": self.postgres.url(database),
            "TRAINYARD_BUCKET": f"yard-{uuid.uuid4()}",
            "TRAINYARD_LEASE_SECONDS": "3",
            "TRAINYARD_RESEND_SECONDS": "4",
            "TRAINYARD_MESSAGE_SECONDS": "8",
            "TRAINYARD_POLICY_TICK_SECONDS": "1",
            "TRAINYARD_LANDING_SWEEP_SECONDS": "2",
            "TRAINYARD_IDLE_SECONDS": "3600",
            "TRAINYARD_FLEET_MAX": "0",
            "TRAINYARD_TRAINING_CHILD": CHILD,
            "TRAINYARD_DATA_DIR": str(directory / "data"),
            "TRAINYARD_PULL_DIR": str(directory),
            "TRAINYARD_IMDS_PORT": str(free_port()),
            "TRAINYARD_PREDICTOR_PORT": str(free_port()),
            "TRAINYARD_SPOOL_DIR": str(directory / "spool"),
            **settings,
        }
        yard = Yard(self.nursery, environment, directory, self.aws.endpoint)
        try:
            yield yard
        except (AssertionError, TimeoutError) as e:
            e.add_note(f"{yard.figures()}\n{yard.logs()}")
            raise
        finally:
            yard.close()
            self.postgres.drop_database(database)


class Yard:
    """One database, one account, one bucket, and what runs there."""

    def __init__(self, nursery: Nursery, environment: dict[str, str], directory: Path, aws_endpoint: str) -> None:
        self.environment = environment
        self.directory = directory
        self._nursery = nursery
        self._numbers = itertools.count(1)
        self._next_row = 1
        self._keepers: list[Keeper] = []
        # The test itself looks at the truth, past every shim.
        self.config = load({**environment, "AWS_ENDPOINT_URL": aws_endpoint})
        account = environment["AWS_ACCESS_KEY_ID"]
        self.clients = AwsClients(self.config, access_key=account, secret_key="x")
        self.engine = make_engine(self.config.require_database(), service="chaos", pool_size=4)
        self.store = PostgresStore(self.engine)
        self.warehouse = PostgresWarehouse(self.engine, clock)
        self.blobs = S3Blobs(self.clients.s3, self.config.bucket)
        self.queue = SqsQueue(self.clients.sqs, self.config.queue_training)

    # --- processes ---

    def setup_aws(self) -> None:
        """Make bucket, queues and template now, where no scheduler has done it yet."""
        AwsSetup(self.clients, self.config).ensure()

    def keep(self, module: str, **variables: str) -> Keeper:
        """Start a service with further ``variables`` and keep it running."""
        name = f"{module.split('.', maxsplit=1)[0].removeprefix('trainyard_')}-{next(self._numbers)}"
        environment = {
            **self.environment,
            "TRAINYARD_WORK_DIR": str(self.directory / f"work-{name}"),
            **variables,
        }
        keeper = Keeper(self._nursery, module, environment, self.directory / f"{name}.log")
        self._keepers.append(keeper)
        return keeper

    def _has(self, module: str) -> bool:
        return any(keeper.module == module for keeper in self._keepers)

    def close(self) -> None:
        """Kill every process of the yard and let go of everything."""
        for keeper in self._keepers:
            keeper.release()
        self.clients.close()
        self.engine.dispose()

    def logs(self, most: int = 3_000) -> str:
        """Return the end of every log."""
        found = [f"--- {path.name}\n{path.read_text()[-most:]}" for path in sorted(self.directory.glob("*.log"))]
        return "\n".join(found)

    # --- work ---

    def make_model(self, name: str = MODEL, **policy: Any) -> None:
        """Create a model of the dataset."""
        with self.store.begin() as records:
            body = {"dataset": DATASET, "label": "bought", "policy": {**POLICY, **policy}}
            put_model(records, name, body, BY)

    def add_rows(self, count: int = ENOUGH_ROWS) -> None:
        """Commit a batch as ingest does, its message included."""
        first, self._next_row = self._next_row, self._next_row + count
        cells = "".join(f"{first + i},{18 + i % 60},{'t' if i % 3 else 'f'}\n" for i in range(count)).encode()
        fingerprint = f"rows:{first}"
        intake = Intake("http", "chaos", fingerprint, fingerprint)
        dataset = self.warehouse.dataset(DATASET)
        self.warehouse.load(dataset, Rows(("id", "age", "bought"), iter([cells])), lambda: intake)

    def offer_rows(self, count: int = ENOUGH_ROWS) -> None:
        """Let another database have rows, name it as a source, and ask for them."""
        first, self._next_row = self._next_row, self._next_row + count
        with closing(sqlite3.connect(self.directory / "shop.db")) as shop, shop:
            shop.execute("CREATE TABLE shoppers (id integer PRIMARY KEY, age integer, bought boolean)")
            rows = [(first + i, 18 + i % 60, i % 3 > 0) for i in range(count)]
            shop.executemany("INSERT INTO shoppers VALUES (?, ?, ?)", rows)
        body = {"kind": "sql", "database": "sqlite:///shop.db", "table": "shoppers", "cursor": "id", "page_rows": 25}
        sources, dataset = PostgresSources(self.engine), self.warehouse.dataset(DATASET)
        sources.put(dataset, "shop", read_draft(body, clock.now()), actor="chaos")
        sources.ask(dataset, "shop", actor="chaos", once=None)

    def end_pull_leases(self) -> None:
        """Let the lease of a worker that may be dead run out: it lasts 30 s."""
        with transaction(self.engine) as connection:
            connection.execute(sa.text("UPDATE core.source SET lease_until = now() - interval '1 s'"))

    def land_rows(self, count: int = ENOUGH_ROWS) -> None:
        """Drop a CSV file into ``landing/``, as a stranger does."""
        first, self._next_row = self._next_row, self._next_row + count
        lines = ["id,age,bought", *(f"{first + i},{18 + i % 60},{str(i % 3 > 0).lower()}" for i in range(count))]
        self.blobs.put(f"landing/{DATASET}/{first}.csv", "\n".join(lines).encode())

    def predict(self, count: int, *, age: int) -> None:
        """Log that version 1 answered ``count`` rows of that age."""
        PostgresPredictionLog(self.engine).add(
            [
                Prediction(
                    id=f"p{number}",
                    model=MODEL,
                    version=1,
                    key_id=None,
                    trace_id=None,
                    inputs={"age": age + number % 7},
                    output={"prediction": 0.5},
                    latency_us=1,
                    predicted_at=clock.now(),
                )
                for number in range(count)
            ]
        )

    def give_labels(self, count: int) -> None:
        """Send labels of the first predictions as an event."""
        items = [{"prediction_id": f"p{number}", "label": True} for number in range(count)]
        SqsQueue(self.clients.sqs, self.config.queue_predictions).send([FeedbackGiven(items).outgoing()])

    def make_key(self, *scopes: str) -> str:
        """Make an API key; the scheduler publishes it."""
        with self.store.begin() as records:
            return make_key(records, "chaos", list(scopes), None, BY)[1]

    def profile_version(self) -> None:
        """Give version 1 the profile of the rows it learnt from, which the child that does not train left out."""
        ages = np.array([18.0 + number % 60 for number in range(ENOUGH_ROWS)])
        profile = json.dumps(profile_of([SCHEMA.column("age")], {"age": ages}))
        with transaction(self.engine) as connection:
            connection.execute(sa.text("UPDATE core.version SET profile = CAST(:p AS jsonb)"), {"p": profile})

    # --- the truth ---

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with transaction(self.engine) as connection:
            return [dict(row) for row in connection.execute(sa.text(statement), values).mappings()]

    def one(self, statement: str, **values: Any) -> Any:
        """Return the one value of a query."""
        return next(iter(self.rows(statement, **values)[0].values()))

    def requests(self) -> list[dict[str, Any]]:
        """Return all requests, oldest first."""
        return self.rows(
            "SELECT id::text, state, attempt, fence, reason, error_class, error FROM core.training_request"
            " ORDER BY created_at"
        )

    def depths(self) -> dict[str, int]:
        """Return how many messages each queue holds, visible or not, dead letters too; those with none are left out.

        Of the queues that S3 writes to only what is visible counts, and only where their reader runs: S3 announces
        each bucket's first use to them, and what a killed reader had taken stays hidden while its sweep does the work.
        """
        readers = {self.config.queue_objects: INGEST, self.config.queue_batch: POLL}
        found = {}
        for name in queue_names(self.config):
            for queue in (name, dead_letter_name(name)):
                depth = SqsQueue(self.clients.sqs, queue).depth()
                count = depth.visible * self._has(readers[name]) if name in readers else depth.total
                if count:
                    found[queue] = count
        return found

    def artifacts(self) -> list[str]:
        """Return the keys of all artifacts, referenced or not."""
        pages = self.clients.s3.get_paginator("list_objects_v2").paginate(Bucket=self.config.bucket, Prefix="models/")
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return [key for key in keys if key.endswith(".msgpack") and len(key.rsplit("/", 1)[-1]) == 64 + len(".msgpack")]

    def instances(self) -> list[str]:
        """Return the instances that are not over."""
        found = self.clients.ec2.describe_instances()["Reservations"]
        over = {"terminated", "shutting-down"}
        return [i["InstanceId"] for r in found for i in r["Instances"] if i["State"]["Name"] not in over]

    def doctor_says(self) -> list[str]:
        """Return what the doctor finds wrong, or cannot say, one sentence each."""
        short = ("training", "arrived", "objects", "predictions", "batch")
        names = dict(zip(short, queue_names(self.config), strict=True))
        for queue, reader in (("objects", INGEST), ("batch", POLL)):
            if not self._has(reader):
                del names[queue]
        sqs = partial(SqsQueue, self.clients.sqs)
        queues = {queue: (sqs(name), sqs(dead_letter_name(name))) for queue, name in names.items()}
        fleet = Ec2Fleet(self.clients.ec2, self.config.env)
        sources = Sources(PostgresDatabase(self.engine), self.blobs, queues, fleet)
        report = Doctor(sources, clock).examine(EVERYTHING)
        bad = [check for check in report.checks if not check.passed]
        return [f"{check.id} {check.state}: {said}" for check in bad for said in (check.problems or check.notes)]

    def settled(self) -> list[str]:
        """Return what keeps the yard from rest: empty when nothing waits, runs or lies about.

        The queues are asked only when the database is at rest, and the doctor, whose look is a long one, after them.
        """
        problems = [
            f"request {r['id']} is {r['state']}" for r in self.requests() if r["state"] in ("queued", "running")
        ]
        unsent = self.one("SELECT count(*) FROM core.outbox WHERE sent_at IS NULL")
        if unsent:
            problems.append(f"{unsent} message(s) wait in the outbox")
        runs = self.rows("SELECT id::text FROM core.run WHERE state = 'running'")
        problems += [f"run {run['id']} is running" for run in runs]
        problems += [f"left behind: {path}" for path in self.directory.glob("work-*/run-*")]
        problems = problems or [f"{count} message(s) in {queue}" for queue, count in self.depths().items()]
        return problems or self.doctor_says()

    def figures(self) -> str:
        """Return the requests as text, for a failure's message."""
        return json.dumps(self.requests(), default=str)
