"""The AWS emulator (ministack) as a child process on a free port."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from trainyard.testing.processes import answers, end, free_port, wait_until

if TYPE_CHECKING:
    from pathlib import Path

#: The emulator takes any credentials.
ACCESS_KEY = "test"
SECRET_KEY = "test"  # noqa: S105 - not a secret: the emulator checks none


class AwsEmulator:
    """S3, SQS and EC2 on one address. Objects survive :meth:`kill`; queues, notifications and instances do not."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self._directory = directory
        self._port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """The address for boto3, the same over restarts."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that point a service, or boto3 itself, at the emulator."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self._directory.mkdir(parents=True, exist_ok=True)
        variables = {
            "GATEWAY_PORT": str(self._port),
            "BIND_HOST": "127.0.0.1",
            "PERSIST_STATE": "0",
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self._directory / "s3"),
            "TMPDIR": str(self._directory),
            "HOME": str(self._directory),
            "SERVICES": "s3,sqs,ec2",
            # It would remove labelled containers from the machine's Docker, and listen for SFTP and MQTT.
            "DOCKER_HOST": f"unix://{self._directory}/no-docker.sock",
            "SFTP_ENABLED": "0",
            "IOT_MTLS_ENABLED": "0",
            "LOG_LEVEL": "WARNING",
        }
        with (self._directory / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ministack"], env=variables, stdout=log, stderr=log, cwd=self._directory
            )
        wait_until(self._ready, f"the AWS emulator (log: {self._directory / 'emulator.log'})")

    def kill(self) -> None:
        """End the process as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        """End the process in good order."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _ready(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"the AWS emulator ended with {self._process.returncode}; see {self._directory}")
        return answers(f"{self.endpoint}/_ministack/health")
