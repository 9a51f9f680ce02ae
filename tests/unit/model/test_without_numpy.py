"""A process that has not imported numpy answers its first rows without it, and to the same bits."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from trainyard.model import Isotonic, Model, Platt, Predictor, Temperature, decode, encode
from trainyard.model.batches import Batches
from trainyard.model.elementary import cosine_of, sine_of
from trainyard.model.elementary_arrays import cosine, sine
from trainyard.model.inference import WORTH_NUMPY
from trainyard.model.single import Single, can_answer
from trainyard.testing.models import ESTIMATORS, SCHEMA, TASKS, sample_model, sample_rows

if TYPE_CHECKING:
    from pathlib import Path

KINDS = [(estimator, task) for estimator in ESTIMATORS for task in TASKS if estimator != "neural_network"]
#: Decodes a model, tests it and answers rows; prints the answers and whether numpy was imported before and after many.
CHILD = """
import json, sys
from pathlib import Path
from trainyard.model import Predictor, decode
model = decode(Path(sys.argv[1]).read_bytes())
predictor = Predictor(model)
predictor.self_test()
rows = json.loads(Path(sys.argv[2]).read_text())
answers = [predictor.predict([row])[0] for row in rows]
few = "numpy" in sys.modules
predictor.predict(rows * int(sys.argv[3]))
print(json.dumps([[a.prediction, a.probabilities] for a in answers]), few, "numpy" in sys.modules, sep="\\n")
"""


def clean_columns(n: int, seed: int) -> dict[str, list[Any]]:
    """Return clean columns of sample rows."""
    clean, problems = SCHEMA.check_rows(sample_rows(n, seed), columns=SCHEMA.features)
    assert not problems
    return {c.name: [row[c.name] for row in clean if row is not None] for c in SCHEMA.features}


@pytest.mark.parametrize(("estimator", "task"), KINDS)
def test_rows_alone_give_the_bits_of_a_batch(estimator: str, task: str) -> None:
    """Every step, estimator and output: plain Python says what numpy says, of unusual values too."""
    model = sample_model(estimator, task, seed=3)
    columns = clean_columns(200, 4)
    columns["distance"][:6] = [0.0, -0.0, 1e300, -1e300, 5e-324, -2.5]
    columns["seats"][:6] = [0, -1, 2**63 - 1, -(2**63), 1, 0]
    assert Single(model).outputs(columns, 200) == Batches(model).outputs(columns, 200).tolist()


@pytest.mark.parametrize(
    "calibration", [Temperature(0.3), Platt(2.0, -0.5), Isotonic([0.1, 0.4, 0.8], [0.0, 0.5, 0.5])], ids=repr
)
def test_calibrations_give_the_same_bits(calibration: Any) -> None:
    """Each kind of calibration, in plain Python and in numpy."""
    model = replace(sample_model("tree_ensemble"), calibration=calibration)
    columns = clean_columns(200, 5)
    assert Single(model).outputs(columns, 200) == Batches(model).outputs(columns, 200).tolist()


def asked_in_another_process(model: Model, folder: Path, repeated: int) -> list[Any]:
    """Return the answers to twenty rows, and whether numpy was there after them and after them ``repeated`` times."""
    (folder / "model").write_bytes(encode(model))
    (folder / "rows").write_text(json.dumps(sample_rows(20, 6)), encoding="utf-8")
    command = [sys.executable, "-c", CHILD, str(folder / "model"), str(folder / "rows"), str(repeated)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [json.loads(told[0]), *(line == "True" for line in told[1:])]


@pytest.mark.parametrize("estimator", ["linear", "tree_ensemble", "blend"])
def test_numpy_is_not_imported_for_a_few_rows(estimator: str, tmp_path: Path) -> None:
    """Decoding, the self-test and some rows go without numpy; from many rows on it is worth its import."""
    model = sample_model(estimator, "multiclass")
    here = [[a.prediction, a.probabilities] for a in Predictor(decode(encode(model))).predict(sample_rows(20, 6))]
    assert asked_in_another_process(model, tmp_path, 1) == [here, False, False]
    assert asked_in_another_process(model, tmp_path, WORTH_NUMPY // 20) == [here, False, True]


def test_networks_take_numpy() -> None:
    """A network is no case for plain Python."""
    assert [can_answer(sample_model(kind)) for kind in ESTIMATORS] == [True, False, True, True]


def test_sines_of_turns_are_right_and_the_same() -> None:
    """Within two units in the last place of the machine's own, with the same bits one by one; quarters are exact."""
    turns = np.linspace(0.0, 1.0, 4_001)
    for ours, one, theirs in ((sine, sine_of, np.sin), (cosine, cosine_of, np.cos)):
        given = ours(turns)
        assert given.tolist() == [one(turn) for turn in turns.tolist()]
        np.testing.assert_allclose(given, theirs(2 * np.pi * turns), atol=4e-16)
    assert [sine_of(q / 4) for q in range(5)] == [0.0, 1.0, 0.0, -1.0, 0.0]
    assert [cosine_of(q / 4) for q in range(5)] == [1.0, 0.0, -1.0, 0.0, 1.0]
