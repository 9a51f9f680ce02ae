"""What the parent believes of the child's artifact: nothing that it has not tried itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.errors import ArtifactError, ServiceError
from trainyard.model import Predictor, decode
from trainyard_trainer import workdir
from trainyard_trainer.domain import RunFailedError
from trainyard_trainer.learning.table import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def verified_artifact(directory: Path, job: Mapping[str, Any]) -> bytes:
    """Return the artifact's bytes after loading it, running its golden rows, and predicting the check rows again.

    Raises:
        RunFailedError: ``parity``: it is not the model that the job asked for and the child tested.
    """
    data = (directory / workdir.ARTIFACT).read_bytes()
    try:
        model = decode(data)
        predictor = Predictor(model)
        predictor.self_test()
        snapshot = workdir.read_snapshot(directory, job["snapshot"])
        rows = np.load(directory / workdir.CHECK_ROWS, allow_pickle=False)
        expected = np.load(directory / workdir.CHECK, allow_pickle=False)
        got = predictor.predict_columns(table_of(snapshot, model.schema, rows).columns)
    except (ArtifactError, ServiceError, ValueError, KeyError) as e:
        raise RunFailedError("parity", f"the artifact does not load and predict: {e}") from e
    bound = (model.name, model.lineage.snapshot_sha256)
    if bound != (job["model"], job["snapshot"]["sha256"]):
        raise RunFailedError("parity", "the artifact is bound to another model or snapshot")
    if not np.array_equal(got, expected):
        raise RunFailedError("parity", "the loaded artifact does not predict what the trained model did")
    return data
