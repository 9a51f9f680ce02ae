"""A function that starts from a snapshot: one process prepares it, and copies of that process go on from there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.serving_object import PREFIX
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard.testing.emulator import Emulator

#: Stands for the package of that name, which Lambda's runtime client asks what to call: its two documented functions.
HOOKS = """
before, after = [], []
register_before_snapshot, register_after_restore = before.append, after.append
"""
#: A snapshot, and two environments that start from it: copies of the process, as like each other as two forks.
PROGRAM = """
import json, os, stat, sys, threading
import snapshot_restore_py
from types import SimpleNamespace
from trainyard_predictor.aws_lambda import handle

context = SimpleNamespace(get_remaining_time_in_millis=lambda: 60_000)
for call in snapshot_restore_py.before:
    call()
opened = [f"/dev/fd/{fd}" for fd in os.listdir("/dev/fd")]
sockets = [fd for fd in opened if os.path.exists(fd) and stat.S_ISSOCK(os.stat(fd).st_mode)]
print(json.dumps({"sockets": len(sockets), "numpy": "numpy" in sys.modules}), flush=True)
sys.stdin.readline()
for _ in range(2):
    child = os.fork()
    if not child:
        for call in snapshot_restore_py.after:
            call()
        print(json.dumps(handle(json.loads(sys.argv[1]), context)), flush=True)
        for thread in threading.enumerate():
            if thread is not threading.current_thread():
                thread.join(20)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("ahead", [True, False])
def test_each_environment_is_a_process_of_its_own(
    aws: Emulator, aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup, tmp_path: Path, *, ahead: bool
) -> None:
    """No connection is in the snapshot; each copy connects, looks for moved aliases at once, and has its own ids.

    So the first answer of each is from the version that became champion after the snapshot, also where the one before
    is in it.
    """
    (tmp_path / "snapshot_restore_py.py").write_text(HOOKS)
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    first, second = (publish_version(blobs, sample_model(seed=version), version) for version in (1, 2))
    point_alias(blobs, first, seq=1)
    environ = {
        **os.environ,
        **aws.environment,
        "PYTHONPATH": str(tmp_path),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        "TRAINYARD_BUCKET": aws_config.bucket,
        "TRAINYARD_QUEUE_PREDICTIONS": aws_config.queue_predictions,
        **({"TRAINYARD_MODELS": "flights"} if ahead else {}),
    }
    event = {"path": "/v1/predict/flights", "body": {"rows": [dict(sample_model().golden.rows[0])]}}  # type: ignore[union-attr]
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, json.dumps(event)], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert _said(process.stdout.readline()) == {"sockets": 0, "numpy": True}
        point_alias(blobs, second, seq=2)
        process.stdin.write("\n")
        process.stdin.close()
        answers = [_said(line) for line in process.stdout]
    assert process.returncode == 0
    bodies = [json.loads(answer["body"]) for answer in answers]
    assert [body["version"] for body in bodies] == [2, 2]
    assert len({row["prediction_id"] for body in bodies for row in body["rows"]}) == 2
    assert len({answer["headers"]["x-request-id"] for answer in answers}) == 2
    assert len(list(blobs.list(PREFIX))) == 2, "each tells under a name of its own what it serves"


def _said(line: str) -> Any:
    return json.loads(line)
