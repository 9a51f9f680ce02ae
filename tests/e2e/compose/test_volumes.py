"""What the volumes are for: sessions and large artifacts outlive their containers, and a backup outlives all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import requests
from botocore.exceptions import BotoCoreError, ClientError
from conftest import COLUMNS
from roads import QUICK, requests_ended

from trainyard.model import Dense, Lineage, Model, NeuralNetwork, Number, Pipeline, encode, with_golden
from trainyard.schema import Column, Schema
from trainyard_client.cli.exits import Exit

pytestmark = pytest.mark.timeout(900)

ROWS = [{"age": age, "income": 5000.0, "city": city} for age in (20, 45, 70) for city in ("Bern", "Genf", None)]
#: what the compose file keeps in the database at most
MOST_COPY_BYTES = 16 << 20


def test_every_target_of_prometheus_is_up(stack):
    """It finds each service behind the one address, and knows the alert rules."""
    api = f"http://127.0.0.1:{stack.ports['PROMETHEUS']}/api/v1"

    def healths():
        active = requests.get(f"{api}/targets", timeout=10).json()["data"]["activeTargets"]
        return {target["labels"]["job"]: target["health"] for target in active}

    wanted = dict.fromkeys(("ingest", "scheduler", "predictor", "console"), "up")
    stack.wait_until(lambda: healths() == wanted, seconds=30, what="four targets that are up")
    groups = requests.get(f"{api}/rules", timeout=10).json()["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert rules
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}


def test_who_was_signed_in_is_so_when_the_console_comes_back(stack):
    """A session is a file of the console's volume."""
    url, browser = stack.ready["url"], requests.Session()
    key = stack.session.headers["Authorization"].removeprefix("Bearer ")
    signed_in = browser.post(f"{url}/sign-in", data={"key": key}, timeout=30)
    assert signed_in.ok
    assert not signed_in.url.startswith(f"{url}/sign-in")
    stack.kill_child("console")
    page = browser.get(f"{url}/models", timeout=30)
    assert (page.status_code, page.url) == (200, f"{url}/models")
    assert requests.get(f"{url}/models", timeout=30).url.startswith(f"{url}/sign-in"), "a stranger is asked who it is"


def test_what_is_too_large_for_the_database_comes_back_from_the_volume(stack):
    """LocalStack forgets an artifact whose copy only the scheduler's volume has: it is put back and answers."""
    columns = [{"name": "income", "type": "float"}, {"name": "bought", "type": "bool", "role": "label"}]
    stack.call("PUT", "/v1/datasets/heavy", json={"columns": columns})
    stack.call("PUT", "/v1/models/heavy", json={"dataset": "heavy", "label": "bought", "policy": QUICK})
    data = _heavy_model()
    assert len(data) > MOST_COPY_BYTES
    kind = {"Content-Type": "application/vnd.trainyard.model"}
    version = stack.call("POST", "/v1/models/heavy/versions", data=data, headers=kind, expect=201)
    stack.call("PUT", "/v1/models/heavy/aliases/champion", json={"version": version["version"]})
    worker = stack.containers()["scheduler-worker"]
    stack.wait_until(
        lambda: version["sha256"] in worker.exec_run(["ls", "/var/lib/trainyard/copies"]).output.decode(),
        seconds=30,
        what="a copy in the volume",
    )
    asked = [{"income": 1.0}, {"income": None}]
    answer = stack.wait_until(lambda: stack.answers("heavy", asked), seconds=20, what="an answer by the large model")
    stack.kill_child("localstack")
    stack.wait_until(lambda: _stored(stack, version["artifact_key"]) == data, seconds=60, what="the artifact again")
    stack.kill_child("predictor")  # the next one has nothing in memory
    again = stack.wait_until(lambda: stack.answers("heavy", asked), seconds=30, what="an answer after the loss")
    assert again == answer
    stack.recovered(seconds=240)


def test_a_backup_brings_everything_into_new_volumes(stack, shoppers, tmp_path):
    """All volumes are lost; what the backup saw is there again, answers the same, and the doctor is content."""
    stack.call("PUT", "/v1/datasets/moving", json={"columns": COLUMNS}, expect=201)
    stack.call("PUT", "/v1/models/moves", json={"dataset": "moving", "label": "bought", "policy": QUICK}, expect=201)
    stack.call("POST", "/v1/datasets/moving/rows", json={"rows": shoppers.rows(800)}, expect=201)
    stack.call("POST", "/v1/models/moves/requests", json={}, expect=201)
    stack.wait_until(lambda: requests_ended(stack, ["moves"]), seconds=120, what="an ended request")
    answer = stack.wait_until(lambda: stack.answers("moves", ROWS), seconds=20, what="an answer by its version")
    versions = stack.items("/v1/models/moves/versions")
    file = tmp_path / "monday.trainyard"
    code, out, err = _command(stack, "backup", file, "--json")
    assert code == Exit.OK, err
    assert json.loads(out)["missing"] == {}
    assert _command(stack, "restore", file)[0] != Exit.OK, "a stack that runs is left alone"

    stack.stop()
    stack.start()
    services = sorted(set(stack.containers()) - {"postgres", "localstack", "secrets", "setup", "router", "prometheus"})
    stack.run("stop", *services)
    code, out, err = _command(stack, "restore", file)
    assert code == Exit.OK, err
    stack.start()
    moved = stack.wait_until(lambda: stack.answers("moves", ROWS), seconds=60, what="an answer in the new volumes")
    assert moved == answer
    assert stack.items("/v1/models/moves/versions") == versions
    stack.recovered(seconds=240)
    batch = stack.call("POST", "/v1/datasets/moving/rows", json={"rows": shoppers.rows(10)}, expect=201)
    assert batch["first_seq"] == 801, "it goes on where it was"


def _heavy_model() -> bytes:
    """Return a model file of a network that is larger than what the database takes."""
    rng, units = np.random.default_rng(1), 2100
    sizes = (1, units, units, 1)
    activations = ("tanh", "tanh", "identity")
    layers = tuple(
        Dense(rng.normal(size=(sizes[i], sizes[i + 1])) / 50, np.zeros(sizes[i + 1]), activations[i]) for i in range(3)
    )
    lineage = Lineage("heavy", 0, 0, "0" * 64, {"imported": {"library": "elsewhere"}}, "0", 0, {})
    pipeline = Pipeline((Number("income", 0.0),), NeuralNetwork(layers, "sigmoid", np.zeros(1)))
    bare = Model("heavy", "binary", Schema([Column("income", "float")]), pipeline, (False, True), lineage)
    return encode(with_golden(bare, [{"income": 1.0}, {"income": None}]))


def _stored(stack, key):
    try:
        return stack.outside("s3").get_object(Bucket=stack.ready["bucket"], Key=key)["Body"].read()
    except (ClientError, BotoCoreError):
        return None


def _command(stack, *arguments):
    """Run `trainyard` on the stack's own database and bucket, as docs/backup.md says."""
    password = stack.compose.exec_in_container(["cat", "/secrets/database/password"], "postgres")[0].strip()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TRAINYARD_"))},
        "TRAINYARD_DATABASE_URL": f"postgresql://trainyard:{password}@127.0.0.1:{stack.ports['POSTGRES']}/trainyard",
        "AWS_ENDPOINT_URL": stack.ready["aws_endpoint_url"],
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }
    words = [sys.executable, "-m", "trainyard_client.main", *map(str, arguments)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    return done.returncode, done.stdout, done.stderr
