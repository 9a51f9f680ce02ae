"""Write golden model files: `python tests/golden/make_models.py`. Files that exist are never touched.

A golden file of a released format version stays readable for ever, with the same answers; a new version of the
format adds files, it does not renew them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from trainyard.model import Isotonic, Model, Platt, Predictor, TreeEnsemble, encode, with_golden
from trainyard.model.dto import FORMAT_VERSION
from trainyard.testing.models import ESTIMATORS, TASKS, random_trees, sample_model, sample_rows, with_trees

FOLDER = Path(__file__).parent / "models"


def main() -> None:
    """Write what is not there yet."""
    for estimator in ESTIMATORS:
        for task in TASKS:
            write(f"{estimator}-{task}", sample_model(estimator, task, seed=11))
    write("forest-multiclass", forest())
    write("large_trees-regression", large_trees())
    write("platt-binary", replace(sample_model("tree_ensemble", seed=14), calibration=Platt(1.5, -0.25)))
    curve = Isotonic([0.0, 0.125, 0.5, 0.875], [0.0, 0.25, 0.25, 1.0])
    write("isotonic-binary", replace(sample_model("blend", seed=15), calibration=curve))
    write("exp-regression", exponential())


def forest() -> Model:
    """Return a forest: leaves with one probability for each class, and the mean over the trees."""
    rng = np.random.default_rng(12)
    model = sample_model("tree_ensemble", "multiclass")
    arrays = random_trees(5, 3, model.members[0].width, 3, rng, vector=True)
    arrays["value"] = np.abs(arrays["value"]) / 4
    arrays["base"] = np.zeros(3)
    trees = TreeEnsemble.from_nodes(**arrays, aggregation="mean", output="identity")
    return with_trees(model, trees, model.members[0].steps)


def large_trees() -> Model:
    """Return trees of more than 64 leaves, which take the other kernel."""
    rng = np.random.default_rng(13)
    model = sample_model("tree_ensemble", "regression")
    arrays = random_trees(2, 9, model.members[0].width, 1, rng)
    trees = TreeEnsemble.from_nodes(**arrays, aggregation="sum", output="identity")
    return with_trees(model, trees, model.members[0].steps)


def exponential() -> Model:
    """Return trees whose scores are logarithms of the answer."""
    model = sample_model("tree_ensemble", "regression", seed=16)
    trees = model.members[0].estimator
    return with_trees(model, replace(trees, output="exp"), model.members[0].steps)


def write(name: str, model: Model) -> None:
    """Write the model and, beside it, rows with the answers of today."""
    path = FOLDER / f"v{FORMAT_VERSION}-{name}.msgpack"
    if path.exists():
        return
    rows = sample_rows(12, seed=99)
    answers = [{"prediction": p.prediction, "probabilities": p.probabilities} for p in Predictor(model).predict(rows)]
    path.write_bytes(encode(with_golden(model, sample_rows(5, seed=98))))
    lines = [json.dumps({"row": row, **answer}) for row, answer in zip(rows, answers, strict=True)]
    path.with_suffix(".ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
