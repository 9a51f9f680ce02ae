"""Write golden model files: `python tests/golden/make_models.py`. Files that exist are never touched.

A golden file of a released format version stays readable for ever, with the same answers; a new version of the
format adds files, it does not renew them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from trainyard.model import Model, Predictor, TreeEnsemble, encode
from trainyard.model.wire import FORMAT_VERSION
from trainyard.testing.models import ESTIMATORS, TASKS, random_trees, sample_model, sample_rows, with_trees

FOLDER = Path(__file__).parent / "models"


def main() -> None:
    """Write what is not there yet."""
    for estimator in ESTIMATORS:
        for task in TASKS:
            write(f"{estimator}-{task}", sample_model(estimator, task, seed=11))
    write("forest-multiclass", forest())
    write("large_trees-regression", large_trees())


def forest() -> Model:
    """Return a forest: leaves with one probability for each class, and the mean over the trees."""
    rng = np.random.default_rng(12)
    model = sample_model("tree_ensemble", "multiclass")
    arrays = random_trees(5, 3, model.members[0].width, 3, rng, vector=True)
    arrays["value"] = np.abs(arrays["value"]) / 4
    arrays["base"] = np.zeros(3)
    trees = TreeEnsemble(**arrays, aggregation="mean", output="identity")
    return with_trees(model, trees, model.members[0].steps)


def large_trees() -> Model:
    """Return trees of more than 64 leaves, which take the other kernel."""
    rng = np.random.default_rng(13)
    model = sample_model("tree_ensemble", "regression")
    arrays = random_trees(2, 9, model.members[0].width, 1, rng)
    trees = TreeEnsemble(**arrays, aggregation="sum", output="identity")
    return with_trees(model, trees, model.members[0].steps)


def write(name: str, model: Model) -> None:
    """Write the model and, beside it, rows with the answers of today."""
    path = FOLDER / f"v{FORMAT_VERSION}-{name}.msgpack"
    if path.exists():
        return
    rows = sample_rows(12, seed=99)
    answers = [{"prediction": p.prediction, "probabilities": p.probabilities} for p in Predictor(model).predict(rows)]
    path.write_bytes(encode(model))
    lines = [json.dumps({"row": row, **answer}) for row, answer in zip(rows, answers, strict=True)]
    path.with_suffix(".ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
