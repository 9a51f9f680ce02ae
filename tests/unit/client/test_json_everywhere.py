"""`--json` of every command: one document on standard output, and on standard error a JSON object in each line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_tree import COMMANDS
from fake_api import error, page

from trainyard.backup_file import About, Writer
from trainyard_client.cli import deploy
from trainyard_client.cli.exits import Exit
from trainyard_client.environments import Environment, Environments
from trainyard_embedded import commands
from trainyard_embedded.stack import Ready

DATASET = {"name": "shop", "rows": 1, "columns": [{"name": "x", "type": "float", "role": "feature", "nullable": True}]}
MODEL = {"name": "buys", "dataset": "shop", "label": "y", "task": "binary", "policy": {}}
VERSION = {"version": 3, "request_id": "q1", "passed": True, "gate": {}, "metrics": {}}
ALIAS = {"name": "champion", "version": 3, "seq": 1, "weight": None}
BATCH = {"id": "b1", "dataset": "shop", "state": "committed", "rows": 1, "rejected": 0}
SOURCE = {"name": "orders", "state": "idle", "schedule": None, "last_pull": None}
REQUEST = {"id": "q1", "model": "buys", "state": "queued", "attempt": 1, "reproduces": 3}
RUN = {"id": "r1", "request_id": "q1", "trials": []}
JOB = {"id": "j1", "state": "running", "rows": 0, "error": None}
ANSWER = {"prediction": True, "probabilities": {"true": 1.0}, "prediction_id": "p1"}
LOGGED = {
    "id": "p1",
    "version": 3,
    "predicted_at": "2026-01-01T00:00:00+00:00",
    "inputs": {},
    "output": {"prediction": True},
}
ANSWERS: dict[tuple[str, str], Any] = {
    ("GET", "/v1/datasets"): page(DATASET),
    ("GET", "/v1/datasets/shop"): DATASET,
    ("PUT", "/v1/datasets/shop"): DATASET,
    ("DELETE", "/v1/datasets/shop"): (204, None),
    ("DELETE", "/v1/datasets/shop/rows"): {"erased_rows": 1, "erasure_id": "e1", "not_reproducible": []},
    ("GET", "/v1/datasets/shop/profile"): {"rows": 1, "columns": {}},
    ("POST", "/v1/datasets/shop/rows"): (201, BATCH),
    ("GET", "/v1/datasets/shop/batches"): page(BATCH),
    ("GET", "/v1/datasets/shop/batches/b1/rejects"): page(),
    ("GET", "/v1/batches/b1"): BATCH,
    ("GET", "/v1/datasets/shop/sources"): page(SOURCE),
    ("GET", "/v1/datasets/shop/sources/orders"): SOURCE,
    ("PUT", "/v1/datasets/shop/sources/orders"): SOURCE,
    ("DELETE", "/v1/datasets/shop/sources/orders"): (204, None),
    ("POST", "/v1/datasets/shop/sources/orders/pull"): SOURCE,
    ("GET", "/v1/models"): page(MODEL),
    ("GET", "/v1/models/buys"): MODEL,
    ("PUT", "/v1/models/buys"): MODEL,
    ("DELETE", "/v1/models/buys"): (204, None),
    ("GET", "/v1/models/buys/decisions"): page(),
    ("GET", "/v1/models/buys/requests"): page(REQUEST),
    ("POST", "/v1/models/buys/requests"): REQUEST,
    ("GET", "/v1/requests/r1/explain"): {"sentence": "it waits", "state": "queued"},
    ("POST", "/v1/requests/q1/cancel"): {**REQUEST, "state": "cancelled"},
    ("GET", "/v1/runs"): page(RUN),
    ("GET", "/v1/runs/r1"): RUN,
    ("POST", "/v1/runs/r1/reproduce"): REQUEST,
    ("GET", "/v1/models/buys/versions"): page(VERSION),
    ("POST", "/v1/models/buys/versions/3/approve"): VERSION,
    ("GET", "/v1/models/buys/versions/3/report"): (200, b'{"report": null}', {"Content-Type": "text/markdown"}),
    ("GET", "/v1/models/buys/aliases"): page(ALIAS),
    ("GET", "/v1/models/buys/aliases/champion"): ALIAS,
    ("PUT", "/v1/models/buys/aliases/champion"): ALIAS,
    ("POST", "/v1/models/buys/rollback"): ALIAS,
    ("GET", "/v1/models/buys/deployments"): {**page(), "serving": []},
    ("GET", "/v1/models/buys/quality"): {"windows": []},
    ("POST", "/v1/predict/buys"): {"model": "buys", "version": 3, "rows": [ANSWER]},
    ("GET", "/v1/predictions"): page(LOGGED),
    ("POST", "/v1/feedback"): {"accepted": 1, "parked": 0},
    ("GET", "/v1/batch-jobs"): page(JOB),
    ("GET", "/v1/batch-jobs/j1"): JOB,
    ("DELETE", "/v1/batch-jobs/j1"): JOB,
    ("GET", "/v1/queues"): {"queues": []},
    ("GET", "/v1/queues/training/dead"): page(),
    ("POST", "/v1/queues/dlq/redrive"): {"moved": 0, "left": 0, "kept": 0, "background": False},
    ("GET", "/v1/fleet"): {"instances": []},
    ("GET", "/v1/costs"): {"days": []},
    ("GET", "/v1/keys"): page(),
    ("POST", "/v1/keys"): {"id": "k1", "key": "ty_new"},
    ("DELETE", "/v1/keys/k1"): (204, None),
    ("GET", "/v1/doctor"): {"healthy": True, "state": "passed", "checks": []},
    ("GET", "/v1/trace/t1"): {"nodes": []},
    ("GET", "/v1/serving"): {"items": []},
}
#: A command line of every command; {csv}, {labels}, {schema} and {backup} are files.
LINES = {
    "up": "--detach",
    "down": "",
    "status": "",
    "console": "",
    "restore": "--check {backup}",
    "dataset create": "shop --schema {schema}",
    "dataset update": "shop --retention-days 3",
    "dataset list": "",
    "dataset show": "shop",
    "dataset profile": "shop",
    "dataset delete": "shop --yes",
    "dataset erase": "shop --key 1 --yes",
    "ingest": "shop {csv}",
    "batches": "shop",
    "rejects": "b1",
    "source add": "shop orders --from https://example.com/late.csv",
    "source list": "shop",
    "source show": "shop orders",
    "source delete": "shop orders",
    "source pull": "shop orders",
    "model create": "buys --dataset shop --label y",
    "model list": "",
    "model show": "buys",
    "model delete": "buys",
    "decisions": "buys",
    "run explain": "r1",
    "run show": "r1",
    "run reproduce": "r1",
    "run cancel": "r1",
    "train": "buys",
    "requests": "buys",
    "runs": "buys",
    "versions": "buys",
    "promote": "buys 3",
    "rollback": "buys",
    "history": "buys",
    "version approve": "buys 3",
    "version report": "buys 3",
    "version card": "buys 3",
    "alias set": "buys champion 3",
    "alias list": "buys",
    "predict": "buys {csv}",
    "predictions": "buys",
    "feedback": "buys {labels}",
    "quality": "buys",
    "batch list": "",
    "batch show": "j1",
    "batch cancel": "j1",
    "queue show": "",
    "queue dlq": "",
    "queue redrive": "",
    "fleet": "",
    "costs": "",
    "key create": "reader",
    "key list": "",
    "key revoke": "k1",
    "doctor": "",
    "trace": "t1",
    "env add": "test --url http://trainyard.test",
    "env list": "",
    "env use": "prod",
    "env remove": "prod",
    "completion": "bash",
    "deploy plan": "--costs-only",
    "deploy apply": "--list-steps",
    "deploy destroy": "--yes",
    "deploy tunnel": "",
}
#: What needs more than a fake service; the named test runs it with --json.
ELSEWHERE = {
    "backup": "tests/e2e/test_backup.py",
    "demo": "tests/e2e/test_demo.py",
    "model import": "tests/unit/client/test_import_command.py",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The files that command lines name."""
    (tmp_path / "rows.csv").write_text("x\n1.5\n")
    (tmp_path / "labels.csv").write_text("prediction_id,label\np1,true\n")
    (tmp_path / "schema.json").write_text(json.dumps({"columns": DATASET["columns"]}))
    with (tmp_path / "monday").open("wb") as file:
        Writer(file, About("0" * 32, "0.1.0", "0001", "2026-01-01T00:00:00+00:00", 0, 0)).end({})
    named = {"csv": "rows.csv", "labels": "labels.csv", "schema": "schema.json", "backup": "monday"}
    return {name: str(tmp_path / file) for name, file in named.items()}


@pytest.fixture
def surroundings(api: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A service that knows every route, a local stack that is ready, an account that does as it is told."""
    for (method, path), answer in ANSWERS.items():
        api.on(method, path, answer)
    Environments(tmp_path / "config").put(Environment("prod", url="http://prod.test"))
    key = tmp_path / "admin.key"
    key.write_text("ty_admin\n")
    ready = Ready(
        pid=1,
        url="http://127.0.0.1:8080",
        data_dir=str(tmp_path),
        logs_dir=str(tmp_path),
        admin_key_file=str(key),
        database_url="postgresql+psycopg2://u:p@127.0.0.1/t",
        aws_endpoint_url="http://127.0.0.1:4566",
        aws_region="us-east-1",
        bucket="trainyard",
        ports={},
    )
    monkeypatch.setattr(commands, "up", lambda *_, on_ready, **__: on_ready(ready) or 0)
    monkeypatch.setattr(commands, "down", lambda _: 0)
    monkeypatch.setattr(commands, "status", lambda _: commands.Status(True, 1, ready, {}))
    target = SimpleNamespace(instance="i-1", place=SimpleNamespace(region="eu-west-1"))
    monkeypatch.setattr(deploy, "_target", lambda *_: target)
    monkeypatch.setattr("trainyard_deploy.commands.destroy", lambda *_, **__: None)
    monkeypatch.setattr("trainyard_deploy.tunnel.command", lambda *_: ["echo", "Starting session"])


def test_the_table_is_of_all_commands() -> None:
    """Whoever adds a command adds its line; what is tested elsewhere is tested there with --json."""
    assert LINES.keys() | ELSEWHERE.keys() == COMMANDS.keys()
    root = Path(__file__).parents[3]
    for name, test in ELSEWHERE.items():
        text = (root / test).read_text(encoding="utf-8")
        assert "--json" in text or "as_json" in text, name


@pytest.mark.parametrize("name", LINES)
def test_standard_output_is_one_document(trainyard: Any, surroundings: None, files: dict[str, str], name: str) -> None:
    """Whatever a command says to people, a program reads one document, and notes as objects."""
    done = trainyard(*name.split(), *LINES[name].format(**files).split(), "--json")
    assert done.code == Exit.OK, done.err
    json.loads(done.out)
    for line in done.err.splitlines():
        assert json.loads(line).keys() == {"note"}, line


@pytest.mark.parametrize("name", LINES)
def test_wrong_use_is_an_object(trainyard: Any, name: str) -> None:
    """What cannot even be read as a command line ends with 2, and with the same object as every other error."""
    done = trainyard(*name.split(), "--no-such-option", "--json")
    assert (done.code, done.out) == (Exit.USAGE, "")
    said = json.loads(done.err)["error"]
    assert said["code"] == "usage"
    assert "--no-such-option" in said["message"]
    assert said["hint"] == f"how it is called: trainyard {name} --help"


@pytest.mark.parametrize("name", [name for name in LINES if "api_key" in {p.name for p in COMMANDS[name].params}])
def test_what_a_service_refuses_is_an_object(trainyard: Any, api: Any, files: dict[str, str], name: str) -> None:
    """A key without the scope: standard output stays empty, the exit code names the kind, the hint says what to do."""
    for method, path in ANSWERS:
        api.on(method, path, (403, error("wrong_scope", "the key may not")))
    done = trainyard(*name.split(), *LINES[name].format(**files).split(), "--json")
    assert (done.code, done.out) == (Exit.DENIED, "")
    said = json.loads(done.err.splitlines()[-1])["error"]
    assert said["code"] == "wrong_scope"
    assert "trainyard key create" in said["hint"]


def test_settings_that_cannot_be_are_an_object(trainyard: Any) -> None:
    """A variable that holds nonsense is told as any other error, with the page that says what it takes."""
    done = trainyard("model", "list", "--json", TRAINYARD_ROUTER_PORT="many")
    assert (done.code, done.out) == (Exit.USAGE, "")
    assert "TRAINYARD_ROUTER_PORT" in json.loads(done.err)["error"]["message"]
