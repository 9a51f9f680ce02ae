"""Everything about batch jobs put together, for whoever needs it first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_predictor.batch.intake import Intake
from trainyard_predictor.batch.jobs import Jobs
from trainyard_predictor.batch.rounds import Batch
from trainyard_predictor.batch.work import Limits, Tools, Work

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue
    from trainyard_predictor.use_cases import Models, PredictionLog


def desk(config: Config, *, blobs: PartStore, queue: Queue, models: Models, clock: Clock) -> tuple[Jobs, Intake]:
    """Return where jobs are kept, and what makes them."""
    jobs = Jobs(blobs, queue, clock)
    most_bytes, log_share = config.batch_max_bytes, config.batch_log_share
    return jobs, Intake(jobs, blobs, models, clock, most_bytes=most_bytes, log_share=log_share)


def batch(config: Config, *, blobs: PartStore, queue: Queue, models: Models, log: PredictionLog, clock: Clock) -> Batch:
    """Return what messages and timers ask for."""
    jobs, intake = desk(config, blobs=blobs, queue=queue, models=models, clock=clock)
    work = Work(Tools(jobs, blobs, models, log, clock, Limits(lease_seconds=config.batch_lease_seconds)))
    return Batch(jobs, intake, work, clock, slice_seconds=config.batch_slice_seconds)
