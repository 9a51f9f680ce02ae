"""Committed files: every golden model gives its old answers for ever, every hostile one is refused by its code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainyard.errors import ArtifactError
from trainyard.model import Predictor, decode, encode, self_test
from trainyard.model.codes import CODES
from trainyard.model.wire import VERSIONS
from trainyard.testing.models import ESTIMATORS, TASKS

HERE = Path(__file__).parent
MODELS = sorted((HERE / "models").glob("*.msgpack"))
HOSTILE = sorted((HERE / "hostile").glob("v*/*.bin"))


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_golden_models_answer_as_on_their_first_day(path: Path) -> None:
    """A released file decodes, passes its self-test, encodes to the same bytes and gives the committed answers."""
    data = path.read_bytes()
    model = decode(data)
    self_test(model)
    assert encode(model) == data
    lines = [json.loads(line) for line in path.with_suffix(".ndjson").read_text(encoding="utf-8").splitlines()]
    answers = Predictor(model).predict([line["row"] for line in lines])
    for line, answer in zip(lines, answers, strict=True):
        if model.classes:
            assert answer.prediction == line["prediction"]
            assert answer.probabilities == pytest.approx(line["probabilities"], abs=1e-12)
        else:
            assert answer.prediction == pytest.approx(line["prediction"], abs=1e-12, rel=1e-12)


@pytest.mark.parametrize("path", HOSTILE, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_hostile_files_are_refused_with_their_code(path: Path) -> None:
    """Each wrong file raises ArtifactError with exactly the code in its name, and nothing else."""
    with pytest.raises(ArtifactError) as caught:
        self_test(decode(path.read_bytes()))
    assert caught.value.code == path.stem.split("--")[0]


def test_every_code_has_a_hostile_file() -> None:
    """No error code without an example; too_large would need 256 MiB and is tested with a lowered limit."""
    assert {p.stem.split("--")[0] for p in HOSTILE} == set(CODES) - {"too_large"}


def test_there_is_a_golden_model_for_every_kind() -> None:
    """Every estimator is there for every task, in every version of the format."""
    names = {p.stem for p in MODELS}
    for version in VERSIONS:
        assert {f"v{version}-{estimator}-{task}" for estimator in ESTIMATORS for task in TASKS} <= names
