"""Batch jobs from the command line and the SDK, against the predictor itself."""

from __future__ import annotations

import gzip
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter

from trainyard.clock import ManualClock
from trainyard.testing.models import sample_rows
from trainyard_client.cli import frame
from trainyard_client.client import Client
from trainyard_client.errors import ApiError, MisuseError, WaitTimeoutError
from trainyard_client.main import run
from trainyard_predictor import lambda_bootstrap
from trainyard_predictor.handler import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import World

URL = "http://trainyard.test"
LINES = [json.dumps(row) for row in sample_rows(30)]


class Wire(BaseAdapter):
    """Carries requests to a predictor's handler."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._handler = world.service.handler

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Answer the request."""
        parts = urlsplit(str(request.url))
        body: Any = request.body or b""
        data = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else _all_of(body)
        headers = {**{name.lower(): value for name, value in request.headers.items()}, "host": "localhost"}
        answer = self._handler.handle(Request(str(request.method), unquote(parts.path), parts.query, headers, data))
        response = requests.Response()
        response.status_code, response.raw = answer.status, io.BytesIO(answer.body)
        response.headers.update(answer.headers)
        response.url, response.request = str(request.url), request
        return response

    def close(self) -> None:
        """Close nothing."""


def _all_of(body: Any) -> bytes:
    if hasattr(body, "read"):
        return bytes(body.read())
    return b"".join(body)


class WorkingClock(ManualClock):
    """Whoever waits lets the worker have its turn."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self._work = work

    def sleep(self, seconds: float) -> None:
        """Work, then let the time pass."""
        self._work()
        super().sleep(seconds)


@pytest.fixture
def client(world: World) -> Client:
    """A client of a predictor with a worker."""
    function = lambda_bootstrap.build(
        world.config, {}, blobs=world.blobs, queue=world.queue, batch_queue=world.batch_queue, clock=world.clock
    )
    session = requests.Session()
    session.mount("http://", Wire(world))
    return Client(URL, world.key, clock=WorkingClock(lambda: function.handle({"batch_look": True})), session=session)


@pytest.fixture
def trainyard(
    client: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str]]:
    """Run a command line of `trainyard`; return exit code and what it printed."""
    monkeypatch.setattr(frame, "Client", lambda url, key, **_: client)
    monkeypatch.setattr(client, "close", lambda: None)

    def call(*arguments: str) -> tuple[int, str]:
        environ = {"TRAINYARD_DATA_DIR": str(tmp_path / "none"), "TRAINYARD_URL": URL, "TRAINYARD_API_KEY": "x"}
        code = run(arguments, environ)
        captured = capsys.readouterr()
        return int(code), captured.out + captured.err

    return call


def test_predict_batch_writes_the_scored_file(trainyard: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """A packed file is sent, waited for and fetched; bad lines are told of and can be fetched, too."""
    path, out, bad = tmp_path / "day.ndjson.gz", tmp_path / "out.ndjson", tmp_path / "bad.ndjson"
    path.write_bytes(gzip.compress("\n".join([*LINES, "no row"]).encode()))
    code, said = trainyard("predict", "flights", str(path), "--batch", "-o", str(out))
    assert code == 0, said
    assert "30 rows are scored" in said
    assert "1 lines are not" in said
    assert [json.loads(line)["input"] for line in out.read_text().splitlines()] == list(map(json.loads, LINES))
    code, said = trainyard("batch", "list", "--json")
    (job,) = json.loads(said)
    assert (code, job["state"], job["input_bytes"]) == (0, "done", path.stat().st_size)
    assert trainyard("batch", "show", job["id"], "--rejects", str(bad))[0] == 0
    assert json.loads(bad.read_text())["line"] == 31
    assert trainyard("batch", "cancel", job["id"])[0] == 4


def test_without_an_output_it_only_sends(trainyard: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """The job's id is told; the job can be ended."""
    path = tmp_path / "day.ndjson"
    path.write_text("\n".join(LINES))
    code, said = trainyard("predict", "flights", str(path), "--batch", "--json")
    job = json.loads(said)
    assert (code, job["state"]) == (0, "queued")
    assert "cancelled" in trainyard("batch", "cancel", job["id"])[1]
    assert trainyard("batch", "show", job["id"], "-o", str(tmp_path / "x"))[0] != 0
    assert trainyard("batch", "show", "bj_000000000000000000000")[0] == 5


def test_a_job_that_fails_says_why(trainyard: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Exit code 1 and the reason."""
    path = tmp_path / "day.csv"
    path.write_bytes(b"\xff\n")
    code, said = trainyard("predict", "flights", str(path), "--batch", "-o", str(tmp_path / "out.csv"))
    assert code == 1
    assert "line 1 is no header" in said
    assert not (tmp_path / "out.csv").exists()


def test_wrong_use(trainyard: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    """Nothing is sent."""
    (tmp_path / "day.parquet").write_bytes(b"PAR1")
    assert trainyard("predict", "flights", str(tmp_path / "day.parquet"), "--batch")[0] == 2
    assert trainyard("predict", "flights", str(tmp_path / "none.csv"), "--batch")[0] == 2
    assert trainyard("predict", "flights", str(tmp_path / "day.csv"), "--batch", "--explain")[0] == 2


def test_the_sdk(client: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, objects, the same key twice, output in pieces, a wait that ends too soon."""
    sent: list[tuple[int, int | None]] = []
    job = client.score_batch(
        "flights", map(json.loads, LINES), version=1, key="k", progress=lambda *at: sent.append(at)
    )
    assert sent[-1][0] == sent[-1][1] == job["input_bytes"]
    assert client.score_batch("flights", map(json.loads, LINES), version=1, key="k")["id"] == job["id"]
    with pytest.raises(WaitTimeoutError):
        client.wait_batch_job(job["id"], seconds=0)
    job = client.wait_batch_job(job["id"], seconds=60)
    monkeypatch.setattr("trainyard_client.areas.batch_jobs._PIECE_BYTES", 1_000)
    output = b"".join(client.batch_output(job))
    assert len(output) == job["output_bytes"] > 5_000
    assert [json.loads(line)["row"] for line in output.splitlines()] == list(range(1, 31))
    assert b"".join(client.batch_rejects(job)) == b""
    world.blobs.put("batch/in/flights/day.ndjson", "\n".join(LINES).encode())
    other = client.score_object("flights", "batch/in/flights/day.ndjson", log_share=0.5)
    assert other["log_share"] == 0.5
    assert next(one["id"] for one in client.batch_jobs("flights")) in {job["id"], other["id"]}
    with pytest.raises(MisuseError, match="not scored in batches"):
        client.score_batch("flights", b"[]", format="json")
    with pytest.raises(ApiError, match="no model"):
        client.score_batch("nobody", b"x", format="csv")
