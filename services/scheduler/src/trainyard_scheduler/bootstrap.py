"""The composition root: what the web application and the loops are made of."""

from __future__ import annotations

import threading
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from flask import request

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet, Places
from trainyard.adapters.aws.ensure import AwsSetup, dead_letter_name
from trainyard.adapters.aws.prices import Ec2Prices, load_table
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.aws.uploads import S3Uploads
from trainyard.adapters.machine import ThisMachine
from trainyard.adapters.postgres.doctor import PostgresDatabase
from trainyard.adapters.postgres.engine import make_engine, reachable
from trainyard.adapters.postgres.listen import Listener
from trainyard.adapters.postgres.scheduling import PostgresStore
from trainyard.adapters.postgres.tracing import PostgresTracing
from trainyard.adapters.shelf import DirectoryShelf
from trainyard.adapters.web import make_app
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard.contracts.fleet import LaunchSpec
from trainyard.doctor import Doctor, Sources
from trainyard.loops import Loop, patiently
from trainyard.telemetry.numbers import shared
from trainyard.telemetry.readings import Reading, Readings
from trainyard_scheduler import web
from trainyard_scheduler.domain.fleet import Rules
from trainyard_scheduler.domain.machines import Patience
from trainyard_scheduler.edges import Program
from trainyard_scheduler.events import EventStreams
from trainyard_scheduler.use_cases import costs, drain, figures, keys, monitor, policies, relay
from trainyard_scheduler.use_cases.copies import CopyKeeper
from trainyard_scheduler.use_cases.fleet import FleetKeeper, Looks
from trainyard_scheduler.use_cases.forget import Keep, forget, forget_predictions
from trainyard_scheduler.use_cases.publish import Hurry, Publisher
from trainyard_scheduler.use_cases.queues import Pair
from trainyard_scheduler.use_cases.resend import Reconciler
from trainyard_scheduler.use_cases.sweep import Sweeper

if TYPE_CHECKING:
    from flask import Flask, Response

    from trainyard.config import Config

_KEYS_EVERY_SECONDS = 2.0
#: A lost wake-up costs at most this; all of them are far below what they guarantee (aliases and keys: 2 s).
_RELAY_SECONDS = 1.0
_RECONCILE_SECONDS = 1.0
_DRAIN_SECONDS = 10.0
_PUBLISH_SECONDS = 1.0
_FLEET_SECONDS = 1.0
_COPIES_SECONDS = 2.0
_MONITOR_SECONDS = 1.0
_COSTS_SECONDS = 2.0
_FORGET_SECONDS = 60.0
_MONTHS_SECONDS = 600.0
_SWEEP_SECONDS = 600.0
_LONG_POLL_SECONDS = 2
#: Beyond their time these stay: the newest events for the stream's readers, the newest decisions of each model.
_EVENTS_KEPT, _DECISIONS_KEPT = 10_000, 100


def build_app(config: Config, stop: threading.Event | None = None) -> Flask:
    """Return the web application, with a thread that keeps its API keys fresh until ``stop``."""
    clock = SystemClock()
    clients = AwsClients(config)
    ensure = AwsSetup(clients, config).ensure
    blobs = S3Blobs(clients.s3, config.bucket, on_missing=ensure)
    database_url = config.require_database()
    engine = make_engine(database_url, service="scheduler")
    store = PostgresStore(engine)
    ring = KeyRing(blobs, clock)
    threading.Thread(target=_keep_fresh, args=(ring, stop or threading.Event()), name="api keys", daemon=True).start()
    names = {
        "training": config.queue_training,
        "arrived": config.queue_arrived,
        "objects": config.queue_objects,
        "predictions": config.queue_predictions,
        "batch": config.queue_batch,
    }
    sqs = partial(SqsQueue, clients.sqs, on_missing=ensure)
    fleet = Ec2Fleet(clients.ec2, config.env, on_missing=ensure)
    pairs = {name: (sqs(queue), sqs(dead_letter_name(queue))) for name, queue in names.items()}
    machine = ThisMachine(config.work_dir, config.spool_dir, clock)
    services = web.Services(
        store=store,
        blobs=blobs,
        fleet=fleet,
        fleet_rules=fleet_rules(config),
        resend_seconds=config.first_resend_seconds,
        copy_most_bytes=config.copy_most_bytes,
        queues={name: Pair(*both) for name, both in pairs.items()},
        doctor=Doctor(Sources(PostgresDatabase(engine), blobs, pairs, fleet, machine), clock),
        events=EventStreams(store, lambda: Listener(database_url), clock),
        tracing=PostgresTracing(engine),
    )
    app = make_app(
        "scheduler",
        web.routes(services),
        ring=ring,
        clock=clock,
        ready=lambda: {"database": reachable(engine)},
        hosts=config.allowed_hosts,
        version=version("trainyard-scheduler"),
        metrics=shared("scheduler", config.metrics_dir),
        samples=Readings(
            [
                Reading("database", partial(figures.of_records, store)),
                Reading("queues", partial(figures.of_queues, services.queues)),
            ],
            clock,
        ),
    )
    hurry = Hurry(Publisher(store, blobs, look_seconds=config.publish_look_seconds).step)

    @app.after_request
    def publish(response: Response) -> Response:
        # Who made a model, a key or a move is answered when the other services can see it, if S3 answers in time.
        if request.method != "GET" and response.status_code < 300 and not _asks_for_training():
            hurry()
        return response

    return app


def _asks_for_training() -> bool:
    """Tell whether the call concerns a training request, which stands in no object: its version is published later."""
    return request.url_rule is not None and "requests" in request.url_rule.rule.split("/")


def _keep_fresh(ring: KeyRing, stop: threading.Event) -> None:
    ring.refresh()
    while not stop.wait(_KEYS_EVERY_SECONDS):
        ring.refresh()


def build_program(config: Config, stop: threading.Event) -> Program:
    """Return the loops, after AWS is set up and the first keys are registered; waits for what does not answer yet.

    Raises:
        ConfigError: a setting or a key file cannot be used.
    """
    clients = AwsClients(config)
    setup = AwsSetup(clients, config)
    database_url = config.require_database()
    store = PostgresStore(make_engine(database_url, service="scheduler-loops"))
    patiently(lambda: keys.register_files(store, [(config.admin_key_file, "admin", "admin")]), "Postgres", stop)
    patiently(setup.ensure, "AWS", stop)
    blobs = S3Blobs(clients.s3, config.bucket, on_missing=setup.ensure)
    sqs = partial(SqsQueue, clients.sqs, on_missing=setup.ensure)
    queues = {
        "training": sqs(config.queue_training),
        "arrived": sqs(config.queue_arrived),
        "predictions": sqs(config.queue_predictions),
    }
    publisher = Publisher(store, blobs, look_seconds=config.publish_look_seconds)
    copies = CopyKeeper(
        store,
        blobs,
        None if config.copies_dir is None else DirectoryShelf(config.copies_dir),
        most_bytes=config.copy_most_bytes,
        clock=SystemClock(),
    )
    reconciler = Reconciler(
        store,
        resend_seconds=config.first_resend_seconds,
        queue_made_at=partial(setup.queue_made_at, config.queue_training),
    )
    keeper = FleetKeeper(
        store,
        Ec2Fleet(clients.ec2, config.env, places=Places(config.subnets, config.zones), on_missing=setup.ensure),
        Ec2Prices(clients.ec2, config.aws_region, load_table(config.prices)),
        rules=fleet_rules(config),
        looks=Looks(lambda: queues["training"].depth().total, config.fleet_poll_seconds),
        clock=SystemClock(),
    )

    uploads = S3Uploads(clients.s3, config.bucket)
    sweeper = Sweeper(store, blobs, uploads, keep_batch_days=config.keep_batch_days)
    loop = partial(Loop, stop=stop)
    loops = [
        loop("relay", partial(relay.relay_all, store, queues), period=_RELAY_SECONDS),
        loop(
            "arrived",
            partial(
                policies.consume_arrived,
                store,
                queues["arrived"],
                wait_seconds=_LONG_POLL_SECONDS,
                visibility_seconds=config.message_seconds,
            ),
        ),
        loop("policies", partial(policies.evaluate_models, store), period=config.policy_tick_seconds),
        loop("reconciler", reconciler.step, period=_RECONCILE_SECONDS),
        loop("drain", partial(drain.drain, store, queues["training"]), period=_DRAIN_SECONDS),
        loop("publisher", publisher.step, period=_PUBLISH_SECONDS),
        # Where nothing has a copy, nothing is to be put back soon.
        loop("copies", copies.step, period=_COPIES_SECONDS if _has_copies(config) else _SWEEP_SECONDS),
        loop("fleet", keeper.step, period=_FLEET_SECONDS),
        loop("forget", partial(forget, store, _keeps(config)), period=_FORGET_SECONDS),
        loop(
            "prediction months",
            partial(forget_predictions, store, config.keep_predictions_days),
            period=_MONTHS_SECONDS,
        ),
        loop("sweeper", sweeper.step, period=_SWEEP_SECONDS),
        loop("monitor", monitor.Monitor(store, SystemClock()).step, period=_MONITOR_SECONDS),
        loop("costs", partial(costs.settle, store), period=_COSTS_SECONDS),
    ]
    return Program(loops, Listener(database_url), stop)


def _has_copies(config: Config) -> bool:
    return config.copy_most_bytes > 0 or config.copies_dir is not None


def _keeps(config: Config) -> list[Keep]:
    return [
        Keep("events", config.keep_events_days, _EVENTS_KEPT),
        Keep("messages", config.keep_messages_days),
        Keep("answers", config.keep_answers_days),
        Keep("decisions", config.keep_decisions_days, _DECISIONS_KEPT),
        Keep("launches", config.keep_launches_days),
        Keep("workers", config.keep_workers_days),
        Keep("lines", config.keep_run_logs_days),
        # In this order: a window stays as long as an alarm refers to it.
        Keep("alarms", config.keep_windows_days),
        Keep("windows", config.keep_windows_days),
    ]


def fleet_rules(config: Config) -> Rules:
    """Return the settings that the fleet is run by."""
    return Rules(
        spec=LaunchSpec(config.instance_types, config.spot),
        fleet_max=config.fleet_max,
        spot_patience_seconds=config.spot_patience_seconds,
        target_wait_seconds=config.target_wait_seconds,
        patience=Patience(config.boot_seconds, config.silent_seconds),
        max_hours_per_day=config.fleet_max_hours_per_day,
        max_usd_per_day=config.fleet_max_usd_per_day,
    )
