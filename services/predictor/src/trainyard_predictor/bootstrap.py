"""The predictor's composition root: everything is put together here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from trainyard.adapters.slim.clients import SlimClients
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard_predictor.edges.background import Background
from trainyard_predictor.edges.health import HealthCheck
from trainyard_predictor.edges.limits import RateLimit
from trainyard_predictor.edges.metrics import Metrics
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.serving import ServingNotice
from trainyard_predictor.edges.shadow import ShadowScorer
from trainyard_predictor.edges.shipper import Shipper
from trainyard_predictor.edges.spool import Spool
from trainyard_predictor.handler import Handler
from trainyard_predictor.protocols import table
from trainyard_predictor.use_cases import Predict, Rules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.blobs import BlobStore
    from trainyard.contracts.queue import Queue

#: Stands for every name in TRAINYARD_ALLOWED_HOSTS.
ANY_HOST = "*"


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
    models = ModelSource(blobs, clock, cache_bytes=config.model_cache_bytes, only=config.models)
    spool = Spool(config.spool_dir)
    metrics = Metrics(config.spool_dir / "metrics")
    shipper = Shipper(spool, queue, clock)
    shadow = ShadowScorer(queue, clock)
    predict = Predict(
        models,
        spool,
        clock,
        not_logged=lambda rows: metrics.count("trainyard_predictions_not_logged_total", rows),
        declined=lambda rows: metrics.count("trainyard_challenger_declined_total", rows),
        rules=Rules(seconds=config.request_seconds, unlogged=config.prediction_log_policy == "open"),
        shadow=shadow,
    )
    release = version("trainyard-predictor")
    first, rest = table.routes(
        predict,
        models=models,
        blobs=blobs,
        clock=clock,
        metrics=metrics,
        config=config,
        ready=lambda: ring.ready and spool.writable,
        version=release,
    )
    handler = Handler(
        first,
        rest=rest,
        ring=ring,
        clock=clock,
        metrics=metrics,
        ready=lambda: {"prediction log": spool.writable},
        health=HealthCheck(models, clock),
        gauges=lambda: _gauges(models, spool),
        hosts=None if ANY_HOST in config.allowed_hosts else config.allowed_hosts,
        version=release,
        limit=RateLimit(config.key_rate, config.key_burst, clock),
    )
    background = Background(
        models=models,
        ring=ring,
        spool=spool,
        shipper=shipper,
        shadow=shadow,
        notice=ServingNotice(models, blobs, clock, config.env),
        metrics=metrics,
        clock=clock,
        check_seconds=config.alias_check_seconds,
    )
    return Service(handler, background, models, spool)


def _gauges(models: ModelSource, spool: Spool) -> list[tuple[str, Mapping[str, str], float]]:
    found: list[tuple[str, Mapping[str, str], float]] = [
        ("trainyard_prediction_log_waiting_bytes", {}, spool.directory_bytes())
    ]
    for one in models.standing():
        if one.target.alias is None:
            continue
        labels = {"model": one.target.model, "alias": one.target.alias}
        found.append(("trainyard_model_refused", labels, float(one.refused is not None)))
        if one.served is not None:
            found.append(("trainyard_model_version", labels, one.served.version))
    return found
