"""Files put into the bucket by a stranger's tool become rows, and strangers' tools read them: aws, psql, pandas."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa
from conftest import COLUMNS, as_csv
from stack import wait_until

from trainyard.testing.postgres import binaries

AWS = Path(sys.executable).parent / "aws"
PLAIN = [{"name": "id", "type": "int"}, {"name": "note", "type": "text"}]
LARGE_ROWS = 100_000


def _aws_copy(stack, file, key):
    """Do what a user does: ``aws --endpoint-url … s3 cp file s3://…``."""
    endpoint = stack.ready["aws_endpoint_url"]
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(file.parent),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    target = f"s3://{stack.ready['bucket']}/{key}"
    command = [str(AWS), "--endpoint-url", endpoint, "s3", "cp", str(file), target, "--no-progress"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr


def _arrived(stack, dataset, key):
    """Wait until the file is in the ledger; return its batch."""

    def found():
        return next((b for b in stack.items(f"/v1/datasets/{dataset}/batches") if b["source_name"] == key), None)

    return wait_until(found, seconds=60, what=f"the batch of {key}")


def test_a_small_file(stack, shoppers, tmp_path):
    """A CSV file that `aws s3 cp` uploads is one committed batch."""
    stack.call("PUT", "/v1/datasets/landed", json={"columns": COLUMNS})
    file = tmp_path / "january.csv"
    file.write_bytes(as_csv(shoppers.rows(300)))
    _aws_copy(stack, file, "landing/landed/2026/january.csv")
    batch = _arrived(stack, "landed", "landing/landed/2026/january.csv")
    assert (batch["state"], batch["rows"], batch["rejected"]) == ("committed", 300, 0)


def test_a_file_in_parts(stack, tmp_path):
    """100 MB go up in parts, so their ETag is no hash and has a dash; the file is one batch, whole."""
    stack.call("PUT", "/v1/datasets/parts", json={"columns": PLAIN})
    file = tmp_path / "large.csv"
    with file.open("wb") as out:
        out.write(b"id,note\n")
        out.writelines(b"%d,%s\n" % (number, b"x" * 1000) for number in range(LARGE_ROWS))
    assert file.stat().st_size > 100_000_000
    _aws_copy(stack, file, "landing/parts/large.csv")
    head = stack.outside("s3").head_object(Bucket=stack.ready["bucket"], Key="landing/parts/large.csv")
    assert "-" in head["ETag"]
    batch = _arrived(stack, "parts", "landing/parts/large.csv")
    assert (batch["state"], batch["rows"], batch["last_seq"]) == ("committed", LARGE_ROWS, LARGE_ROWS)
    assert len(stack.items("/v1/datasets/parts/batches")) == 1


@pytest.fixture(scope="module")
def corrected(stack):
    """A dataset whose second batch corrects a row of the first."""
    columns = [{"name": "id", "type": "int", "role": "key", "nullable": False}, *PLAIN[1:]]
    stack.call("PUT", "/v1/datasets/corrected", json={"columns": columns})
    for body in (b"id,note\n1,first\n2,second\n", b"id,note\n1,corrected\n"):
        headers = {"Content-Type": "text/csv"}
        stack.call("POST", "/v1/datasets/corrected/rows", data=body, headers=headers)
    return sa.make_url(stack.ready["database_url"])


def test_psql_reads_the_view(corrected):
    """`data.<dataset>` has the columns by their names and the latest row of each key."""
    url = corrected.set(drivername="postgresql").render_as_string(hide_password=False)
    query = "SELECT id, note FROM data.corrected ORDER BY id"
    done = subprocess.run(
        [str(binaries() / "psql"), "--no-psqlrc", "--csv", "--command", query, url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "id,note\n1,corrected\n2,second\n"), done.stderr


def test_pandas_reads_the_view(corrected):
    """So does `pandas.read_sql`."""
    engine = sa.create_engine(corrected)
    try:
        frame = pd.read_sql("SELECT id, note FROM data.corrected ORDER BY id", engine)
    finally:
        engine.dispose()
    assert frame.to_dict("list") == {"id": [1, 2], "note": ["corrected", "second"]}
