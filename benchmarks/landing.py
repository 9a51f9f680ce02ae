"""Files that the AWS CLI puts into the bucket, on a whole embedded stack: the command's end -> rows in the ledger.

The object exists when `aws s3 cp` ends, and its notification is on its way; from then on the clock runs, to the first
answer of the HTTP API that has the batch. It is asked every 20 ms. The command itself is in a column of its own: most
of it is the start of Python.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.e2e.stack import Stack, wait_until

from benchmarks import flights

#: The wait, from the command's end, that the project allows itself.
LIMIT_SECONDS = 5.0
ROUNDS = 5
SMALL_ROWS = 300
#: So many times the flights make a file of more than 100 MB.
TIMES = 4


def run() -> list[dict[str, Any]]:
    """Measure, print the table and return its rows."""
    header, body = flights.rows()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [
            flights.write_csv(folder / "small.csv", header, body[:SMALL_ROWS]),
            flights.write_csv(folder / "flights.csv", header, body),
            flights.write_csv(folder / "large.csv", header, body, times=TIMES),
        ]
        counts = [SMALL_ROWS, len(body), TIMES * len(body)]
        stack = Stack(folder / "data")
        stack.start()
        try:
            stack.call("PUT", "/v1/datasets/flights", json={"columns": flights.schema(header)})
            rows = [_measure(stack, file, count) for file, count in zip(files, counts, strict=True)]
        finally:
            stack.stop()
    print(
        f"   {'':<14}{'rows':>11}{'MB':>7}{'command s':>11}{'median s':>10}{'worst s':>9}{'limit s':>9}"
        f"{'worst / limit':>15}"
    )
    for row in rows:
        print(
            f"   {row['file']:<14}{row['rows']:>11,}{row['mb']:>7.1f}{row['command']:>11.2f}{row['median']:>10.2f}"
            f"{row['worst']:>9.2f}{row['limit']:>9.0f}{row['worst'] / row['limit']:>15.2f}"
        )
    return rows


def _measure(stack: Stack, file: Path, count: int) -> dict[str, Any]:
    """Send the file as often as there are rounds, each time under another name."""
    commands, waits = [], []
    for number in range(ROUNDS):
        key = f"landing/flights/{number}/{file.name}"
        began = time.monotonic()
        _copy(stack, file, key)
        sent = time.monotonic()
        batch = wait_until(lambda key=key: _batch(stack, key), seconds=120, what=f"the batch of {key}", every=0.02)
        waits.append(time.monotonic() - sent)
        commands.append(sent - began)
        if (batch["state"], batch["rows"]) != ("committed", count):
            raise AssertionError(f"{key} became {batch}")
    return {
        "file": file.name,
        "rows": count,
        "mb": file.stat().st_size / 1e6,
        "command": statistics.median(commands),
        "median": statistics.median(waits),
        "worst": max(waits),
        "limit": LIMIT_SECONDS,
        "rounds": ROUNDS,
    }


def _copy(stack: Stack, file: Path, key: str) -> None:
    command = [str(Path(sys.executable).parent / "aws"), "--endpoint-url", stack.ready["aws_endpoint_url"]]
    surroundings = {
        "PATH": os.environ["PATH"],
        "HOME": str(file.parent),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    target = f"s3://{stack.ready['bucket']}/{key}"
    subprocess.run([*command, "s3", "cp", str(file), target, "--only-show-errors"], env=surroundings, check=True)


def _batch(stack: Stack, key: str) -> dict[str, Any] | None:
    newest = stack.call("GET", "/v1/datasets/flights/batches?limit=1")["items"]
    return newest[0] if newest and newest[0]["source_name"] == key else None
