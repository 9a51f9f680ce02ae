"""Clients that know nothing of us, against the predictor as `serve` starts it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import requests
import tritonclient.http as triton

from trainyard.model import Predictor
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.protocols import FORMS
from trainyard.testing.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.testing.emulator import Emulator
    from trainyard.testing.serving import Server

PAGE = Path(__file__).parents[3] / "docs" / "protocols.md"
ROWS = sample_rows(40, seed=3)
MODEL = sample_model("tree_ensemble", "multiclass", seed=1)
EXPECTED = Predictor(MODEL).predict(ROWS)


@pytest.fixture(scope="module")
def server(aws: Emulator, aws_clients: AwsClients, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One predictor for all tests of this file."""
    with serving(MODEL, aws, aws_clients, tmp_path_factory.mktemp("spool")) as running:
        yield running


def frame() -> pd.DataFrame:
    """Return the rows as pandas would have them, missing values included."""
    return pd.DataFrame(ROWS).astype({"seats": "Int64", "holiday": "boolean"})


def test_tritonclient_works_unchanged(server: Server) -> None:
    """Health, metadata, index, and inference in JSON and binary, compressed or not, with chosen outputs."""
    client = triton.InferenceServerClient(server.address)

    def infer(inputs: list[triton.InferInput], **more: Any) -> triton.InferResult:
        # it writes into the headers it is given
        return client.infer("flights", inputs, headers=server.headers, **more)

    how: dict[str, Any] = {"headers": server.headers}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("flights", **how)
    assert not client.is_model_ready("trains", **how)
    assert "binary_tensor_data" in client.get_server_metadata(**how)["extensions"]
    assert client.get_model_repository_index(**how)[0]["state"] == "READY"
    assert client.get_model_metadata("flights", "1", **how)["versions"] == ["1"]
    for binary, compression in ((True, None), (True, "gzip"), (False, "deflate")):
        inputs = triton_inputs(binary=binary)
        result = infer(inputs, request_id="mine", request_compression_algorithm=compression)
        assert result.get_response()["id"] == "mine"
        assert result.as_numpy("prediction").tolist() == [one.prediction.encode() for one in EXPECTED]
        check_probabilities(result)
        assert len(set(result.as_numpy("prediction_id").tolist())) == len(ROWS)
    wanted = [triton.InferRequestedOutput(f"probability.{name}", binary_data=name == "late") for name in MODEL.classes]
    result = infer(triton_inputs(binary=True), model_version="champion", outputs=wanted)
    check_probabilities(result)
    assert result.as_numpy("prediction") is None
    with pytest.raises(triton.InferenceServerException, match="no output 'y'"):
        infer(triton_inputs(binary=True), outputs=[triton.InferRequestedOutput("y")])
    client.close()


def triton_inputs(*, binary: bool) -> list[triton.InferInput]:
    """Return the rows' columns; where a text is missing the column is sent by hand, as it has no place in numpy."""
    inputs = []
    for column in MODEL.schema.features:
        values = [row[column.name] for row in ROWS]
        if column.type in ("bool", "int", "float") and None not in values:
            array = np.array(values)
        elif column.type in ("int", "float"):
            array = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        else:
            array = np.array(values, dtype=object)
        datatype = {"b": "BOOL", "i": "INT64", "f": "FP64"}.get(array.dtype.kind, "BYTES")
        tensor = triton.InferInput(column.name, [len(values)], "BOOL" if column.type == "bool" else datatype)
        if (None in values and array.dtype == object) or not binary:
            tensor._data, tensor._raw_data = values, None
        else:
            tensor.set_data_from_numpy(array, binary_data=True)
        inputs.append(tensor)
    return inputs


def check_probabilities(result: triton.InferResult) -> None:
    """Compare with the library, to the last bit."""
    for name in MODEL.classes:
        got = result.as_numpy(f"probability.{name}").tolist()
        assert got == [one.probabilities[name] for one in EXPECTED if one.probabilities]


def test_a_scorer_of_mlflow_works_unchanged(server: Server) -> None:
    """What pandas writes as JSON (split and records) and as CSV, posted as MLflow's clients do."""
    address = f"http://{server.address}/invocations"
    split = json.loads(frame().to_json(orient="split", index=False))
    records = json.loads(frame().to_json(orient="records"))
    for body in ({"dataframe_split": split}, {"dataframe_records": records}):
        answer = requests.post(address, json=body, headers=server.headers, timeout=20)
        assert answer.json() == {"predictions": [one.prediction for one in EXPECTED]}
    rows = frame().replace({"": None})
    text = rows.to_csv(index=False)
    media = {**server.headers, "Content-Type": "text/csv"}
    answer = requests.post(address, data=text.encode(), headers=media, timeout=20)
    expected = Predictor(MODEL).predict([{n: v if v != "" else None for n, v in row.items()} for row in ROWS])
    assert answer.json() == {"predictions": [one.prediction for one in expected]}


def test_every_form_is_answered_over_http(server: Server) -> None:
    """What the golden suite asks without HTTP goes through gunicorn and its headers too."""
    for form in FORMS:
        rows = [{n: None if v == "" and form.empty_is_missing else v for n, v in row.items()} for row in ROWS]
        asked = form.ask("flights@1", MODEL.schema.features, rows)
        address = f"http://{server.address}{asked.path}"
        answer = requests.post(address, data=asked.body, headers={**server.headers, **asked.headers}, timeout=20)
        assert answer.status_code == 200, (form.name, answer.text)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        got = form.read(headers, answer.content)
        assert got.predictions == [one.prediction for one in Predictor(MODEL).predict(rows)], form.name


def test_the_examples_of_the_page_run(server: Server) -> None:
    """Every `sh` block of docs/protocols.md is what curl sends, and succeeds."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    commands = "\n".join(blocks)
    assert commands.count("curl -sS --fail") == commands.count("curl") >= 9
    environment = {**os.environ, "URL": f"http://{server.address}", "KEY": server.key}
    shell = ["/bin/bash", "-euo", "pipefail", "-c", commands]
    done = subprocess.run(shell, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('"prediction') >= 5
