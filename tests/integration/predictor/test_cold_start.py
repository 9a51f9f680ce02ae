"""What a function has imported when its first row is answered: each of these was on the road once, or could be."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from trainyard.adapters.aws.s3 import S3Blobs
from trainyard.adapters.aws.sqs import SqsQueue
from trainyard.testing.models import sample_model
from trainyard.testing.publishing import point_alias, publish_version

if TYPE_CHECKING:
    from trainyard.adapters.aws.clients import AwsClients
    from trainyard.adapters.aws.ensure import AwsSetup
    from trainyard.config import Config
    from trainyard.testing.emulator import Emulator

#: Modules that take milliseconds, and that no row of a linear model or of trees needs.
TOO_DEAR = {
    "asyncio",
    "base64",
    "boto3",
    "dataclasses",
    "email",
    "encodings.idna",
    "http.client",
    "importlib.metadata",
    "inspect",
    "numpy",
    "pathlib",
    "random",
    "shutil",
    "ssl",
    "trainyard.model.version1",
    "typing",
    "urllib.parse",
    "xml",
}
FIRST_ROW = """
import gc, json, sys, types
from trainyard_predictor.aws_lambda import handle
context = types.SimpleNamespace(get_remaining_time_in_millis=lambda: 3000)
answer = handle(json.loads(sys.argv[1]), context)
collects = gc.isenabled()
print(json.dumps({"answer": answer, "collects": collects, "modules": sorted(sys.modules)}))
"""


@pytest.fixture
def event(aws_clients: AwsClients, aws_config: Config, aws_setup: AwsSetup, request: pytest.FixtureRequest) -> str:
    """What asks for a row of a model whose kind is the test's parameter; it is on S3, alias and artifact."""
    model = sample_model(getattr(request, "param", "linear"))
    blobs = S3Blobs(aws_clients.s3, aws_config.bucket)
    point_alias(blobs, publish_version(blobs, model, 1), seq=1)
    assert model.golden is not None
    return json.dumps({"path": f"/v1/predict/{model.name}", "body": {"rows": [dict(model.golden.rows[0])]}})


def first_row(event: str, aws: Emulator, config: Config, path: list[str]) -> set[str]:
    """Answer the event in a fresh interpreter that finds modules on ``path``; return what it has imported."""
    environ = {
        **aws.environment,
        "PYTHONPATH": os.pathsep.join(path),
        "TRAINYARD_BUCKET": config.bucket,
        "TRAINYARD_QUEUE_PREDICTIONS": config.queue_predictions,
    }
    # without the site's own imports: an editable installation is found by modules that a real one does not need
    command = [sys.executable, "-S", "-c", FIRST_ROW, event]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    said = json.loads(done.stdout)
    assert said["answer"]["statusCode"] == 200, said["answer"]
    assert said["collects"]  # a start looks for no garbage, what follows does
    return set(said["modules"])


@pytest.mark.parametrize("event", ["linear", "tree_ensemble"], indirect=True)
def test_the_first_row_imports_nothing_that_it_does_not_need(
    event: str, aws: Emulator, aws_clients: AwsClients, aws_config: Config
) -> None:
    """Alias and artifact are read from S3, and the record is in the queue before the answer."""
    assert first_row(event, aws, aws_config, [path for path in sys.path if path]) & TOO_DEAR == set()
    assert SqsQueue(aws_clients.sqs, aws_config.queue_predictions).depth().total == 1


def test_the_function_runs_from_its_zip(event: str, aws: Emulator, aws_config: Config, tmp_path: Path) -> None:
    """Packed, unpacked somewhere else, with nothing but that on the path; the bytecode in it is what runs.

    A first row takes our own modules from one file, all but those that read it: there is no bytecode of any other.

    Of the locked packages only msgpack is in this one, so that nothing is fetched: a row needs no other.
    """
    package = _package()
    built, unpacked = tmp_path / "built", tmp_path / "unpacked"
    shutil.copytree(Path(msgpack.__file__).parent, built / "msgpack")
    package.finish(built)
    sizes = [package.pack(built, tmp_path / name) for name in ("a.zip", "b.zip")]
    assert sizes[0] < 2_500_000
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    zipfile.ZipFile(tmp_path / "a.zip").extractall(unpacked)
    for source in unpacked.rglob("*.py"):  # whoever needed a source would fail
        source.write_text("raise AssertionError('not compiled')")
    for own in ("trainyard", "trainyard_predictor"):
        for bytecode in (unpacked / own).rglob("*.pyc"):
            if bytecode.name.partition(".")[0] not in {"__init__", "aws_lambda", "road"} or own == "trainyard":
                bytecode.unlink()
    assert "trainyard_predictor.aws_lambda" in first_row(event, aws, aws_config, [str(unpacked)])


def _package() -> Any:
    path = Path(__file__).parents[3] / "services" / "predictor" / "package.py"
    spec = importlib.util.spec_from_file_location("package", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
