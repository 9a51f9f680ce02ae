"""What both compositions have in common: the use case behind all protocols, behind the one handler.

The Lambda function pays for every import here at each cold start, so it imports what a first prediction needs.
"""

from __future__ import annotations

import msgpack

from trainyard import strict_json
from trainyard_predictor.edges.limits import RateLimit
from trainyard_predictor.handler import Handler
from trainyard_predictor.protocols import table
from trainyard_predictor.use_cases import Predict, Rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from trainyard.auth import KeyRing
    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue
    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.edges.health import HealthCheck
    from trainyard_predictor.edges.limits import Dues
    from trainyard_predictor.exchange import Json
    from trainyard_predictor.use_cases import Models, PredictionLog, Shadow


def assemble(
    config: Config,
    *,
    models: Models,
    log: PredictionLog,
    blobs: PartStore,
    batch_queue: Queue,
    ring: KeyRing,
    clock: Clock,
    metrics: Metrics,
    version: str,
    hosts: Sequence[str] | None,
    ready: Callable[[], dict[str, bool]] = dict,
    gauges: Callable[[], list[tuple[str, Mapping[str, str], float]]] = list,
    shadow: Shadow | None = None,
    health: HealthCheck | None = None,
    dues: Dues | None = None,
    json: Json = strict_json,
    pack: Callable[[Any], bytes] = msgpack.packb,
) -> Handler:
    """Return the handler that answers in every protocol.

    Args:
        config: rules, limits, and which model ``/invocations`` means.
        models: where models come from.
        log: where predictions are written down.
        blobs: the store whose names say which models there are, and that holds batch jobs.
        batch_queue: takes word of batch jobs.
        ring: the live API keys.
        clock: for deadlines and ages.
        metrics: what counts predictions.
        version: the release.
        hosts: names that the ``Host`` header may carry; None: any.
        ready: names what the service needs beside the keys, and whether it is there.
        gauges: (family, labels, value) for /metrics.
        shadow: what compares answers with those of another version; None: nobody does.
        health: looks at the models in memory; None: nobody does.
        dues: the rate limit's buckets; None: this process's own.
        json: how our own protocol is read and written.
        pack: what packs the values of a log record as msgpack.
    """
    predict = Predict(
        models,
        log,
        clock,
        not_logged=lambda rows: metrics.count("trainyard_predictions_not_logged_total", rows),
        declined=lambda rows: metrics.count("trainyard_challenger_declined_total", rows),
        rules=Rules(seconds=config.request_seconds, unlogged=config.prediction_log_policy == "open"),
        shadow=shadow,
        pack=pack,
    )
    first, rest = table.routes(
        predict,
        models=models,
        blobs=blobs,
        queue=batch_queue,
        clock=clock,
        metrics=metrics,
        config=config,
        ready=lambda: ring.ready and all(ready().values()),
        version=version,
        json=json,
    )
    return Handler(
        first,
        rest=rest,
        ring=ring,
        clock=clock,
        metrics=metrics,
        ready=ready,
        health=health,
        gauges=gauges,
        hosts=hosts,
        version=version,
        limit=RateLimit(config.key_rate, config.key_burst, clock, dues),
    )
