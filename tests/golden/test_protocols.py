"""Every protocol answers every golden model with exactly the numbers of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.clock import ManualClock
from trainyard.config import load
from trainyard.model import Predictor, decode
from trainyard.testing.fakes.blobs import MemoryBlobs
from trainyard.testing.fakes.queue import MemoryQueue
from trainyard.testing.protocols import FORMS, Form
from trainyard.testing.publishing import point_alias, publish_key, publish_version
from trainyard_predictor import bootstrap
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.model import Model

MODELS = sorted((Path(__file__).parent / "models").glob("*.msgpack"))


class Served:
    """A predictor in which each golden model is a version of its own of one model."""

    def __init__(self, spool: Path) -> None:
        blobs = MemoryBlobs()
        clock = ManualClock()
        config = load({"TRAINYARD_SPOOL_DIR": str(spool)})
        self.models: dict[str, tuple[int, Model]] = {}
        for version, path in enumerate(MODELS, start=1):
            model = decode(path.read_bytes())
            point_alias(blobs, publish_version(blobs, model, version), seq=version)
            self.models[path.stem] = version, model
        self.headers = {"host": "localhost", "authorization": f"Bearer {publish_key(blobs, 'predict')}"}
        self.service = bootstrap.build(config, blobs=blobs, queue=MemoryQueue(clock), clock=clock)
        self.service.background.refresh()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One predictor for all tests of this file."""
    made = Served(tmp_path_factory.mktemp("spool"))
    yield made
    made.service.spool.close()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("name", [path.stem for path in MODELS])
def test_every_form_gives_the_numbers_of_the_library(served: Served, name: str, form: Form) -> None:
    """Predictions, and probabilities where the form has them, are equal to the last bit, in the order of the rows."""
    version, model = served.models[name]
    lines = (Path(__file__).parent / "models" / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line)["row"] for line in lines]
    if form.empty_is_missing:
        rows = [{column: None if value == "" else value for column, value in row.items()} for row in rows]
    expected = Predictor(model).predict(rows)
    asked = form.ask(f"{model.name}@{version}", model.schema.features, rows)
    response = served.service.handler.handle(
        Request("POST", asked.path, "", {**served.headers, **asked.headers}, asked.body)
    )
    assert response.status == 200, response.body
    assert response.headers["x-trainyard-version"] == str(version)
    got = form.read({key.lower(): value for key, value in response.headers.items()}, response.body)
    assert got.predictions == [one.prediction for one in expected]
    if got.probabilities is not None:
        assert got.probabilities == [one.probabilities for one in expected]
