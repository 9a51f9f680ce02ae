"""The routes of the protocols that are not ours, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard_predictor.protocols import open_inference
from trainyard_predictor.protocols.open_inference import OpenInference
from trainyard_predictor.protocols.routes import Rest
from trainyard_predictor.protocols.scoring import Scoring

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.config import Config
    from trainyard_predictor.edges.catalogue import Catalogue
    from trainyard_predictor.protocols.ask import Ask
    from trainyard_predictor.use_cases import Models


def rest(
    ask: Ask, models: Models, catalogue: Catalogue, config: Config, *, ready: Callable[[], bool], version: str
) -> Rest:
    """Return them, and how what is no route under ``/v2`` is refused. ``ready``: the service can do its job."""
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
    return Rest((*inference.routes(), *scoring.routes()), {"/v2": open_inference.refuse})
