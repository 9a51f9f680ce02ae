"""The composition root: what the web application and the worker are made of."""

from __future__ import annotations

import ctypes
import threading
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

import certifi
import pyarrow as pa
from gunicorn.http.errors import NoMoreData, ParseException

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine, reachable
from trainyard.adapters.postgres.keeping import PostgresKeeping
from trainyard.adapters.postgres.loading import PostgresLoadingBoard, make_board_engine
from trainyard.adapters.postgres.prediction_log import PostgresPredictionLog
from trainyard.adapters.postgres.sources import PostgresSources
from trainyard.adapters.postgres.warehouse import PostgresWarehouse
from trainyard.adapters.web import make_app
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard.loops import Loop
from trainyard.telemetry.numbers import shared
from trainyard.telemetry.readings import Reading, Readings
from trainyard_ingest import web
from trainyard_ingest.edges import Consumer, Pulling, Sweeping, landing_handler, predictions_handler
from trainyard_ingest.pulling.addresses import AddressRule
from trainyard_ingest.pulling.engines import Access
from trainyard_ingest.pulling.fetching import Limits, UrlFetcher
from trainyard_ingest.pulling.tables import SqlTables
from trainyard_ingest.stored_predictions import with_stored
from trainyard_ingest.use_cases.datasets import KeepDatasets
from trainyard_ingest.use_cases.feedback import TakeFeedback
from trainyard_ingest.use_cases.intake import RowIntake
from trainyard_ingest.use_cases.landing import Landing
from trainyard_ingest.use_cases.pulls import Puller
from trainyard_ingest.use_cases.taken import taken
from trainyard_ingest.web import body, sources

if TYPE_CHECKING:
    from pathlib import Path

    from flask import Flask

    from trainyard.clock import Clock
    from trainyard.config import Config

_KEYS_EVERY_SECONDS = 2.0
_REPORTS_EVERY_SECONDS = 2.0
_RETENTION_EVERY_SECONDS = 60.0
#: mallopt(3): in how many heaps threads may have their memory.
_M_ARENA_MAX = -8
#: A landing file may be large. When its taker dies, the sweep finds it long before its message comes back.
_OBJECT_SECONDS = 900


def build_app(config: Config) -> Flask:
    """Return the web application, with a thread that keeps its API keys fresh."""
    _give_memory_back()
    clock = SystemClock()
    clients = AwsClients(config)
    blobs = S3Blobs(clients.s3, config.bucket, on_missing=AwsSetup(clients, config).ensure)
    engine = make_engine(config.require_database(), service="ingest", role=config.ingest_role)
    warehouse, log = PostgresWarehouse(engine, clock), PostgresPredictionLog(engine)
    board = _board(config, clock, "ingest")
    grow = KeepDatasets(warehouse, PostgresKeeping(engine)).with_new_columns
    intake = RowIntake(warehouse, clock, _spool(config), board=board, most_bytes=config.max_upload_bytes, grow=grow)
    ring = KeyRing(blobs, clock)
    threading.Thread(target=_keep_fresh, args=(ring, clock), name="api keys", daemon=True).start()
    app = make_app(
        "ingest",
        [
            *web.routes(
                warehouse=warehouse,
                keeping=PostgresKeeping(engine),
                log=log,
                intake=intake,
                feedback=TakeFeedback(log),
                board=board,
            ),
            *sources.routes(PostgresSources(engine), warehouse, _fetcher(config, clock), clock),
        ],
        ring=ring,
        clock=clock,
        ready=lambda: {"database": reachable(engine)},
        hosts=config.allowed_hosts,
        version=version("trainyard-ingest"),
        metrics=shared("ingest", config.metrics_dir),
        samples=Readings([Reading("database", partial(taken, warehouse))], clock),
    )
    app.register_error_handler(ParseException, body.broken_body)
    app.register_error_handler(NoMoreData, body.broken_body)
    return app


def _give_memory_back() -> None:
    """Keep what a large body took from staying with the process, of which little else is made.

    Arrow's default pool keeps what it has had; and where the C library is glibc, each thread would get a heap of its
    own, with holes of its own.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)


def _board(config: Config, clock: Clock, service: str) -> PostgresLoadingBoard:
    engine = make_board_engine(config.require_database(), service=service, role=config.ingest_role)
    return PostgresLoadingBoard(engine, clock)


def _spool(config: Config) -> Path:
    """Return where bodies that come slowly wait for their end."""
    config.work_dir.mkdir(parents=True, exist_ok=True)
    return config.work_dir


def _fetcher(config: Config, clock: SystemClock) -> UrlFetcher:
    limits = Limits(config.pull_most_bytes)
    return UrlFetcher(
        AddressRule(config.pull_hosts), clock, limits, http=config.pull_http, ca_file=_authorities(config)
    )


def _authorities(config: Config) -> str:
    return certifi.where() if config.pull_ca is None else str(config.pull_ca)


def _keep_fresh(ring: KeyRing, clock: SystemClock) -> None:
    while True:
        ring.refresh()
        clock.sleep(_KEYS_EVERY_SECONDS)


def build_loops(config: Config, stop: threading.Event) -> list[Loop]:
    """Return the worker's loops; after an outage ``landing/`` is swept, for what was not announced."""
    _give_memory_back()
    clock = SystemClock()
    clients = AwsClients(config)
    ensure = AwsSetup(clients, config).ensure
    engine = make_engine(config.require_database(), service="ingest-worker", pool_size=6, role=config.ingest_role)
    warehouse, log = PostgresWarehouse(engine, clock), PostgresPredictionLog(engine)
    blobs = S3Blobs(clients.s3, config.bucket, on_missing=ensure)
    board = _board(config, clock, "ingest-worker")
    datasets = KeepDatasets(warehouse, PostgresKeeping(engine))
    intake = RowIntake(
        warehouse,
        clock,
        _spool(config),
        board=board,
        most_bytes=config.max_upload_bytes,
        grow=datasets.with_new_columns,
    )
    landing = Landing(config.bucket, blobs, warehouse, intake)
    sweeping = Sweeping(landing, stop, config.landing_sweep_seconds)
    consumer = partial(Consumer, ready=lambda: reachable(engine), stop=stop, clock=clock)
    objects = consumer(
        SqsQueue(clients.sqs, config.queue_objects, on_missing=ensure),
        landing_handler(landing, sweeping.soon),
        visibility_seconds=_OBJECT_SECONDS,
    )
    predictions = consumer(
        SqsQueue(clients.sqs, config.queue_predictions, on_missing=ensure),
        with_stored(predictions_handler(log, TakeFeedback(log)), blobs),
        visibility_seconds=config.message_seconds,
    )
    access = Access(AddressRule(config.pull_hosts), config.pull_secrets, config.pull_dir, _authorities(config))
    puller = Puller(
        PostgresSources(engine),
        warehouse=warehouse,
        intake=intake,
        tables=SqlTables(access, clock, stop.wait),
        fetcher=_fetcher(config, clock),
        spool=_spool(config),
        stopping=stop.is_set,
    )
    return [
        Loop("pulls", Pulling(puller, stop).step, stop=stop),
        Loop("reports", lambda: datasets.report_all(stop.is_set), stop=stop, period=_REPORTS_EVERY_SECONDS),
        Loop("retention", lambda: datasets.expire_all(stop.is_set), stop=stop, period=_RETENTION_EVERY_SECONDS),
        Loop("landing", objects.step, stop=stop, recovered=sweeping.soon),
        Loop("landing sweep", sweeping.step, stop=stop, recovered=sweeping.soon),
        Loop("predictions", predictions.step, stop=stop),
    ]
