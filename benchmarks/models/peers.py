"""One run of a peer, by the peers' Python: ``peers.py METHOD CASE OUT DEADLINE``, with the peer's own defaults.

DEADLINE is a reading of the monotonic clock; only FLAML knows of a budget, and is given all the time that is left.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def main(method: str, case: Path, out: Path, deadline: float) -> int:
    """Learn, answer, and leave the answers in ``out``."""
    about = json.loads((case / "case.json").read_text())
    learn, ask = _frame(case, "learn", about), _frame(case, "ask", about)
    labels = np.load(case / "learn" / "label.npy")
    model, said = _METHODS[method](learn, labels, about, deadline)
    if about["classes"]:
        given = model.predict_proba(ask)
        answers = np.zeros((len(ask), len(about["classes"])))
        answers[:, np.asarray(model.classes_, dtype=np.int64)] = given
    else:
        answers = np.asarray(model.predict(ask), dtype=np.float64)
    (out / "said.json").write_text(json.dumps(said, default=str))
    np.save(out / "partial.npy", answers)
    (out / "partial.npy").rename(out / "answers.npy")
    return 0


def _frame(case: Path, part: str, about: dict[str, Any]) -> pd.DataFrame:
    columns = {}
    for number, column in enumerate(about["columns"]):
        values = np.load(case / part / f"{number}.npy")
        if column["type"] == "category":
            levels = column["levels"] + (column["more"] if part == "ask" else [])
            values = pd.Categorical.from_codes(values, categories=levels)
        columns[column["name"]] = values
    return pd.DataFrame(columns)


def _flaml(learn: pd.DataFrame, labels: Any, about: dict[str, Any], deadline: float) -> tuple[Any, dict[str, Any]]:
    from flaml import AutoML  # noqa: PLC0415 - a peer's start is a part of its time, the others' is not

    automl = AutoML()
    task = "classification" if about["classes"] else "regression"
    left = max(1.0, deadline - time.monotonic())
    automl.fit(learn, labels, task=task, time_budget=left, n_jobs=1, seed=about["seed"], verbose=0)
    return automl, {"best": automl.best_estimator, "config": automl.best_config, "trials": automl.best_iteration}


def _lightgbm(learn: pd.DataFrame, labels: Any, about: dict[str, Any], _deadline: float) -> tuple[Any, dict[str, Any]]:
    import lightgbm  # noqa: PLC0415

    model = lightgbm.LGBMClassifier if about["classes"] else lightgbm.LGBMRegressor
    return model(n_jobs=1, verbose=-1).fit(learn, labels), {}


def _hist(learn: pd.DataFrame, labels: Any, about: dict[str, Any], _deadline: float) -> tuple[Any, dict[str, Any]]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor  # noqa: PLC0415

    model = HistGradientBoostingClassifier if about["classes"] else HistGradientBoostingRegressor
    return model(random_state=about["seed"]).fit(learn, labels), {}  # categories by the columns' types, its default


def _linear(learn: pd.DataFrame, labels: Any, about: dict[str, Any], _deadline: float) -> tuple[Any, dict[str, Any]]:
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.linear_model import LogisticRegression, Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    kinds = {kind: [c["name"] for c in about["columns"] if (c["type"] == "category") == kind] for kind in (True, False)}
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = ColumnTransformer(
        [("n", numbers, kinds[False]), ("c", OneHotEncoder(handle_unknown="ignore"), kinds[True])]
    )
    estimator = LogisticRegression(max_iter=1000) if about["classes"] else Ridge()
    return make_pipeline(encoder, estimator).fit(learn, labels), {}


_METHODS = {"flaml": _flaml, "lightgbm": _lightgbm, "sklearn-boosting": _hist, "sklearn-linear": _linear}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])))
