"""The command line and the SDK against a whole stack: files in, what became of them, and where the rest is."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys

import pandas as pd
import pytest
from conftest import COLUMNS, as_csv

from trainyard_client import Client
from trainyard_client.cli.exits import Exit


@pytest.fixture
def trainyard(stack):
    """Run `trainyard` as a user of the stack's data directory would; return exit code, output and errors."""

    def call(*arguments, stdin=None):
        done = subprocess.run(
            [sys.executable, "-m", "trainyard_client.main", *map(str, arguments)],
            env=stack.environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return call


@pytest.fixture
def client(stack):
    """The SDK, with the admin's key."""
    with Client(stack.ready["url"], stack.session.headers["Authorization"].removeprefix("Bearer ")) as client:
        yield client


def test_files_in_and_what_became_of_them(stack, trainyard, shoppers, tmp_path):
    """From a sample to a dataset, files to batches, the same file to the same batch, lost rows into a file."""
    good, lossy = tmp_path / "good.csv", tmp_path / "lossy.csv"
    good.write_bytes(as_csv(shoppers.rows(400)))
    rows = as_csv(shoppers.rows(200))
    lossy.write_bytes(rows + b'9001,=1+1,5.5,Bern,2026-01-01T00:00:00Z,true\n9002,"-2x",,,,\n')
    options = ("--key", "id", "--label", "bought", "--time", "seen_at")
    code, out, err = trainyard("dataset", "create", "cli", "--like", good, *options)
    assert (code, err) == (Exit.OK, ""), err
    assert "event_time" in out

    code, out, err = trainyard("ingest", "cli", good, lossy, "--json")
    assert code == Exit.OK, err
    first, second = json.loads(out)
    assert (first["rows"], second["rows"], second["rejected"]) == (400, 200, 2)
    code, out, err = trainyard("ingest", "cli", good)
    assert code == Exit.OK
    assert f"already ingested as batch {first['id']}" in err
    code, out, err = trainyard("ingest", "cli", "-", "--format", "csv", stdin=rows)
    assert (code, "200" in out) == (Exit.OK, True)

    file = tmp_path / "lost.csv"
    code, out, err = trainyard("rejects", second["id"], "-o", file)
    assert code == Exit.OK, err
    with file.open(newline="") as lost:
        found = list(csv.DictReader(lost))
    assert [(row["row"], row["column"], row["got"]) for row in found] == [
        ("201", "age", "'=1+1"),
        ("202", "age", "'-2x"),
    ]
    code, out, err = trainyard("batches", "cli", "--watch")
    assert code == Exit.OK, err
    assert all(batch in out for batch in (first["id"], second["id"]))
    code, out, _ = trainyard("batches", "cli", second["id"])
    assert (code, f"trainyard rejects {second['id']}" in out) == (Exit.OK, True)


def test_a_refusal(stack, trainyard, tmp_path):
    """The first problems are shown by row and column, and nothing is stored."""
    stack.call("PUT", "/v1/datasets/refusing", json={"columns": COLUMNS})
    file = tmp_path / "bad.ndjson"
    file.write_text('{"id": 1, "age": "old"}\n')
    code, out, err = trainyard("ingest", "refusing", file)
    assert (code, out) == (Exit.REFUSED, "")
    for said in ("age", "old", "nothing was stored", "trainyard dataset show refusing"):
        assert said in err
    assert stack.items("/v1/datasets/refusing/batches") == []


def test_the_sdk_takes_frames_rows_and_packed_files(stack, client, shoppers, tmp_path):
    """Each is a batch; a large one tells how far it is, from here and from the service."""
    client.create_dataset("sdk", COLUMNS)
    frame = pd.DataFrame(shoppers.rows(100))
    frame["seen_at"] = pd.to_datetime(frame["seen_at"])
    assert client.ingest("sdk", frame.astype({"age": "Int64"})).rows == 100
    assert client.ingest("sdk", iter(shoppers.rows(50))).rows == 50
    packed = tmp_path / "rows.csv.gz"
    packed.write_bytes(gzip.compress(as_csv(shoppers.rows(70))))
    assert client.ingest("sdk", packed).rows == 70

    large = as_csv(shoppers.rows(60_000))
    heard = []
    done = client.ingest("sdk", large, format="csv", progress=heard.append)
    assert (done.rows, done.known) == (60_000, False)
    assert heard[-1].bytes_sent == heard[-1].bytes_total == len(large)
    assert client.ingest("sdk", large, format="csv").known
    assert client.find_batch(done.id) == client.batch("sdk", done.id) == done.batch
    assert list(client.batches("sdk", state="loading")) == []
