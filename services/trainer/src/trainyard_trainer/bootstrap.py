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
from trainyard.adapters.postgres.searches import PostgresSearches
from trainyard.adapters.postgres.snapshots import PostgresSnapshots
from trainyard.adapters.postgres.studies import PostgresStudies
from trainyard.adapters.postgres.workers import PostgresAttendance
from trainyard.clock import SystemClock
from trainyard.errors import ConfigError
from trainyard.loops import on_stop_signals
from trainyard_trainer import openmp
from trainyard_trainer.children import CHILD, ChildProcesses, child_environment, memory_limit
from trainyard_trainer.edges import ExitDeadline, Metadata, SpotWatch, WorkerPresence
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
    deadline = ExitDeadline(stop, SystemClock())
    deadline.start()
    metadata = Metadata(config.imds_url)
    own = settings(config, metadata)
    watch = SpotWatch(metadata, stop.request, every_seconds=config.spot_poll_seconds) if own.instance_id else None
    clients = AwsClients(config)
    # One connection each for the work, the lease or the seat, the worker's row and the invitation, and one to spare.
    engine = make_engine(config.require_database(), service="trainer", pool_size=5)
    presence = WorkerPresence(PostgresAttendance(engine), own, stop)
    studies = PostgresStudies(config.require_database(), service="trainer")
    trainer = Trainer(outside(config, clients, engine, studies, presence), own, stop)
    log.info("trainer.ready", worker=own.worker, instance_id=own.instance_id, instance_type=own.instance_type)
    if watch is not None:
        watch.start()
    try:
        with presence:
            trainer.run()
    finally:
        if watch is not None:
            watch.close()
        clients.close()
        studies.close()
        engine.dispose()
        deadline.close()
    return 0


def outside(
    config: Config, clients: AwsClients, engine: sa.Engine, studies: PostgresStudies, presence: WorkerPresence
) -> Outside:
    """Return the real collaborators."""
    setup = AwsSetup(clients, config)
    home = config.work_dir / "child"
    environment = child_environment(home, openmp.variables(config.work_dir / "lib"))
    return Outside(
        queue=SqsQueue(clients.sqs, config.queue_training, on_missing=setup.ensure),
        runs=PostgresRuns(engine),
        snapshots=PostgresSnapshots(engine),
        studies=studies,
        searches=PostgresSearches(engine),
        blobs=S3Blobs(clients.s3, config.bucket, on_missing=setup.ensure),
        fleet=Ec2Fleet(clients.ec2, config.env),
        children=ChildProcesses(
            home, environment, child_command(config), memory=memory_limit(config.training_memory_mb)
        ),
        presence=presence,
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


def settings(config: Config, metadata: Metadata) -> TrainerSettings:
    """Return who this trainer is; what no setting says is asked of the machine."""
    instance_id = config.instance_id or metadata.instance_id()
    return TrainerSettings(
        worker=f"{socket.gethostname()}:{os.getpid()}",
        instance_id=instance_id,
        instance_type=metadata.instance_type() if instance_id else None,
        work_dir=config.work_dir,
        lease_seconds=config.lease_seconds,
        beat_seconds=config.beat_seconds or config.lease_seconds / 3,
        idle_seconds=config.idle_seconds,
        copy_most_bytes=config.copy_most_bytes,
    )
