"""The predictor's composition root: everything is put together here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from trainyard.adapters.slim.clients import SlimClients
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard_predictor.edges.background import Background
from trainyard_predictor.edges.metrics import Metrics
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.shipper import Shipper
from trainyard_predictor.edges.spool import Spool
from trainyard_predictor.handler import Handler
from trainyard_predictor.use_cases import Predict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue


@dataclass(frozen=True)
class Service:
    """A predictor ready to be asked; ``background`` is to be started once and closed at the end."""

    handler: Handler
    background: Background
    models: ModelSource
    spool: Spool


def build(
    config: Config,
    environ: Mapping[str, str] | None = None,
    *,
    blobs: BlobStore | None = None,
    queue: Queue | None = None,
    clock: Clock | None = None,
) -> Service:
    """Put a predictor together; without collaborators it works on S3 and SQS, with the credentials in ``environ``.

    The queue is not made here when AWS says that it is missing: the predictor may send and nothing else. Its spool
    waits until the scheduler or ingest has made the queue again.
    """
    clock = clock or SystemClock()
    clients = SlimClients(environ or {}, region=config.aws_region, endpoint=config.aws_endpoint_url, clock=clock)
    blobs = blobs or clients.blobs(config.bucket)
    queue = queue or clients.queue(config.queue_predictions)
    ring = KeyRing(blobs, clock)
    models = ModelSource(blobs, clock)
    spool = Spool(config.spool_dir)
    metrics = Metrics(config.spool_dir / "metrics")
    shipper = Shipper(spool, queue, clock)
    predict = Predict(
        models,
        spool,
        clock,
        not_logged=lambda rows: metrics.count("trainyard_predictions_not_logged_total", rows),
    )
    handler = Handler(
        predict,
        ring=ring,
        clock=clock,
        metrics=metrics,
        ready=lambda: {"prediction log": spool.writable},
        gauges=lambda: _gauges(models, spool),
        hosts=config.allowed_hosts,
        version=version("trainyard-predictor"),
    )
    background = Background(
        models=models,
        ring=ring,
        spool=spool,
        shipper=shipper,
        metrics=metrics,
        clock=clock,
        check_seconds=config.alias_check_seconds,
    )
    return Service(handler, background, models, spool)


def _gauges(models: ModelSource, spool: Spool) -> list[tuple[str, Mapping[str, str], float]]:
    waiting: list[tuple[str, Mapping[str, str], float]] = [
        ("trainyard_prediction_log_waiting_bytes", {}, spool.directory_bytes())
    ]
    return waiting + [
        ("trainyard_model_version", {"model": target.model, "alias": target.alias}, served.version)
        for target, served in models.serving()
        if target.alias is not None
    ]
