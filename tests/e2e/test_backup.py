"""A running stack moves to another data directory, by `trainyard backup` and `trainyard restore`."""

from __future__ import annotations

import json
import subprocess
import sys

from conftest import COLUMNS
from stack import wait_until

from trainyard_client.cli.exits import Exit

POLICY = {"min_new_rows": None, "budget_trials": 2, "seed": 1, "gate": {"min_rows": 100}}
ROWS = [{"age": age, "income": 5000.0, "city": city} for age in (20, 45, 70) for city in ("Bern", "Genf", None)]


def command(stack, *arguments):
    """Run `trainyard` in the stack's environment; return exit code, output and errors."""
    words = [sys.executable, "-m", "trainyard_client.main", *map(str, arguments)]
    done = subprocess.run(words, env=stack.environment, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr


def test_a_stack_moves(stack, elsewhere, shoppers, tmp_path):
    """Rows, versions, aliases, history and keys are there, it predicts the same, and the doctor is content."""
    stack.call("PUT", "/v1/datasets/moving", json={"columns": COLUMNS}, expect=201)
    stack.call("PUT", "/v1/models/moves", json={"dataset": "moving", "label": "bought", "policy": POLICY}, expect=201)
    stack.call("POST", "/v1/datasets/moving/rows", json={"rows": shoppers.rows(800)}, expect=201)
    stack.call("POST", "/v1/models/moves/requests", json={}, expect=201)
    wait_until(lambda: _champion(stack), seconds=120, what="a champion")
    answer = wait_until(lambda: stack.answers("moves", ROWS), seconds=20, what="an answer by it")

    file = tmp_path / "monday.trainyard"
    code, out, err = command(stack, "backup", file, "--json")
    assert code == Exit.OK, err
    assert json.loads(out)["missing"] == {}
    assert file.stat().st_mode & 0o777 == 0o600
    assert command(stack, "restore", file)[0] == Exit.IN_USE, "a stack that runs is left alone"
    versions = stack.items("/v1/models/moves/versions")
    deployments = stack.items("/v1/models/moves/deployments")

    _killed_at_work(elsewhere, file)
    code, out, err = command(elsewhere, "restore", file)
    assert code == Exit.OK, err
    elsewhere.start()
    assert elsewhere.session.headers == stack.session.headers, "the admin's key is the one of the backup"
    moved = wait_until(lambda: elsewhere.answers("moves", ROWS), seconds=30, what="an answer in the other place")
    assert moved == answer
    assert elsewhere.items("/v1/models/moves/versions") == versions
    assert elsewhere.items("/v1/models/moves/deployments") == deployments
    assert elsewhere.call("GET", "/v1/datasets/moving")["rows"] == stack.call("GET", "/v1/datasets/moving")["rows"]
    elsewhere.recovered()
    batch = elsewhere.call("POST", "/v1/datasets/moving/rows", json={"rows": shoppers.rows(10)}, expect=201)
    assert batch["first_seq"] == 801, "it goes on where it was"


def _killed_at_work(stack, file):
    """kill -9 a restore as soon as it works on the database."""
    words = [sys.executable, "-m", "trainyard_client.main", "restore", str(file)]
    process = subprocess.Popen(words, env=stack.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ready = stack.data_dir / "run" / "ready.json"
    wait_until(lambda: ready.exists() or process.poll() is not None, seconds=60, what="a restore at work")
    process.kill()
    process.wait(10)


def _champion(stack):
    return [a for a in stack.items("/v1/models/moves/aliases") if a["name"] == "champion"]
