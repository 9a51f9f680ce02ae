"""The EC2 host as a process, over the emulator: trainers follow instances, also after kill -9."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from trainyard.processes import ProcessId, alive
from trainyard.testing.processes import answers, end, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trainyard.adapters.aws.clients import AwsClients

#: A trainer that shows what it was given and ends on SIGTERM, or by itself when a file `end` lies in its directory.
TRAINER = """
import json, os, pathlib, signal, sys, time
work = pathlib.Path(os.environ["TRAINYARD_WORK_DIR"])
names = ("TRAINYARD_INSTANCE_ID", "AWS_EC2_METADATA_SERVICE_ENDPOINT")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
(work / "given").write_text(json.dumps({name: os.environ[name] for name in names}))
while not (work / "end").exists():
    time.sleep(0.05)
sys.exit(3)
"""
HOST = """
import os, sys
from trainyard import config
from trainyard_ec2host import bootstrap
sys.exit(bootstrap.run(config.load(os.environ), dict(os.environ), command=(sys.executable, "-c", sys.argv[1])))
"""


class Scene:
    """A host process that runs pretended trainers for the instances of one environment."""

    def __init__(self, directory: Path, environment: dict[str, str], clients: AwsClients, env: str) -> None:
        self.directory = directory
        self.imds_port = free_port()
        self._clients = clients
        self._env = env
        self._environment = environment | {
            "TRAINYARD_ENV": env,
            "TRAINYARD_DATA_DIR": str(directory),
            "TRAINYARD_WORK_DIR": str(directory / "work"),
            "TRAINYARD_IMDS_PORT": str(self.imds_port),
            "PATH": "/usr/bin:/bin",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the host and wait until it serves metadata."""
        with (self.directory / "host.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HOST, TRAINER], env=self._environment, stderr=log, start_new_session=True
            )
        wait_until(lambda: answers(f"http://127.0.0.1:{self.imds_port}/healthz"), "the EC2 host")

    def launch(self) -> str:
        """Launch an instance of this environment."""
        tags = {"trainyard:env": self._env, "trainyard:launch": "by-hand"}
        named = [{"Key": key, "Value": value} for key, value in tags.items()]
        described = [{"ResourceType": "instance", "Tags": named}]
        answer = self._clients.ec2.run_instances(
            ImageId="ami-12345678", MinCount=1, MaxCount=1, InstanceType="c7i.large", TagSpecifications=described
        )
        return str(answer["Instances"][0]["InstanceId"])

    def state(self, instance_id: str) -> str:
        """Return EC2's word for an instance's state."""
        answer = self._clients.ec2.describe_instances(InstanceIds=[instance_id])
        return str(answer["Reservations"][0]["Instances"][0]["State"]["Name"])

    def trainer(self, instance_id: str) -> ProcessId | None:
        """Return the instance's trainer once it is at work."""
        file = self.directory / "run" / "trainers" / f"{instance_id}.json"
        at_work = (self.directory / "work" / instance_id / "given").exists()
        return ProcessId.parse(file.read_text()) if at_work and file.exists() else None

    def wait_for_trainer(self, instance_id: str, *, other_than: ProcessId | None = None) -> ProcessId:
        """Wait until the instance has a live trainer."""
        found: list[ProcessId] = []

        def seen() -> bool:
            trainer = self.trainer(instance_id)
            if trainer is not None and trainer != other_than and alive(trainer):
                found.append(trainer)
            return bool(found)

        wait_until(seen, f"a trainer for {instance_id}")
        return found[0]


@pytest.fixture
def scene(tmp_path: Path, aws_environment: dict[str, str], aws_clients: AwsClients) -> Iterator[Scene]:
    """Run a host for an environment of this test's own."""
    scene = Scene(tmp_path, aws_environment, aws_clients, aws_environment["TRAINYARD_BUCKET"])
    scene.start()
    yield scene
    assert scene.process is not None
    end(scene.process, seconds=40)
    left = [ProcessId.parse(file.read_text()) for file in (tmp_path / "run" / "trainers").glob("*.json")]
    assert not [trainer for trainer in left if trainer and alive(trainer)]


def fetch(url: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    """Return status and text of one metadata request."""
    parts = urlsplit(url)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=5)) as connection:
        connection.request(method, parts.path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def test_a_trainer_lives_as_long_as_its_instance(scene: Scene) -> None:
    """Launched: a trainer that knows its instance. Terminated: the trainer is stopped and its files are gone."""
    instance_id = scene.launch()
    trainer = scene.wait_for_trainer(instance_id)
    given = json.loads((scene.directory / "work" / instance_id / "given").read_text())
    assert given["TRAINYARD_INSTANCE_ID"] == instance_id
    scene._clients.ec2.terminate_instances(InstanceIds=[instance_id])
    wait_until(lambda: not alive(trainer), "the trainer's end")
    wait_until(lambda: not (scene.directory / "work" / instance_id).exists(), "the end of its files")


def test_an_instance_ends_with_its_trainer(scene: Scene) -> None:
    """A trainer that crashes leaves no instance running."""
    instance_id = scene.launch()
    scene.wait_for_trainer(instance_id)
    (scene.directory / "work" / instance_id / "end").touch()
    wait_until(lambda: scene.state(instance_id) in {"terminated", "shutting-down"}, "the instance's end")


def test_instances_of_other_environments_are_left_alone(scene: Scene, aws_clients: AwsClients) -> None:
    """An instance without our tag gets no trainer and stays."""
    answer = aws_clients.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1)
    foreign = answer["Instances"][0]["InstanceId"]
    scene.wait_for_trainer(scene.launch())
    assert scene.trainer(foreign) is None
    assert scene.state(foreign) == "running"


def test_a_killed_host_leaves_no_second_trainer(scene: Scene) -> None:
    """After kill -9 the old trainer ends, then the next host starts another for the instance that still runs."""
    instance_id = scene.launch()
    first = scene.wait_for_trainer(instance_id)
    assert scene.process is not None
    os.kill(scene.process.pid, signal.SIGKILL)
    scene.process.wait(10)
    scene.start()
    second = scene.wait_for_trainer(instance_id, other_than=first)
    assert not alive(first)
    assert alive(second)
    assert scene.state(instance_id) == "running"


def test_metadata_speaks_version_2_only(scene: Scene) -> None:
    """No token, no answer; with one, the instance's id, and a spot notice only after it was given."""
    instance_id = scene.launch()
    scene.wait_for_trainer(instance_id)
    given: dict[str, Any] = json.loads((scene.directory / "work" / instance_id / "given").read_text())
    base = given["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    assert fetch(f"{base}/latest/meta-data/instance-id")[0] == 401
    assert fetch(f"{base}/latest/api/token", "PUT")[0] == 400
    for seconds in ("21601", "0000019999999", "0"):
        assert fetch(f"{base}/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds=seconds)[0] == 400
    forwarded = {"X_aws_ec2_metadata_token_ttl_seconds": "60", "X_Forwarded_For": "1.2.3.4"}
    assert fetch(f"{base}/latest/api/token", "PUT", **forwarded)[0] == 403
    status, token = fetch(f"{base}/latest/api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="60")
    assert status == 200
    assert fetch(f"{base}/latest/meta-data/instance-id", X_aws_ec2_metadata_token=token) == (200, instance_id)
    notice = f"{base}/latest/meta-data/spot/instance-action"
    assert fetch(notice, X_aws_ec2_metadata_token=token)[0] == 404
    tag = {"Key": "trainyard:interrupt-at", "Value": "2099-01-01T00:00:00+00:00"}
    scene._clients.ec2.create_tags(Resources=[instance_id], Tags=[tag])
    wait_until(lambda: fetch(notice, X_aws_ec2_metadata_token=token)[0] == 200, "the spot notice")
    assert "2099-01-01T00:00:00Z" in fetch(notice, X_aws_ec2_metadata_token=token)[1]
