"""Which servers there are, how each is started, asked and read."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainyard.testing.processes import PREDICTOR, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    Rows = Sequence[Mapping[str, float]]

APPS = Path(__file__).with_name("apps")
_STATE = Path(".state").resolve()
PEERS, MLSERVER = _STATE / "peers-http/bin", _STATE / "peers-mlserver/bin"
OURS = "trainyard"
#: The same rows in the binary form of the Open Inference Protocol v2, as Triton's clients send them.
BINARY = "trainyard (v2 binary)"
#: It has no model: what Flask costs by itself.
LIMIT = "flask, one dot product"
RUNTIME = "fastapi + onnxruntime"
#: The same with a key, names, ids and a log, which ours has and no other peer.
DUTIES = f"{RUNTIME} + duties"
#: Single precision is as near as this.
_TOLERANCE = 1e-4


#: What stands before the tensor, filled with blanks, so that its length is the same for any number of rows.
_HEAD_BYTES = 400


def _as_tensor(table: npt.NDArray[np.float64]) -> bytes:
    """Return a request of one tensor that asks for binary outputs."""
    data = table.astype("<f8").tobytes()
    tensor = {"name": "x", "shape": list(table.shape), "datatype": "FP64"}
    asked = {
        "inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}],
        "parameters": {"binary_data_output": True},
    }
    return json.dumps(asked).encode().ljust(_HEAD_BYTES) + data


def _first_tensor(answer: bytes) -> list[float]:
    """Return the first output of an answer, which is FP64."""
    said, at = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    size = said["outputs"][0]["parameters"]["binary_data_size"]
    return list(np.frombuffer(answer[at : at + size], "<f8"))


def _as_lists(rows: Rows) -> Any:
    return {"x": [list(row.values()) for row in rows]}


@dataclass(frozen=True)
class Server:
    """One server.

    Attributes:
        command: the command line for a port and the folder with the models.
        path: where predictions are asked for.
        body: the request for rows, before it becomes JSON.
        values: the predictions in an answer.
        pack, unpack: from what is asked to bytes, and from bytes to what is answered.
        environment: variables of its own.
        headers: of each request.
    """

    command: Callable[[int, Path], Sequence[str]]
    path: str = "/predict"
    body: Callable[[Rows], Any] = _as_lists
    values: Callable[[Any], Any] = lambda answer: answer["y"]
    pack: Callable[[Any], bytes] = lambda body: json.dumps(body).encode()
    unpack: Callable[[bytes], Any] = json.loads
    environment: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, rows: Rows) -> bytes:
        """Return the body that asks for rows."""
        return self.pack(self.body(rows))

    def agrees(self, answer: bytes, expected: Sequence[float]) -> bool:
        """Tell whether an answer holds what is expected."""
        found = self.values(self.unpack(answer))
        return len(found) == len(expected) and all(
            abs(a - b) <= _TOLERANCE * max(1.0, abs(b)) for a, b in zip(found, expected, strict=True)
        )


def servers(environment: Mapping[str, str], key: str) -> dict[str, Server]:
    """Return all servers by name; ours with the environment of its bucket and a key for it."""
    quiet = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PATH": f"{PEERS}{os.pathsep}{os.environ['PATH']}",
        "DO_NOT_TRACK": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
        "PYTHONWARNINGS": "ignore",
    }
    two = ("--workers", "2")
    flask = ("-m", "gunicorn", "--chdir", str(APPS), *two, "--threads", "8")
    return {
        OURS: Server(
            lambda port, _: [sys.executable, "-m", *PREDICTOR, *two, "--bind", f"127.0.0.1:{port}"],
            "/v1/predict/trees",
            lambda rows: {"rows": rows},
            lambda answer: [row["prediction"] for row in answer["rows"]],
            environment={**environment, "OMP_NUM_THREADS": "1"},
            headers={"Authorization": f"Bearer {key}"},
        ),
        BINARY: Server(
            lambda port, _: [sys.executable, "-m", *PREDICTOR, *two, "--bind", f"127.0.0.1:{port}"],
            "/v2/models/trees/infer",
            lambda rows: np.array([list(row.values()) for row in rows]),
            lambda predictions: predictions,
            _as_tensor,
            _first_tensor,
            {**environment, "OMP_NUM_THREADS": "1", "TRAINYARD_SPOOL_DIR": f"{environment['TRAINYARD_SPOOL_DIR']}-2"},
            {"Authorization": f"Bearer {key}", "Inference-Header-Content-Length": str(_HEAD_BYTES)},
        ),
        RUNTIME: Server(
            lambda port, _: [
                str(PEERS / "uvicorn"), "--app-dir", str(APPS), "--host", "127.0.0.1", "--port", str(port),
                *two, "--no-access-log", "fastapi_app:app",
            ],
            environment=quiet,
        ),
        DUTIES: Server(
            lambda port, _: [
                str(PEERS / "uvicorn"), "--app-dir", str(APPS), "--host", "127.0.0.1", "--port", str(port),
                *two, "--no-access-log", "fastapi_duties_app:app",
            ],
            "/predict",
            lambda rows: {"rows": rows},
            lambda answer: [row["prediction"] for row in answer["rows"]],
            environment={**quiet, "API_KEY": key},
            headers={"Authorization": f"Bearer {key}"},
        ),
        LIMIT: Server(
            lambda port, _: [str(PEERS / "python"), *flask, "--bind", f"127.0.0.1:{port}", "flask_app:app"],
            "/dot",
            environment=quiet,
        ),
        "flask + scikit-learn": Server(
            lambda port, _: [str(PEERS / "python"), *flask, "--bind", f"127.0.0.1:{port}", "flask_app:app"],
            environment=quiet,
        ),
        "litserve": Server(
            lambda port, _: [str(PEERS / "python"), str(APPS / "litserve_app.py"), str(port)], environment=quiet
        ),
        "bentoml": Server(
            lambda port, _: [
                str(PEERS / "bentoml"), "serve", "bento_app:Forest", "--working-dir", str(APPS),
                "--host", "127.0.0.1", "--port", str(port),
            ],
            values=lambda answer: answer,
            environment=quiet,
        ),
        "mlserver": Server(
            lambda port, folder: [str(MLSERVER / "mlserver"), "start", str(_mlserver(port, folder))],
            "/v2/models/trees/infer",
            lambda rows: {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [len(rows), len(rows[0])],
                        "datatype": "FP64",
                        "data": [value for row in rows for value in row.values()],
                    }
                ]
            },
            lambda answer: answer["outputs"][0]["data"],
            environment={**quiet, "PATH": f"{MLSERVER}{os.pathsep}{os.environ['PATH']}"},
        ),
        "mlflow": Server(
            lambda port, folder: [
                str(PEERS / "mlflow"), "models", "serve", "--model-uri", str(folder / "mlflow"),
                "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), *two,
            ],
            "/invocations",
            lambda rows: {"inputs": [list(row.values()) for row in rows]},
            lambda answer: answer["predictions"],
            environment=quiet,
        ),
    }  # fmt: skip


def _mlserver(port: int, folder: Path) -> Path:
    """Write MLServer's settings, and return their folder."""
    home = folder / "mlserver"
    home.mkdir()
    grpc, metrics = free_ports(2)
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics}
    (home / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 2, "debug": False}))
    model = {
        "name": "trees",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(folder / "model.joblib")},
    }
    (home / "model-settings.json").write_text(json.dumps(model))
    return home
