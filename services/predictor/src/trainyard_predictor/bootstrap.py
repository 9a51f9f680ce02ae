"""The predictor's composition root: everything is put together here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

import msgspec

from trainyard.adapters.slim.clients import SlimClients
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard.telemetry.numbers import shared
from trainyard_predictor.assembly import assemble
from trainyard_predictor.edges import quick_json
from trainyard_predictor.edges.background import Background
from trainyard_predictor.edges.health import HealthCheck
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.serving import ServingNotice
from trainyard_predictor.edges.shadow import ShadowScorer
from trainyard_predictor.edges.shipper import Shipper
from trainyard_predictor.edges.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue
    from trainyard_predictor.edges.limits import Dues
    from trainyard_predictor.handler import Handler

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
    blobs: PartStore | None = None,
    queue: Queue | None = None,
    batch_queue: Queue | None = None,
    clock: Clock | None = None,
    dues: Dues | None = None,
) -> Service:
    """Put a predictor together; without collaborators it works on S3 and SQS, with the credentials in ``environ``.

    ``dues`` are the rate limit's buckets; without them those of this process.

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
    metrics = shared("predictor", config.metrics_dir)
    shipper = Shipper(spool, queue, blobs, clock)
    shadow = ShadowScorer(queue, clock)
    handler = assemble(
        config,
        models=models,
        log=spool,
        blobs=blobs,
        batch_queue=batch_queue or clients.queue(config.queue_batch),
        ring=ring,
        clock=clock,
        metrics=metrics,
        version=version("trainyard-predictor"),
        hosts=None if ANY_HOST in config.allowed_hosts else config.allowed_hosts,
        # under the policy "open" answers go on without a log, so nobody is to be sent elsewhere for lack of it
        ready=lambda: {"prediction log": spool.writable} if config.prediction_log_policy == "closed" else {},
        gauges=lambda: _gauges(models, spool),
        shadow=shadow,
        health=HealthCheck(models, clock),
        dues=dues,
        json=quick_json,
        pack=msgspec.msgpack.Encoder().encode,
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
