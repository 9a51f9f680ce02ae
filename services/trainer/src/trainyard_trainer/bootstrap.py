"""Puts the trainer together and runs it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ec2 import Ec2Fleet
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.adapters.postgres.engine import make_engine
from trainyard.adapters.postgres.runs import PostgresRuns
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard.loops import on_stop_signals
from trainyard_trainer import openmp
from trainyard_trainer.edges import CHILD, ChildProcesses, Metadata, SpotWatch, child_environment
from trainyard_trainer.ports import Outside, Stop, TrainerSettings
from trainyard_trainer.use_cases import Trainer

if TYPE_CHECKING:
    import sqlalchemy as sa

    from trainyard.config import Config

log = logs.get(__name__)


def run(config: Config) -> int:
    """Work until SIGTERM, SIGINT, a spot notice, or until there is nothing left to do; return the exit code."""
    child_command(config)  # a setting that is refused is refused before anything starts
    stop = Stop()
    on_stop_signals(stop.request, insist=False)
    metadata = Metadata(config.imds_url)
    instance_id = config.instance_id or metadata.instance_id()
    watch = SpotWatch(metadata, stop.request) if instance_id else None
    clients = AwsClients(config)
    engine = make_engine(config.require_database(), service="trainer", pool_size=3)
    trainer = Trainer(outside(config, clients, engine), settings(config, instance_id), stop)
    log.info("trainer.ready", instance=instance_id)
    if watch is not None:
        watch.start()
    try:
        trainer.run()
    finally:
        if watch is not None:
            watch.close()
        clients.close()
        engine.dispose()
    return 0


def outside(config: Config, clients: AwsClients, engine: sa.Engine) -> Outside:
    """Return the real collaborators."""
    setup = AwsSetup(clients, config)
    home = config.work_dir / "child"
    environment = child_environment(home, openmp.variables(config.work_dir / "lib"))
    return Outside(
        queue=SqsQueue(clients.sqs, config.queue_training, on_missing=setup.ensure),
        runs=PostgresRuns(engine),
        snapshots=PostgresSnapshots(engine),
        blobs=S3Blobs(clients.s3, config.bucket, on_missing=setup.ensure),
        fleet=Ec2Fleet(clients.ec2, config.env),
        children=ChildProcesses(home, environment, child_command(config)),
        clock=SystemClock(),
    )


def child_command(config: Config) -> tuple[str, ...]:
    """Return the command of the training process.

    Raises:
        ConfigError: another one than the trainer's own is asked for outside a test environment, or it does not exist.
    """
    if not config.training_child:
        return CHILD
    if config.env != "test":
        raise ConfigError("TRAINYARD_TRAINING_CHILD is set, but is taken only where TRAINYARD_ENV=test")
    program, *arguments = config.training_child
    path = sys.executable if program == "python" else shutil.which(program)
    if path is None:
        raise ConfigError(f"TRAINYARD_TRAINING_CHILD: there is no program {program}")
    return (path, *arguments)


def settings(config: Config, instance_id: str | None) -> TrainerSettings:
    """Return who this trainer is."""
    return TrainerSettings(
        worker=f"{socket.gethostname()}:{os.getpid()}",
        instance_id=instance_id,
        work_dir=config.work_dir,
        lease_seconds=config.lease_seconds,
        idle_seconds=config.idle_seconds,
    )
