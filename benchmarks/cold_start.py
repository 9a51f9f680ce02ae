"""Cold starts under Lambda's runtime interface emulator, one row, alias and model from S3; and warm ones.

A round starts the emulator for each function in turn and times its first invocation: Lambda starts Python only then.
The functions: ours from the folder that ``services/predictor/package.py`` makes; one that does nothing; the same trees
through ONNX Runtime; as many of scikit-learn's through joblib (benchmarks/functions). S3 and SQS are the embedded
stack's emulator. Ours alone checks the row, writes the prediction log to SQS and waits for it. Figures are medians.
Beside them stands what the same first answer takes of a processor, without the emulator, as the system counts it: the
figure that other work on the machine changes least.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from trainyard.adapters.aws.clients import AwsClients
from trainyard.adapters.aws.ensure import AwsSetup
from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.config import load
from trainyard.model import Number, Pipeline, with_golden
from trainyard.schema import Column, Schema
from trainyard.testing.emulator import AwsEmulator
from trainyard.testing.models import sample_model
from trainyard.testing.processes import end, free_port, wait_until
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_trainer.learning.trees import export

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainyard.model import Model

ROUNDS = 9
WARM = 300
#: Golden rows, as many as a trainer keeps.
GOLDEN = 8
COLUMNS = [f"x{n:02}" for n in range(30)]
#: What the product promises: a start in times of the empty function's, and as many times faster than a peer's.
MOST_OF_EMPTY, LEAST_OF_ONNX, LEAST_OF_JOBLIB = 2.0, 2.0, 10.0
MOST_WARM_MS = 0.3
_STATE = Path(".state").resolve()
_TASK, _EMULATOR, _PEERS = _STATE / "lambda/task", _STATE / "lambda/rie", _STATE / "peers/bin/python"
_FUNCTIONS = Path(__file__).with_name("functions")
_PEERS_PACKAGES = _PEERS.parent.parent / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
#: name -> (interpreter, handler)
FUNCTIONS = {
    "empty": (_PEERS, "empty_function.handle"),
    "trainyard": (_PEERS, "trainyard_predictor.aws_lambda.handle"),
    "onnxruntime": (_PEERS, "onnx_function.handle"),
    "scikit-learn + joblib": (_PEERS, "joblib_function.handle"),
}


def run() -> dict[str, Any]:
    """Measure, print the table and return its figures."""
    rng = np.random.default_rng(3)
    row = dict(zip(COLUMNS, np.round(rng.normal(size=30), 4).tolist(), strict=True))
    event = {"path": "/v1/predict/trees", "headers": {"content-type": "application/json"}, "body": {"rows": [row]}}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _fit(folder, rng)
        emulator = AwsEmulator(folder / "aws")
        emulator.start()
        try:
            config = load(emulator.environment)
            named = {"TRAINYARD_BUCKET": config.bucket}
            environment = {**os.environ, **emulator.environment, **named}
            _publish(folder, environment, row)
            # as a deployment names it: a name would have to be looked up first
            environment["TRAINYARD_QUEUE_PREDICTIONS"] = f"{emulator.endpoint}/000000000000/{config.queue_predictions}"
            first, warm = _rounds(environment, event)
            work = _work(environment, event)
            inside = _inside(environment, event)
        finally:
            emulator.stop()
    return _table(first, warm, work, inside)


def _fit(folder: Path, rng: np.random.Generator) -> None:
    x = rng.normal(size=(20_000, 30)).astype(np.float32).astype(np.float64)
    np.save(folder / "fit_x", x)
    np.save(folder / "fit_y", x @ rng.normal(size=30) + np.sin(2 * x[:, 0]) * x[:, 1] + rng.normal(size=len(x)))
    subprocess.run(
        [str(_PEERS), str(_FUNCTIONS / "fit.py"), name := str(folder)],
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
        cwd=name,
    )


def _model(folder: Path, row: dict[str, float]) -> Model:
    rng = np.random.default_rng(4)
    booster = lightgbm.Booster(model_file=folder / "model.txt")
    trees = export(booster, booster.num_trees(), "regression", np.zeros(1))
    pipeline = Pipeline(tuple(Number(column, impute=None) for column in COLUMNS), trees)
    schema = Schema([Column(name, "float") for name in COLUMNS])
    bare = replace(sample_model(task="regression"), name="trees", schema=schema, pipeline=pipeline, golden=None)
    rows = [row, *(dict(zip(COLUMNS, rng.normal(size=len(COLUMNS)).tolist(), strict=True)) for _ in range(GOLDEN - 1))]
    return with_golden(bare, rows)


def _publish(folder: Path, environment: dict[str, str], row: dict[str, float]) -> None:
    """Put every model and its pointer into the bucket."""
    config = load(environment)
    access = {"access_key": environment["AWS_ACCESS_KEY_ID"], "secret_key": environment["AWS_SECRET_ACCESS_KEY"]}
    clients = AwsClients(config, **access)
    AwsSetup(clients, config).ensure()
    blobs = S3Blobs(clients.s3, config.bucket)
    point_alias(blobs, publish_version(blobs, _model(folder, row), 1), seq=1)
    for name in ("onnx", "joblib"):
        blobs.put(f"peers/{name}/model", (folder / f"model.{name}").read_bytes())
        blobs.put(f"peers/{name}/pointer", f"peers/{name}/model".encode())
    clients.close()


def _rounds(environment: dict[str, str], event: Any) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the milliseconds of the first invocation in each round, and the median of the warm ones, by function."""
    first: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    warm: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    for number in range(ROUNDS + 1):
        for name in FUNCTIONS:
            with _started(name, environment) as port:
                times = [_invoke(port, event) for _ in range(1 + (WARM if number == 1 else 0))]
            if number:  # the first round brings the files into memory
                first[name].append(times[0])
                warm[name] += times[1:]
    return first, warm


@contextmanager
def _started(name: str, environment: dict[str, str]) -> Iterator[int]:
    """Run the emulator with a function, and give the port to invoke it on."""
    python, handler = FUNCTIONS[name]
    port, api = free_port(), free_port()
    addresses = [
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{api}",
    ]
    process = subprocess.Popen(
        [str(_EMULATOR), *addresses, str(python), "-m", "awslambdaric", handler],
        env={**environment, **_settings(name)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _listens(port), f"the emulator of {name}")
        yield port
    finally:
        end(process)


def _listens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.connect()
    except ConnectionRefusedError:
        return False
    finally:
        connection.close()
    return True


def _invoke(port: int, event: Any) -> float:
    """Return the milliseconds of one invocation, which must succeed."""
    body = json.dumps(event)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    began = time.perf_counter()
    connection.request("POST", "/2015-03-31/functions/function/invocations", body)
    answer = json.loads(connection.getresponse().read())
    took = time.perf_counter() - began
    connection.close()
    assert answer.get("statusCode") == 200, answer
    return took * 1e3


def _settings(name: str) -> dict[str, str]:
    """Return the environment of a function; ours has packages without their helpers of tests, which the peers need."""
    theirs = [] if name in ("empty", "trainyard") else [_PEERS_PACKAGES]
    path = os.pathsep.join(map(str, (*theirs, _TASK, _FUNCTIONS)))
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}


def _work(environment: dict[str, str], event: Any) -> dict[str, list[float]]:
    """Return the processor's milliseconds of an interpreter from its start to its first answer, by function."""
    work: dict[str, list[float]] = {name: [] for name in FUNCTIONS}
    for _ in range(ROUNDS):
        for name, (python, handler) in FUNCTIONS.items():
            command = [str(python), str(_FUNCTIONS / "alone.py"), handler, json.dumps(event)]
            environ = {**environment, **_settings(name)}
            process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0, name
            work[name].append((usage.ru_utime + usage.ru_stime) * 1e3)
    return work


def _inside(environment: dict[str, str], event: Any) -> dict[str, float]:
    """Return what benchmarks/functions/inside.py measures."""
    command = [str(_PEERS), str(_FUNCTIONS / "inside.py"), json.dumps(event)]
    environ = {**environment, "PYTHONPATH": str(_TASK), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _ratios(times: dict[str, list[float]]) -> dict[str, float]:
    """Return ours in times of each, the median of the rounds."""
    return {
        name: statistics.median(ours / theirs for ours, theirs in zip(times["trainyard"], own, strict=True))
        for name, own in times.items()
    }


def _table(
    first: dict[str, list[float]],
    warm: dict[str, list[float]],
    work: dict[str, list[float]],
    inside: dict[str, float],
) -> dict[str, Any]:
    starts = {name: statistics.median(times) for name, times in first.items()}
    worked = {name: statistics.median(times) for name, times in work.items()}
    ratios, work_ratios = _ratios(first), _ratios(work)
    print(f"   {'function':24}{'first ms':>10}{'ours / it':>11}{'work ms':>9}{'ours / it':>11}{'warm ms':>9}")
    for name, start in starts.items():
        print(
            f"   {name:24}{start:>10.1f}{ratios[name]:>11.2f}{worked[name]:>9.1f}{work_ratios[name]:>11.2f}"
            f"{statistics.median(warm[name]):>9.2f}"
        )
    print(
        f"   from event to answer {inside['before']:.3f} ms of the processor "
        f"({inside['after']:.3f} once numpy is there), and {inside['log']:.2f} ms until the queue has the log"
    )
    print(
        f"   promised: at most {MOST_OF_EMPTY:g} of empty, {1 / LEAST_OF_ONNX:g} of onnxruntime, "
        f"{1 / LEAST_OF_JOBLIB:g} of scikit-learn; {MOST_WARM_MS:g} ms from event to answer"
    )
    return {"first_ms": starts, "ratio": ratios, "work_ms": worked, "work_ratio": work_ratios, "inside_ms": inside}
