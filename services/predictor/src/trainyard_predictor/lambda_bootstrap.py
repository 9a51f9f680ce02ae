"""The composition root of the Lambda function; that of the HTTP service is :mod:`trainyard_predictor.bootstrap`.

Two, because every import here is paid at each cold start: no boto3, no spool, no threads of its own.
"""

from __future__ import annotations

from trainyard.adapters.slim.clients import SlimClients
from trainyard.auth import KeyRing
from trainyard.clock import SystemClock
from trainyard.telemetry.numbers import Metrics
from trainyard_predictor.assembly import assemble
from trainyard_predictor.edges.beside import Beside
from trainyard_predictor.edges.direct_log import DirectLog
from trainyard_predictor.edges.freshness import Freshness
from trainyard_predictor.edges.model_source import ModelSource
from trainyard_predictor.edges.outbox import Outbox
from trainyard_predictor.function import Function
from trainyard_predictor.release import release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue
    from trainyard_predictor.batch.rounds import Batch
    from trainyard_predictor.snapshot import Snapshot


#: What the function reads of the settings: reading the paths among the others would import ``pathlib``.
SETTINGS = (
    "log_level",
    "env",
    "aws_endpoint_url",
    "aws_region",
    "bucket",
    "queue_predictions",
    "queue_batch",
    "batch_max_bytes",
    "batch_log_share",
    "batch_lease_seconds",
    "batch_slice_seconds",
    "alias_check_seconds",
    "model_cache_bytes",
    "models",
    "prediction_log_policy",
    "key_rate",
    "key_burst",
    "request_seconds",
    "default_model",
    "sagemaker",
    "invocations_keyless",
)


def build(
    config: Config,
    environ: Mapping[str, str],
    *,
    blobs: PartStore | None = None,
    queue: Queue | None = None,
    batch_queue: Queue | None = None,
    clock: Clock | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Function:
    """Put the function together; nothing is read and nothing connected before the first event.

    Args:
        config: SETTINGS at least.
        environ: where AWS's credentials are looked for.
        stopping: whether a long event is to be handed back.
    """
    clock = clock or SystemClock()
    clients = SlimClients(environ, region=config.aws_region, endpoint=config.aws_endpoint_url, clock=clock)
    blobs = blobs or clients.blobs(config.bucket)
    queue = queue or clients.queue(config.queue_predictions)
    ring = KeyRing(blobs, clock)
    models = ModelSource(blobs, clock, cache_bytes=config.model_cache_bytes, only=config.models)
    log = DirectLog(Outbox(queue, blobs))
    jobs_queue = batch_queue or clients.queue(config.queue_batch)
    beside = Beside(models, blobs, queue, clock, config.env)
    handler = assemble(
        config,
        models=models,
        log=log,
        blobs=blobs,
        batch_queue=jobs_queue,
        ring=ring,
        clock=clock,
        metrics=Metrics("predictor"),
        version=release(),
        hosts=None,  # Lambda has found the function by it
        shadow=beside,
    )

    freshness = Freshness(models, ring, clock, check_seconds=config.alias_check_seconds, beside=beside.step)

    def snapshot() -> Snapshot:
        from trainyard_predictor.snapshot import Snapshot  # noqa: PLC0415 - a cold start does without

        ahead = config.models or ([config.default_model] if config.default_model else [])
        return Snapshot(models, ring, freshness, beside, forget=clients.forget, ahead=ahead)

    def batch() -> Batch:
        from trainyard_predictor.batch.assembly import batch as put_together  # noqa: PLC0415 - no prediction needs it

        return put_together(config, blobs=blobs, queue=jobs_queue, models=models, log=log, clock=clock)

    return Function(handler, freshness, snapshot, batch, stopping)
