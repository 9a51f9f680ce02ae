"""One run of ours: ``ours.py CASE OUT DEADLINE``: the trainer's own path on ``OUT/job``, answers by its artifact.

DEADLINE is a reading of the monotonic clock, by which the process shall have ended.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from trainyard.adapters.postgres.studies import OptunaStudy
from trainyard.model import Predictor, decode
from trainyard.policy import Policy
from trainyard_trainer import workdir
from trainyard_trainer.child import work

#: What the test, the encoding and the answers need after the search: a share of the budget and seconds beside.
_RESERVE_SHARE = 0.04
_RESERVE_SECONDS = 0.5


def main(case: Path, out: Path, deadline: float) -> int:
    """Train within the time that is left, answer, and leave both in ``out``."""
    job = out / "job"
    described = workdir.read_json(job, workdir.JOB)
    left = deadline - time.monotonic()
    described["settings"]["budget_seconds"] = max(1.0, left * (1 - _RESERVE_SHARE) - _RESERVE_SECONDS)
    workdir.write_json(job, workdir.JOB, described)
    policy = Policy.from_dict(described["settings"])
    study = OptunaStudy(optuna.create_study(), policy.seed, policy.metric)
    code = work(job, lambda _: None, study)
    if code:
        sys.stderr.write((job / workdir.ERROR).read_text())
        return code
    report = workdir.read_json(job, workdir.REPORT)
    model = decode((job / workdir.ARTIFACT).read_bytes())
    about = json.loads((case / "case.json").read_text())
    given = Predictor(model).predict_columns(_asked(case, about))
    answers = given
    if about["classes"]:
        answers = np.zeros((len(given), len(about["classes"])))
        answers[:, [about["classes"].index(name) for name in model.classes]] = given
    said = {
        "choice": model.lineage.configuration["choice"],
        "trials": report["trials"],
        "budget_hit": report["budget_hit"],
        "bytes": (job / workdir.ARTIFACT).stat().st_size,
    }
    (out / "said.json").write_text(json.dumps(said))
    np.save(out / "partial.npy", answers)
    (out / "partial.npy").rename(out / "answers.npy")
    return 0


def _asked(case: Path, about: dict[str, Any]) -> dict[str, Any]:
    columns = {}
    for number, column in enumerate(about["columns"]):
        values = np.load(case / "ask" / f"{number}.npy")
        if column["type"] == "category":
            values = np.array([*column["levels"], *column["more"], None], dtype=object)[values]
        columns[column["name"]] = values
    return columns


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])))
