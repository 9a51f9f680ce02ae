"""All protocols put together, for the composition roots: predictions in ours at once, the rest when it is asked for."""

from __future__ import annotations

from trainyard_predictor.protocols import own
from trainyard_predictor.protocols.ask import Ask
from trainyard_predictor.protocols.routes import Rest, Route

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard.contracts.part_store import PartStore
    from trainyard.contracts.queue import Queue
    from trainyard.telemetry.numbers import Metrics
    from trainyard_predictor.exchange import Json
    from trainyard_predictor.use_cases import Models, Predict


def routes(
    predict: Predict,
    *,
    models: Models,
    blobs: PartStore,
    queue: Queue,
    clock: Clock,
    metrics: Metrics,
    config: Config,
    ready: Callable[[], bool],
    version: str,
    json: Json,
) -> tuple[list[Route], Callable[[], Rest]]:
    """Return the routes of our own protocol, and what makes those of the others.

    Args:
        predict: the use case.
        models: where it has its models from.
        blobs: the store whose names say which models there are, and that holds batch jobs.
        queue: takes word of batch jobs.
        clock: tells how old a list of them is.
        metrics: what counts predictions.
        config: which model ``/invocations`` means, and for whom.
        ready: whether the service can do its job.
        version: the release.
        json: how our own protocol is read and written.
    """
    ask = Ask(predict, metrics)

    def rest() -> Rest:
        # a cold start that is asked in our own protocol does not pay for the others
        from trainyard_predictor.batch.assembly import desk  # noqa: PLC0415
        from trainyard_predictor.edges.catalogue import Catalogue  # noqa: PLC0415
        from trainyard_predictor.protocols.batch_jobs import BatchJobs  # noqa: PLC0415
        from trainyard_predictor.protocols.open_inference import OpenInference, refuse  # noqa: PLC0415
        from trainyard_predictor.protocols.scoring import Scoring  # noqa: PLC0415

        catalogue = Catalogue(blobs, clock)
        inference = OpenInference(ask, models, catalogue, ready=ready, version=version)
        scoring = Scoring(
            ask,
            models,
            catalogue,
            version=version,
            default=config.default_model,
            sagemaker=config.sagemaker,
            keyless=config.invocations_keyless,
        )
        jobs, intake = desk(config, blobs=blobs, queue=queue, models=models, clock=clock)
        batch_jobs = BatchJobs(jobs, intake, blobs)
        return Rest((*batch_jobs.routes(), *inference.routes(), *scoring.routes()), {"/v2": refuse})

    return own.routes(ask, models, json), rest
