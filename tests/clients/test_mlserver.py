"""MLServer's client, in an environment of its own (`make clients`), works unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.model import Predictor
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.testing.emulator import Emulator
    from trainyard.testing.serving import Server

HERE = Path(__file__).parent
BIN = HERE.parents[1] / ".state" / "clients" / "bin"
MODEL = sample_model("blend", "multiclass", seed=1)
ROWS = sample_rows(30, seed=3)
#: Columns that are Python objects in a frame, and what stands for a missing value of each.
OBJECTS = {
    "carrier": "AA",
    "remark": "",
    "day": "2013-01-01",
    "planned": "2013-01-01T00:00:00+00:00",
    "holiday": False,
}


@pytest.fixture(scope="module")
def server(aws: Emulator, aws_clients: AwsClients, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One predictor for all tests of this file."""
    with serving(MODEL, aws, aws_clients, tmp_path_factory.mktemp("spool")) as running:
        yield running


def test_its_pandas_codec_there_and_back(server: Server) -> None:
    """A frame with missing numbers is encoded by it (missing objects are beyond it), and it makes one of the answer."""
    rows = [{**row, **{name: filled(row[name], other) for name, other in OBJECTS.items()}} for row in ROWS]
    line = [str(BIN / "python"), str(HERE / "with_mlserver.py"), f"http://{server.address}", server.key]
    done = subprocess.run(line, input=json.dumps(rows), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    for row, one in zip(json.loads(done.stdout), Predictor(MODEL).predict(rows), strict=True):
        assert row["prediction"] == one.prediction
        assert {name: row[f"probability.{name}"] for name in one.probabilities or {}} == one.probabilities


@pytest.mark.parametrize("batch", [1, 4])
def test_its_inference_command(server: Server, tmp_path: Path, batch: int) -> None:
    """`mlserver infer` sends each row as a request, or several as one and splits what comes back."""
    asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
    asked.write_text("\n".join(json.dumps(one_request(row, str(number))) for number, row in enumerate(ROWS)))
    line = [
        str(BIN / "mlserver"), "infer", "-u", server.address, "-m", "flights", "-i", str(asked), "-o", str(answered),
        "-s", str(batch), "-w", "1", "-H", f"Authorization: Bearer {server.key}",
    ]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(text) for text in answered.read_text().splitlines()]
    assert len(found) == len(ROWS), done.stderr
    expected = Predictor(MODEL).predict([{**dict.fromkeys(row), "distance": distance_of(row)} for row in ROWS])
    for answer, one in zip(sorted(found, key=number_of), expected, strict=True):
        values = {tensor["name"]: tensor["data"] for tensor in answer["outputs"]}
        assert values["prediction"] == [one.prediction]
        assert one.probabilities is not None
        assert all(values[f"probability.{name}"] == [share] for name, share in one.probabilities.items())


def one_request(row: dict[str, Any], ident: str) -> dict[str, Any]:
    """Return a request of one row and one column, which is how the command can merge several."""
    data = [distance_of(row)]
    return {"id": ident, "inputs": [{"name": "distance", "shape": [1, 1], "datatype": "FP64", "data": data}]}


def distance_of(row: dict[str, Any]) -> float:
    """Return a distance for every row: the command makes numbers of numpy, which have no null."""
    return float(row["distance"] or 0.0)


def number_of(answer: dict[str, Any]) -> int:
    """Return the number of the request that an answer belongs to."""
    return int(answer["id"])


def filled(value: Any, other: Any) -> Any:
    """Return the value, or another where it is missing."""
    return other if value is None else value
